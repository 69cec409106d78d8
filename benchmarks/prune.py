"""What structured pruning costs and gains on data and a checkpoint of your own.

- `parts`: half of the heads and half of the neurons, chosen by importance, by magnitude and at random, before and after recovery, for each seed.
- `speed`: latency at batch 32 of the model whole and cut, in one run, and the parameters of the layers.
- `zeros`: single weights set to zero, at once and gradually while training, by magnitude and by movement, for each seed; and what the packed matrices take on disk.
- `vocabulary`: tokens of the training texts (and `--unlabeled`): rows of the table, accuracy on validation and test together.

Recovered models are kept in `--work`; a run that is there already is not repeated.

    python benchmarks/prune.py --data SOURCE --teacher FOLDER [--unlabeled FILE] [--work FOLDER] [--seeds 0,1,2] [--epochs 3] [--measure …] [--json] [--out FILE]"""
import argparse, json, sys, tempfile, time
from dataclasses import asdict, replace
from pathlib import Path

from distil_nb.core import Settings
from distil_nb.writing import write_json
from common import earlier, numbers, parser, with_models
import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from datasets import DatasetDict
from distil_nb.data import load_data, load_texts
from distil_nb.architectures import layers_of, max_tokens
from distil_nb.evaluate import classifier, held_out_accuracy, latency, machine
from distil_nb.models import load_checkpoint, save_checkpoint
from distil_nb.prune import importance, magnitude, prune
from distil_nb.sparsify import Sparsity, prunable, sparsify, sparsity, train_sparse
from distil_nb.tokens import fingerprint
from distil_nb.distillation import distil
from distil_nb.vocabulary import prune_vocabulary

def at_random(seed:int):
    "Scores that know nothing."
    def score(model, *_):
        generator = torch.Generator().manual_seed(seed)
        return {k: torch.rand(v.shape, generator=generator) for k,v in magnitude(model).items()}
    return score

def parts(o, data)->list[dict]:
    "Cut and recovered, by way and seed."
    (model,tokenizer),rows = load_checkpoint(o.teacher),[]
    whole = held_out_accuracy(model, tokenizer, data)
    for name in o.ways.split(','):
        for seed in o.seeds:
            score = dict(importance=lambda m, t, r: importance(m, t, r, seed=seed), magnitude=lambda m, *_: magnitude(m), random=at_random(seed))[name]
            cut,out = prune(model, tokenizer, data['train'], heads=.5, neurons=.5, score=score),o.work/f'{name}_{seed}'
            if not out.exists():
                with tempfile.TemporaryDirectory() as tmp:
                    save_checkpoint(cut, tokenizer, f'{tmp}/cut')
                    distil(o.teacher, data, out, student=f'{tmp}/cut', settings=Settings(epochs=o.epochs, seed=seed), report=lambda e: print(out.name, e['epoch'], file=sys.stderr))
            rows.append(dict(way=name, seed=seed, whole=whole, cut=held_out_accuracy(cut, tokenizer, data), recovered=held_out_accuracy(*load_checkpoint(out), data),
                             epochs=json.loads((out/'record.json').read_text())['settings']['epochs']))
            print(rows[-1], file=sys.stderr)
    return rows

def speed(o, data)->list[dict]:
    "Whole and half, in turns: padded batches of 32 rows through the model alone, and texts through tokenizer and model."
    (model,tokenizer),texts = load_checkpoint(o.teacher),data['test']['text'][:320]
    forms = dict(whole=model, half=prune(model, tokenizer, data['train'], heads=.5, neurons=.5))
    batches = [tokenizer(texts[i:i+32], truncation=True, max_length=max_tokens(model, tokenizer), padding=True, return_tensors='pt') for i in range(0, len(texts), 32)]
    alone,together = ({k: [] for k in forms} for _ in range(2))
    with torch.inference_mode():
        for _ in range(6):
            for k,m in forms.items():
                for batch in batches:
                    start = time.perf_counter(); m(**batch); alone[k].append(1000*(time.perf_counter() - start))
                together[k].append(latency(classifier(m, tokenizer), texts, 32, repeats=10)['median'])
    def median(times): return {k: float(np.median(v)) for k,v in times.items()}
    alone,together = median(alone),median(together)
    return [dict(form=k, ms_32=alone[k], faster=alone['whole']/alone[k], ms_32_with_tokenizer=together[k], faster_with_tokenizer=together['whole']/together[k],
                 layer_parameters=sum(p.numel() for layer in layers_of(m) for p in layer.parameters())) for k,m in forms.items()]

def vocabulary(o, data)->list[dict]:
    "The table thinned out."
    (model,tokenizer),texts,rows = load_checkpoint(o.teacher),data['train']['text'][:],[]
    corpora = {'training texts': texts} | ({'and unlabeled': texts + load_texts(o.unlabeled)['text'][:]} if o.unlabeled else {})
    rows.append(dict(corpus='', tokens=model.config.vocab_size, accuracy=held_out_accuracy(model, tokenizer, data), largest_difference=0.))
    for name,corpus in corpora.items():
        small,short = prune_vocabulary(model, tokenizer, corpus)
        off = float(np.abs(classifier(small, short)(corpus[:512]) - classifier(model, tokenizer)(corpus[:512])).max())
        rows.append(dict(corpus=name, tokens=small.config.vocab_size, accuracy=held_out_accuracy(small, short, data), largest_difference=off))
    return rows

ZEROS = {'80 %, magnitude': (Sparsity(.8, anywhere=True, end=.5), dict(epochs=4, lr=1e-4)), '95 %, magnitude': (Sparsity(.95, begin=.1, end=.6), dict(epochs=3, lr=2e-4)),
         '95 %, movement': (Sparsity(.95, movement=True, begin=.1, end=.6), dict(epochs=3, lr=2e-4))}

def zeros(o, data)->list[dict]:
    "Unstructured pruning; the teacher's answers to more texts join in if there are some."
    (model,tokenizer),rows = load_checkpoint(o.teacher),[]
    more = DatasetDict(data, unlabeled=load_texts(o.unlabeled, known=data)) if o.unlabeled else data
    for name,(plan,how) in ZEROS.items():
        once = held_out_accuracy(sparsify(model, replace(plan, movement=False)), tokenizer, data)
        for seed in o.seeds:
            out = o.work/f'zeros_{fingerprint(asdict(plan), how)}_{seed}'
            if not out.exists(): train_sparse(o.teacher, more, out, plan, o.teacher, Settings(seed=seed, **how), report=lambda e: print(name, seed, e['epoch'], file=sys.stderr))
            small,_ = load_checkpoint(out)
            stored = sum(v.nbytes for k,v in load_file(out/'compressed.safetensors').items() if k.endswith(('.bits', '.values')))
            rows.append(dict(way=name, seed=seed, whole=held_out_accuracy(model, tokenizer, data), once=once, trained=held_out_accuracy(small, tokenizer, data), zeros=sparsity(small),
                             packed=stored/sum(4*p.weight.numel() for p in prunable(small).values()), **how, training_texts=sum(len(v) for k,v in more.items() if k in ('train', 'unlabeled'))))
            print(rows[-1], file=sys.stderr)
    return rows

def options()->argparse.Namespace:
    "The command line."
    p = with_models(parser(__doc__))
    p.add_argument('--unlabeled', help='file of more texts')
    p.add_argument('--work', type=Path, default=Path(tempfile.gettempdir())/'distil-nb-prune', help='folder for recovered models')
    p.add_argument('--seeds', type=numbers, default=[0, 1, 2])
    p.add_argument('--ways', default='importance,magnitude,random')
    p.add_argument('--epochs', type=int, default=3)
    p.add_argument('--measure', default='speed,vocabulary,parts,zeros')
    return p.parse_args()

def main(o:argparse.Namespace):
    "Measure, tell, write; what is not asked for stays as it is in `--out`."
    data = load_data(o.data)
    found = earlier(o.out)
    for name in o.measure.split(','):
        found |= {name: dict(parts=parts, speed=speed, vocabulary=vocabulary, zeros=zeros)[name](o, data), 'machine': machine(), 'data': Path(o.data).name}
        print(pd.DataFrame(found[name]).round(3).to_string(index=False))
        if o.out: write_json(found, o.out, overwrite=True)
    if o.json: print(json.dumps(found))

if __name__ == '__main__': main(options())
