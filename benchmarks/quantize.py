"""What quantization costs and gains on data and checkpoints of your own.

- `ptq`: accuracy on validation and test together, and size on disk, of each scheme, for teacher and student.
- `gptq`: the same for rounding that looks at data, beside the nearest codes, for each seed: that of the texts to calibrate with (the teacher alone; differences are of the same rows, with standard errors).
- `qat`: 3 bits a row, and 2 bits in groups of 32, rounded after training and trained (the teacher helps), for each seed.
- `parity`: largest difference of logits between PyTorch and the ONNX float graph, batches of 1, 7 and 32, lengths 1 to the maximum.
- `latency`: the story's 4-layer student (random weights), PyTorch and ONNX Runtime, floats and int8, medians side by side in one run.

Trained models are kept in `--work`; a run that is there already is not repeated, so that an interrupted benchmark goes on.

    python benchmarks/quantize.py --data SOURCE --teacher FOLDER --student FOLDER [--work FOLDER] [--seeds 0,1,2] [--epochs 5] [--parts …] [--json] [--out FILE]"""
import argparse, json, sys, tempfile
from pathlib import Path

from distil_nb.core import Settings, set_seed
from distil_nb.writing import write_json
from common import earlier, numbers, parser, with_models
import numpy as np
import pandas as pd
import torch
from distil_nb.data import load_data
from distil_nb.architectures import max_tokens
from distil_nb.evaluate import bytes_on_disk, classifier, held_out_accuracy, latencies, machine, split_logits
from distil_nb.export import export_onnx
from distil_nb.models import load_checkpoint, new_student, save_checkpoint, story_config
from distil_nb.qat import train_quantized
from distil_nb.calibrate import calibrate, gptq, quantize_nf4
from distil_nb.quantize import SCHEMES, Scheme, quantize

BROKEN = {'w3': Scheme(3), 'w2': Scheme(2, 32)}  # where rounding alone hurts

def size(model, tokenizer)->int:
    "Bytes on disk."
    with tempfile.TemporaryDirectory() as tmp:
        save_checkpoint(model, tokenizer, f'{tmp}/model')
        return bytes_on_disk(f'{tmp}/model')

def ptq(sources:dict, data)->list[dict]:
    "Every scheme, after training."
    rows = []
    for name,source in sources.items():
        model,tokenizer = load_checkpoint(source)
        float_size,float_accuracy = 4*model.num_parameters(),held_out_accuracy(model, tokenizer, data)
        ways = {k: lambda o=o, share=1.: quantize(model, o, calibrate(model, tokenizer, data['train'], share=share) if o.activations == 'static' else None) for k,o in SCHEMES.items()}
        ways |= {'static-int8, 99.99 %': lambda: ways['static-int8'](share=.9999), 'weight-int4, int8 embeddings': lambda: quantize(model, Scheme(4, 32)), 'nf4': lambda: quantize_nf4(model, tokenizer)}
        rows.append(dict(model=name, scheme='float32', accuracy=float_accuracy, change=0., size=1.))
        for scheme,make in ways.items():
            small = make()
            found = held_out_accuracy(small, tokenizer, data)
            rows.append(dict(model=name, scheme=scheme, accuracy=found, change=found - float_accuracy, size=size(small, tokenizer)/float_size))
            print(rows[-1], file=sys.stderr)
    return rows

def looked_at(source, data, seeds:list[int])->list[dict]:
    "The nearest codes, and codes that suit some texts, in points on validation and test together."
    model,tokenizer = load_checkpoint(source)
    def right(model): return 100*np.concatenate([split_logits(model, tokenizer, data[o]).argmax(-1) == data[o]['labels'][:] for o in ('validation', 'test')])
    def changed(a, b): return float((a - b).mean()), float((a - b).std(ddof=1)/len(a)**.5)
    whole,rows = right(model),[]
    for scheme in ('weight-int3', 'weight-int2', 'weight-int4'):
        nearest = right(quantize(model, SCHEMES[scheme]))
        for seed in seeds:
            found = right(gptq(model, tokenizer, data['train'], SCHEMES[scheme], seed=seed))
            rows.append(dict(scheme=scheme, seed=seed, float32=float(whole.mean()), nearest=float(nearest.mean()), gptq=float(found.mean())))
            for name,pair in dict(lost=(nearest, whole), won=(found, nearest), left=(found, whole)).items(): rows[-1] |= dict(zip((name, f'{name}_se'), changed(*pair)))
            rows[-1]['rows'] = len(whole)
            print(rows[-1], file=sys.stderr)
    return rows

def qat(sources:dict, data, seeds:list[int], epochs:int, work:Path)->list[dict]:
    "Rounding, and training, where rounding hurts."
    rows = []
    for name,source in sources.items():
        model,tokenizer = load_checkpoint(source)
        whole = held_out_accuracy(model, tokenizer, data)
        for scheme,o in BROKEN.items():
            rounded,trained = held_out_accuracy(quantize(model, o), tokenizer, data),[]
            for seed in seeds:
                out = work/f'{name}_{scheme}_{seed}'
                if not out.exists(): train_quantized(source, data, out, o, sources['teacher'], Settings(epochs=epochs, seed=seed), report=lambda e: print(out.name, e['epoch'], file=sys.stderr))
                trained.append(held_out_accuracy(*load_checkpoint(out), data))
            done = json.loads((out/'record.json').read_text())['settings']['epochs']
            rows.append(dict(model=name, scheme=scheme, float32=whole, ptq=rounded, qat=float(np.mean(trained)), lowest=min(trained), highest=max(trained),
                             won_back=(float(np.mean(trained)) - rounded)/(whole - rounded), epochs=done, seeds=len(seeds)))
            print(rows[-1], file=sys.stderr)
    return rows

def parity(sources:dict)->list[dict]:
    "How far the ONNX float graph is from PyTorch."
    rows = []
    for name,source in sources.items():
        model,tokenizer = load_checkpoint(source)
        longest = max_tokens(model, tokenizer)
        with tempfile.TemporaryDirectory() as tmp:
            export_onnx(model, tokenizer, f'{tmp}/onnx')
            exported,_ = load_checkpoint(f'{tmp}/onnx')
            set_seed(0)
            for batch in (1, 7, 32):
                for tokens in (1, 2, 33, 128, longest):
                    ids,mask = torch.randint(1000, model.config.vocab_size, (batch, tokens)),torch.ones(batch, tokens, dtype=torch.long)
                    mask[batch//2:, tokens//2 + 1:] = 0  # the second half of the rows is shorter
                    with torch.inference_mode(): off = (model(input_ids=ids, attention_mask=mask).logits - exported(ids, mask).logits).abs().max().item()
                    rows.append(dict(model=name, batch=batch, tokens=tokens, difference=off))
    return rows

def speeds(data, source)->list[dict]:
    "The story's student in four forms, in turns."
    set_seed(0)
    student,(_,tokenizer),texts = new_student(story_config()),load_checkpoint(source),data['test']['text'][:]
    ours = {'float32': student, 'int8': quantize(student, SCHEMES['dynamic-int8'])}
    with tempfile.TemporaryDirectory() as tmp:
        forms = {f'PyTorch, {k}': o for k,o in ours.items()}
        for k,o in ours.items():
            export_onnx(o, tokenizer, f'{tmp}/{k}')
            forms[f'ONNX Runtime, {k}'] = load_checkpoint(f'{tmp}/{k}')[0]
        ms = {b: latencies({k: classifier(o, tokenizer) for k,o in forms.items()}, texts, b, repeats) for b,repeats in ((1, 60), (32, 10))}
        rows = [dict(form=name, **{f'ms_{b}': o[name]['median'] for b,o in ms.items()}) for name in forms]
    return [r | {f'faster_{b}': rows[0][f'ms_{b}']/r[f'ms_{b}'] for b in (1, 32)} for r in rows]

def options()->argparse.Namespace:
    "The command line."
    p = with_models(parser(__doc__))
    p.add_argument('--student', help='folder of a smaller one, with the same tokenizer')
    p.add_argument('--work', type=Path, default=Path(tempfile.gettempdir())/'distil-nb-qat', help='folder for trained models')
    p.add_argument('--seeds', type=numbers, default=[0, 1, 2])
    p.add_argument('--epochs', type=int, default=5)
    p.add_argument('--parts', default='ptq,gptq,qat,parity,latency')
    return p.parse_args()

def main(o:argparse.Namespace):
    "Measure, tell, write; parts that are not asked for stay as they are in `--out`."
    data,sources = load_data(o.data),dict(teacher=o.teacher) | (dict(student=o.student) if o.student else {})
    found = earlier(o.out)
    work = dict(ptq=lambda: ptq(sources, data), gptq=lambda: looked_at(o.teacher, data, o.seeds), qat=lambda: qat(sources, data, o.seeds, o.epochs, o.work),
                parity=lambda: parity(sources), latency=lambda: speeds(data, o.teacher))
    for part in o.parts.split(','):
        found |= {part: work[part](), 'machine': machine(), 'data': Path(o.data).name}
        print(pd.DataFrame(found[part]).round(4).to_string(index=False))
        if o.out: write_json(found, o.out, overwrite=True)
    if o.json: print(json.dumps(found))

if __name__ == '__main__': main(options())
