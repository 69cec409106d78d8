"""What a student without layers is worth on data and a teacher of your own.

- `quality`: the static student taught by the teacher (labelled texts and `--unlabeled`), the same on labels alone (as many epochs, or as many steps: what is better on validation), and TF-IDF; accuracy on test for
  each seed, and the differences with a paired interval (rows are drawn again and again, the seeds of a row stay together).
- `sizes`: buckets, width, bits: rows that are kept, bytes, accuracy; what is lost by rounding, and beside the largest size in floats.
- `far`: beside the teacher: files of both, accuracy on validation and test together, 32 texts in turns in one thread, tokenizing included.
- `speed`: one text in one thread, tokenizing included, of the static student, of the teacher's layers (`--layers`) and of the tokenizer's own call, in turns.

    python benchmarks/static.py --data SOURCE --teacher FOLDER [--unlabeled FILE] [--seeds 0,1,2,3,4] [--epochs 10] [--layers 0,2,5] [--measure quality,sizes,far,speed] [--json] [--out FILE]"""
import argparse, json, sys, tempfile, time
from pathlib import Path

from distil_nb.core import Settings
from distil_nb.writing import write_json
from common import earlier, interval, numbers, parser, with_models
import numpy as np
import pandas as pd
import torch
from distil_nb.baselines import tfidf_baseline
from distil_nb.commands import load_rows
from distil_nb.distillation import distil
from distil_nb.evaluate import batched_logits, bytes_on_disk, classifier, latencies, machine, split_logits
from distil_nb.files import column
from distil_nb.models import keep_layers, load_checkpoint, save_checkpoint
from distil_nb.recipes import bytes_to_serve
from distil_nb.static import StaticPlan
from distil_nb.teacher import soft_targets
from distil_nb.train import run_task

DIAL = ("buckets", "width", "bits")
SIZES = (131072, 32, 8), (65536, 16, 4), (32768, 16, 4), (8192, 16, 4)  # in the order of `DIAL`

def hits(logits, rows)->np.ndarray:
    "Which rows are right."
    return logits.argmax(-1) == column(rows, 'labels')

def student(o, data, seed:int, alpha:float, epochs:int, sizes:tuple):
    "A static student, as it is used."
    made,record = distil(o.teacher, data, None, student='static', settings=Settings(seed=seed, alpha=alpha, epochs=epochs), sizes=dict(zip(DIAL, sizes)))
    print(dict(seed=seed, alpha=alpha, epochs=epochs, sizes=sizes, seconds=round(sum(e['seconds'] for e in record['history'])), validation=record['scores']['student']['validation']['accuracy']), file=sys.stderr, flush=True)
    return made, record

def quality(o, data)->dict:
    "Teacher, labels alone, TF-IDF."
    steps = -(-sum(len(data[k]) for k in ('train', 'unlabeled') if k in data)*o.epochs//len(data['train']))
    ways,right,validation = {'taught': (o.alpha, o.epochs), 'labels alone': (0., o.epochs), 'labels alone, as many steps': (0., steps)},{},{}
    for name,(alpha,epochs) in ways.items():
        made = [student(o, data, seed, alpha, epochs, o.sizes) for seed in o.seeds]
        right[name] = np.stack([hits(split_logits(m, None, data['test']), data['test']) for m,_ in made])
        validation[name] = float(np.mean([r['scores']['student']['validation']['accuracy'] for _,r in made]))
    classify,*_ = tfidf_baseline(data['train'])
    right['TF-IDF'] = hits(classify(data['test']['text'][:]), data['test'])[None]
    model,tokenizer = load_checkpoint(o.teacher)
    right['teacher'] = hits(split_logits(model, tokenizer, data['test']), data['test'])[None]
    alone = max([k for k in ways if k != 'taught'], key=validation.get)
    return dict(accuracy={k: [100*float(a) for a in v.mean(-1)] for k,v in right.items()}, validation={k: 100*v for k,v in validation.items()}, epochs={k: v[1] for k,v in ways.items()}, alone=alone,
                alpha=o.alpha, rows=len(data['test']), texts={k: len(v) for k,v in data.items()}, over_tfidf=interval(right['taught'], right['TF-IDF']), over_labels=interval(right['taught'], right[alone]))

def sizes(o, data)->list[dict]:
    "The dial; what is lost beside the same student in floats (`rounding`), and beside the largest in floats (`loss`)."
    (teacher,tokenizer),rows,first = load_checkpoint(o.teacher),[],None
    data,_ = soft_targets(teacher, data, Settings(), tokenizer)
    for size in SIZES:
        floats,codes,plan = [],[],StaticPlan(teacher, tokenizer, *size)
        for seed in o.seeds:
            raw,_,task = plan.start(data, settings := Settings(seed=seed, alpha=o.alpha, epochs=o.epochs))
            trained,_ = run_task(raw, task, settings)
            made = plan.finish(trained)
            floats.append(hits(batched_logits(trained, tokenizer, made.bags(data['test']['text'][:])), data['test']))
            codes.append(hits(split_logits(made, tokenizer, data['test']), data['test']))
            print(size, seed, floats[-1].mean(), codes[-1].mean(), file=sys.stderr, flush=True)
        floats,codes = np.stack(floats),np.stack(codes)
        first = floats if first is None else first
        with tempfile.TemporaryDirectory() as tmp:
            save_checkpoint(made, tokenizer, f'{tmp}/made')
            weights,folder = bytes_on_disk(f'{tmp}/made'),sum(p.stat().st_size for p in Path(f'{tmp}/made').iterdir())
        rows.append(dict(zip(DIAL, size), rows_kept=len(made.parts['codes']), of=made.config.vocab_size + size[0], mb=weights/1e6, folder_mb=folder/1e6, accuracy=100*float(codes.mean()),
                         floats=100*float(floats.mean()), rounding=interval(floats, codes), loss=interval(first, codes)))
    return rows

def speed(o, data)->list[dict]:
    "Medians of one text, in turns."
    torch.set_num_threads(1)
    big,tokenizer = load_checkpoint(o.teacher)
    made,_ = student(o, data, 0, o.alpha, 1, o.sizes)
    with tempfile.TemporaryDirectory() as tmp:
        save_checkpoint(made, tokenizer, f'{tmp}/made')
        static = classifier(*load_checkpoint(f'{tmp}/made'))
    small = classifier(keep_layers(big, o.layers), tokenizer)
    forms = {'static student': static, f'layers {o.layers}': small, "tokenizer's own call": lambda texts: tokenizer(texts)}
    times = {k: [] for k in forms}
    for i,text in enumerate(data['test']['text'][:]*2):
        for name,f in forms.items():
            f([text])  # its own things are at hand
            start = time.perf_counter(); f([text]); times[name].append(1e6*(time.perf_counter() - start))
    counted = {k: np.array(v[20:]) for k,v in times.items()}
    return [dict(form=k, microseconds=float(np.median(v)), p95=float(np.quantile(v, .95)), static_is_faster=float(np.median(v)/np.median(counted['static student']))) for k,v in counted.items()]

def far(o, data)->dict:
    "The smallest that is worth having, beside the teacher."
    torch.set_num_threads(1)
    (model,tokenizer),right = load_checkpoint(o.teacher),[]
    def both(classify): return np.concatenate([hits(classify(data[k]['text'][:]), data[k]) for k in ('validation', 'test')])
    with tempfile.TemporaryDirectory() as tmp:
        for seed in o.seeds:
            save_checkpoint(student(o, data, seed, o.alpha, o.epochs, o.sizes)[0], tokenizer, f'{tmp}/made', overwrite=True)
            static = classifier(*load_checkpoint(f'{tmp}/made'))
            right.append(both(static))
        save_checkpoint(model, tokenizer, f'{tmp}/teacher')  # in 32-bit floats, as it is loaded
        mb = {k: bytes_to_serve(f'{tmp}/{v}')/1e6 for k,v in dict(teacher='teacher', static='made').items()}
    forms = dict(teacher=classifier(model, tokenizer), static=static)
    ms = {k: v['median'] for k,v in latencies(forms, data['test']['text'][:], 32).items()}
    theirs = both(forms['teacher'])
    return dict(mb=mb, smaller=mb['teacher']/mb['static'], ms=ms, faster=ms['teacher']/ms['static'], accuracy=dict(teacher=100*float(theirs.mean()), static=[100*float(a.mean()) for a in right]),
                beside_teacher=interval(np.stack(right), theirs[None]), rows=len(theirs))

def options()->argparse.Namespace:
    "The command line."
    p = with_models(parser(__doc__))
    p.add_argument('--unlabeled', help='file of more texts')
    p.add_argument('--seeds', type=numbers, default=[0, 1, 2, 3, 4])
    p.add_argument('--epochs', type=int, default=10)
    p.add_argument('--alpha', type=float, default=.9, help='weight of the soft targets')
    p.add_argument('--sizes', type=numbers, default=[65536, 16, 4], help='buckets, width, bits')
    p.add_argument('--layers', type=numbers, default=[0, 2, 5])
    p.add_argument('--measure', default='quality,sizes,far,speed')
    return p.parse_args()

def main(o:argparse.Namespace):
    "Measure, tell, write; what is not asked for stays as it is in `--out`."
    data = load_rows(o.data, unlabeled=o.unlabeled)
    found = earlier(o.out)
    for name in o.measure.split(','):
        found |= {name: dict(quality=quality, sizes=sizes, far=far, speed=speed)[name](o, data), 'machine': machine(), 'data': Path(o.data).name, 'teacher': Path(o.teacher).name}
        print(pd.DataFrame(found[name]).round(3).to_string() if name in ('sizes', 'speed') else json.dumps(found[name]), flush=True)
        if o.out: write_json(found, o.out, overwrite=True)
    if o.json: print(json.dumps(found))

if __name__ == '__main__': main(options())
