"""What is a teacher worth? The same student on labels, on soft targets, and on soft targets for texts without labels.

Usage: python benchmarks/worth.py [--seeds 0,1] [--steps 700] [--json] [--out FILE]

All on the sample, scored on its 10,000 test rows: by number of labelled rows, by start (from nothing, or from the first
and last layer of the teacher), by temperature and alpha. Every run has the same number of optimizer steps, the same
schedule and the last epoch; nothing is chosen. A run that the file holds already is not made again (`--anew`: all are)."""
import time
from pathlib import Path

from distil_nb.core import Settings, set_seed
import numpy as np
from common import earlier, numbers, packed, parser
from datasets import DatasetDict
from distil_nb.data import few_held_out, load_data, sample_pool
from distil_nb.evaluate import machine, split_logits
from distil_nb.files import column
from distil_nb.models import keep_layers, load_checkpoint, new_student
from distil_nb.teacher import add_teacher_logits
from distil_nb.train import train
from distil_nb.writing import write_json

KINDS = 'labels', 'soft', 'pool'

def start_of(teacher, start:str, seed:int):
    "A student of two layers: random, or the teacher's own."
    set_seed(seed)
    small = keep_layers(teacher, [0, 3])
    return new_student(small.config) if start == 'nothing' else small

def hits_of(teacher, tokenizer, data:DatasetDict, steps:int, rows:int, start:str, kind:str, temperature:float, alpha:float, seed:int)->np.ndarray:
    "Train once; which test rows are right."
    few = few_held_out(data, 50)  # nothing is chosen by it
    few['train'] = few['train'].select(range(rows))
    if kind != 'pool': few = DatasetDict({k: v for k,v in few.items() if k != 'unlabeled'})
    seen = sum(len(few[o]) for o in ('train', 'unlabeled') if o in few)
    epochs = round(steps/-(-seen//32))
    how = Settings(epochs=max(epochs, 1), lr=5e-4, temperature=temperature, alpha=0. if kind == 'labels' else alpha, seed=seed, keep='last', precision='no')
    model,_ = train(start_of(teacher, start, seed), tokenizer, few, how)
    return split_logits(model, tokenizer, data['test']).argmax(-1) == column(data['test'], 'labels')

def wanted(seeds:list[int])->list[tuple]:
    "All runs: the story's row for each seed, the others for the first."
    main = [(2100, 'nothing', k, 2., .5) for k in KINDS]
    others = [(r, 'nothing', k, 2., .5) for r in (100, 500) for k in KINDS] + [(2100, 'layers', k, 2., .5) for k in KINDS]
    around = [(2100, 'nothing', 'pool', t, a) for t,a in ((1., .5), (5., .5), (2., .9), (2., 1.))]
    first = [(*o, seeds[0]) for o in main + others + around]
    return first[:3] + [(*o, seed) for seed in seeds[1:] for o in main] + first[3:]

if __name__ == '__main__':
    p = parser(__doc__)
    p.add_argument('--seeds', type=numbers, default=[0, 1])
    p.add_argument('--steps', type=int, default=700)
    p.add_argument('--anew', action='store_true', help='forget what the file holds')
    a = p.parse_args()
    teacher,tokenizer = load_checkpoint('sample')
    data = add_teacher_logits(DatasetDict(load_data('sample'), unlabeled=sample_pool()), teacher, tokenizer)
    n,labels = len(data['test']),column(data['test'], 'labels')
    found = {} if a.anew else earlier(a.out)
    found |= dict(steps=a.steps, n=n, machine=machine())
    found['teacher'] = float((np.array(data['test']['teacher_logits'][:]).argmax(-1) == labels).mean())
    runs = found.setdefault('runs', [])
    known = {tuple(o[k] for k in ('rows', 'start', 'kind', 'temperature', 'alpha', 'seed')) for o in runs}
    for how in wanted(a.seeds):
        if how in known: continue
        began = time.perf_counter()
        hits = hits_of(teacher, tokenizer, data, a.steps, *how)
        runs.append(dict(zip(('rows', 'start', 'kind', 'temperature', 'alpha', 'seed'), how)) | dict(accuracy=float(hits.mean()), seconds=time.perf_counter() - began, hits=packed(hits)))
        if a.out: write_json(found, a.out, overwrite=True)
        print(how, round(100*hits.mean(), 2), flush=True)
