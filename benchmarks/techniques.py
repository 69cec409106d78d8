"""What each technique does to the size and the latency of one model, all forms in turns in one run.

An encoder of the teacher's shape, with random weights, which change neither size nor speed, is made smaller in every way of the book. Each form answers single texts and batches of 32 real texts, tokenizer included; the
forms take turns, so that a slow minute hits all alike. All run on one thread, and the time is that of the processor: what a clock would show if nothing else ran. Bytes are those of the weights on disk. Accuracy is not measured here: the other benchmarks do that.

    python benchmarks/techniques.py --data SOURCE --teacher FOLDER [--unlabeled FILE] [--keep 0,2,5] [--singles 40] [--batches 5] [--json] [--out FILE]"""
import argparse, json, sys, tempfile, time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from distil_nb.core import set_seed
from distil_nb.writing import write_json
from common import numbers, parser, with_models
from distil_nb.commands import load_rows
from distil_nb.checkpoints import load_checkpoint, save_checkpoint
from distil_nb.evaluate import bytes_on_disk, classifier, machine
from distil_nb.export import export_onnx
from distil_nb.models import keep_layers, new_student
from distil_nb.prune import magnitude, prune
from distil_nb.quantize import SCHEMES, quantize
from distil_nb.sparsify import Sparsity, sparsify
from distil_nb.vocabulary import prune_vocabulary
from distil_nb.width import narrow_config

def models(o, data):
    "Name, model and tokenizer of each form that PyTorch runs."
    teacher,tokenizer = load_checkpoint(o.teacher)
    model = new_student(teacher.config)
    yield 'whole', model, tokenizer
    yield 'half the layers', keep_layers(model, o.keep), tokenizer
    yield 'half the width', new_student(narrow_config(model, o.width)), tokenizer
    yield 'half the heads and neurons', prune(model, tokenizer, data['train'], heads=.5, neurons=.5, score=lambda m, *_: magnitude(m)), tokenizer
    yield '80 % zeros', sparsify(model, Sparsity(.8)), tokenizer
    texts = data['train']['text'][:] + (data['unlabeled']['text'][:] if 'unlabeled' in data else [])
    yield 'vocabulary', *prune_vocabulary(model, tokenizer, texts)
    for scheme in ('dynamic-int8', 'weight-int4'): yield scheme, quantize(model, SCHEMES[scheme]), tokenizer

def forms(o, data, tmp:str)->dict[str,tuple]:
    "Each as a folder that was written and loaded again: a classifier, its bytes."
    found = {}
    for name,model,tokenizer in models(o, data):
        places = {name: save_checkpoint}
        if name in ('whole', 'dynamic-int8'): places[f'{name}, ONNX'] = export_onnx
        for form,write in places.items():
            write(model, tokenizer, f'{tmp}/{form}')
            print(form, file=sys.stderr, flush=True)
            found[form] = classifier(*load_checkpoint(f'{tmp}/{form}')),bytes_on_disk(f'{tmp}/{form}')
    return found

def in_turns(found:dict, texts:list[str], size:int, rounds:int)->dict[str,list[float]]:
    "Milliseconds of the processor for each call; the first round warms up."
    times = {k: [] for k in found}
    for i in range(-1, rounds):
        batch = [texts[(size*i + j)%len(texts)] for j in range(size)]
        for name,(classify,_) in found.items():
            start = time.process_time(); classify(batch)
            if i >= 0: times[name].append(1000*(time.process_time() - start))
    return times

def measure(o)->list[dict]:
    "Size and latency of each form."
    set_seed(0)
    torch.set_num_threads(1)
    data = load_rows(o.data, unlabeled=o.unlabeled)
    with tempfile.TemporaryDirectory() as tmp:
        found = forms(o, data, tmp)
        texts = data['test']['text'][:]
        one,many = in_turns(found, texts, 1, o.singles),in_turns(found, texts, 32, o.batches)
        def row(name, size):
            ms_1,ms_32 = float(np.median(one[name])),float(np.median(many[name]))
            return dict(form=name, mb=size/1e6, share=size/found['whole'][1], ms_1=ms_1, ms_32=ms_32, faster_1=float(np.median(np.array(one['whole'])/one[name])), faster_32=float(np.median(np.array(many['whole'])/many[name])))
        return [row(name, size) for name,(_,size) in found.items()]

def options()->argparse.Namespace:
    "The command line."
    p = with_models(parser(__doc__))
    p.add_argument('--unlabeled', help='file of more texts, for the vocabulary')
    p.add_argument('--keep', type=numbers, default=[0, 2, 5], help='layers of the one with half of them')
    p.add_argument('--width', type=int, default=192, help='of the narrow one')
    p.add_argument('--singles', type=int, default=40, help='timed calls with one text')
    p.add_argument('--batches', type=int, default=5, help='timed calls with 32 texts')
    return p.parse_args()

def main(o:argparse.Namespace):
    "Measure, tell, write."
    found = dict(forms=measure(o), data=Path(o.data).name, teacher=Path(o.teacher).name, machine=machine())
    print(pd.DataFrame(found['forms']).round(3).to_string(index=False))
    if o.out: write_json(found, o.out, overwrite=True)
    if o.json: print(json.dumps(found))

if __name__ == '__main__': main(options())
