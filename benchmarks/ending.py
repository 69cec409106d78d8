"""Is a pool worth it with the defaults, and which epoch should be the result? On somebody's own data and teacher.

Usage: python benchmarks/ending.py --data DATA --teacher FOLDER --unlabeled FILE [--layers 0,2,5] [--seeds 0,1,2]
       [--folds 5 --base FOLDER] [--json] [--out FILE]

For each seed the student is distilled with and without the texts that have no label, with the defaults. Validation and
test are scored together, for nothing is chosen: the last epoch is the result. What the best epoch by validation would
have had on test is read from the same runs. Where that many rows cannot tell, `--folds` scores all labelled rows, each by
students that did not see it, nor did their teacher: each fold has one of its own, made of `--base` (seed 0). Of the rows
outside a fold the last tenth is for validation."""
import json
from tempfile import TemporaryDirectory

from distil_nb.core import Settings
import numpy as np
from common import earlier, numbers, parser, with_models
from datasets import DatasetDict, concatenate_datasets
from distil_nb.checkpoints import load_checkpoint
from distil_nb.commands import load_rows
from distil_nb.compare import bootstrap_difference
from distil_nb.distillation import distil, train_teacher
from distil_nb.evaluate import machine, split_logits
from distil_nb.files import column
from distil_nb.runs import best_epoch, told_of_kept
from distil_nb.writing import write_json

HELD = 'validation', 'test'

def folded(data:DatasetDict, folds:int)->list[DatasetDict]:
    "All labelled rows, shuffled: each fold is the test split once."
    rows = concatenate_datasets([data[o] for o in ('train', *HELD)]).shuffle(0)
    numbers,found = np.arange(len(rows)),[]
    for i in range(folds):
        rest = np.flatnonzero(numbers%folds != i)
        cut = len(rest)*9//10
        splits = dict(train=rest[:cut], validation=rest[cut:], test=np.flatnonzero(numbers%folds == i))
        found.append(DatasetDict(data, **{k: rows.select(v) for k,v in splits.items()}))
    return found

def run(teacher:str, data, layers:list[int], seed:int, held=HELD)->dict:
    "One student: which held-out rows are right, and what its epochs scored."
    made,record = distil(teacher, data, keep=layers, settings=Settings(seed=seed))
    _,tokenizer = load_checkpoint(teacher)
    hits = [split_logits(made, tokenizer, data[o]).argmax(-1) == column(data[o], 'labels') for o in held]
    history = record['history']
    return dict(hits=''.join(map(str, np.concatenate(hits).astype(int))), epochs=[{o: e[o]['accuracy'] for o in held} for e in history],
        best=told_of_kept(history, 'best') | dict(test=best_epoch(history, 'best')['test']['accuracy']), last=dict(test=history[-1]['test']['accuracy']))

def fold_by_fold(a, both:dict, found:dict)->dict:
    "The same on all labelled rows."
    parts = {k: folded(v, a.folds) for k,v in both.items()}
    runs = found.setdefault('folds', {k: {} for k in both})
    found['machine of the folds'] = machine()
    for i in range(a.folds):
        wanted = [(seed, name) for seed in a.seeds for name in both if f'{i},{seed}' not in runs[name]]
        if not wanted: continue
        with TemporaryDirectory() as folder:
            teacher = f'{folder}/teacher'
            train_teacher(a.base, parts['no pool'][i], teacher, Settings(seed=0, epochs=4))
            for seed,name in wanted:
                runs[name][f'{i},{seed}'] = run(teacher, parts[name][i], a.layers, seed, ('test',))
                print('fold', i, name, seed, runs[name][f'{i},{seed}']['last'], flush=True)
                if a.out: write_json(found, a.out, overwrite=True)
    hits = {k: np.array([[*map(int, ''.join(v[f'{i},{seed}']['hits'] for i in range(a.folds)))] for seed in a.seeds]) for k,v in runs.items()}
    return {'folds, pool against no pool': bootstrap_difference(hits['pool'], hits['no pool']) | dict(rows=hits['pool'].shape[1])}

if __name__ == '__main__':
    p = with_models(parser(__doc__))
    p.add_argument('--unlabeled', required=True)
    p.add_argument('--layers', type=numbers, default=[0, 2, 5])
    p.add_argument('--seeds', type=numbers, default=[0, 1, 2])
    p.add_argument('--folds', type=int, default=0)
    p.add_argument('--base', help="pretrained encoder that each fold's teacher is made of")
    a = p.parse_args()
    both = {'pool': load_rows(a.data, unlabeled=a.unlabeled), 'no pool': load_rows(a.data)}
    found = earlier(a.out) or dict(machine=machine(), layers=a.layers, rows={k: len(v) for k,v in both['pool'].items()})
    runs = found.setdefault('runs', {k: {} for k in both})
    for seed in a.seeds:
        for name,data in both.items():
            if str(seed) in runs[name]: continue
            runs[name][str(seed)] = run(a.teacher, data, a.layers, seed)
            print(name, seed, runs[name][str(seed)]['epochs'], flush=True)
            if a.out: write_json(found, a.out, overwrite=True)
    hits = {k: np.array([[*map(int, o['hits'])] for o in v.values()]) for k,v in runs.items()}
    found['pool against no pool'] = bootstrap_difference(hits['pool'], hits['no pool'])
    if a.folds: found |= fold_by_fold(a, both, found)
    if a.out: write_json(found, a.out, overwrite=True)
    print(json.dumps(found) if a.json else found['pool against no pool'])
