"""What multiplies: steps alone, in a row, each left out, and the same steps in other orders.

Usage: python benchmarks/orders.py [--seeds 0,1,2] [--pool 4000] [--epochs 3] [--work FOLDER] [--json] [--out FILE]

From the sample's teacher of four layers to the smallest that holds, scored on the 10,000 test rows; nothing is chosen by
them. Rows of steps that begin alike share what they have in common, so nothing is trained twice. Bytes are of all files
that a prediction needs; times are the processor's, taken in turns,
all forms of the first seed in one run, tokenizing included.
What the file holds already is not made again; the checkpoints lie in `--work`."""
import json, time
from pathlib import Path
from unittest.mock import patch

from distil_nb.core import Settings
import numpy as np
from common import earlier, interval, numbers, packed, parser, unpacked
from datasets import DatasetDict
from distil_nb.checkpoints import load_checkpoint
from distil_nb.data import few_held_out, load_data, sample_pool, texts_of
from distil_nb.evaluate import classifier, latencies, machine, split_logits
from distil_nb.files import column
from distil_nb.recipes import Job, bytes_in_floats, bytes_to_serve, steps_of
from distil_nb.tokens import fingerprint
from distil_nb.writing import write_json

def recipes(epochs:int)->dict[str,list[dict]]:
    "By name the steps."
    distil = dict(step='distil', layers=[0, 3], epochs=epochs)
    prune = dict(step='prune', neurons=.5, epochs=epochs)
    fewer,rounded,graph = dict(step='vocabulary'),dict(step='quantize', scheme='weight-int4', rounding='gptq'),dict(step='export')
    row = dict(distil=distil, prune=prune, vocabulary=fewer, quantize=rounded, export=graph)
    names = [*row]
    whole = [*row.values()]
    rows = {f'{o} alone': [row[o]] for o in names}
    rows |= {' → '.join(names[:i]): whole[:i] for i in range(2, 6)}
    rows |= {f'without {o}': [v for k,v in row.items() if k != o] for o in names[:4]}
    return rows | {'prune first': [prune, distil, fewer, rounded, graph], 'vocabulary first': [fewer, distil, prune, rounded, graph]}

def made(steps:list[dict], work:Path, job:Job)->Path:
    "What the steps lead to; made once, with all that leads there."
    if not steps: return Path(job.teacher)
    folder = work/fingerprint(steps, job.settings.seed)
    if not folder.exists():
        source = made(steps[:-1], work, job)
        steps_of([steps[-1]])[0].run(str(source), folder, job)
    return folder

def measured(folder:Path, rows)->dict:
    "Bytes, and which test rows are right."
    hits = split_logits(*load_checkpoint(folder), rows).argmax(-1) == column(rows, 'labels')
    return dict(bytes=bytes_to_serve(folder), accuracy=float(hits.mean()), hits=packed(hits))

def in_turns(wanted:dict, work:Path, job:Job, teacher:tuple, texts:list)->dict:
    "Median milliseconds of the processor for one text and for 32, all forms; what a clock would show if nothing else ran."
    forms = {k: classifier(*load_checkpoint(made(v, work, job))) for k,v in wanted.items()}
    forms['teacher'] = classifier(*teacher)
    with patch.object(time, 'perf_counter', time.process_time):
        return {b: {k: o['median'] for k,o in latencies(forms, texts, b).items()} for b in (1, 32)}

if __name__ == '__main__':
    p = parser(__doc__)
    p.add_argument('--seeds', type=numbers, default=[0, 1, 2])
    p.add_argument('--pool', type=int, default=4000)
    p.add_argument('--epochs', type=int, default=3)
    p.add_argument('--work', type=Path, default=Path('orders-work'))
    a = p.parse_args()
    teacher,rows,wanted = load_checkpoint('sample'),load_data('sample'),recipes(a.epochs)
    few = DatasetDict(few_held_out(rows), unlabeled=sample_pool().select(range(a.pool)))  # nothing is chosen by what is held out
    found = earlier(a.out) or dict(machine=machine(), pool=a.pool, epochs=a.epochs, n=len(rows['test']), recipes=wanted, runs={})
    if 'teacher' not in found:
        hits = split_logits(*teacher, rows['test']).argmax(-1) == column(rows['test'], 'labels')
        found['teacher'] = dict(bytes=bytes_in_floats(*teacher), accuracy=float(hits.mean()), hits=packed(hits))
    for seed in a.seeds:
        job = Job('sample', few, Settings(lr=3e-4, seed=seed, keep='last'))
        for name,steps in wanted.items():
            runs = found['runs'].setdefault(name, {})
            if str(seed) in runs: continue
            start = time.perf_counter()
            runs[str(seed)] = measured(made(steps, a.work, job), rows['test'])
            print(f'{name}, seed {seed}: {100*runs[str(seed)]["accuracy"]:.2f} %, {runs[str(seed)]["bytes"]/1e6:.3f} MB, {time.perf_counter() - start:.0f} s', flush=True)
            if a.out: write_json(found, a.out, overwrite=True)
    if 'latency_ms' not in found:
        job = Job('sample', few, Settings(lr=3e-4, seed=a.seeds[0], keep='last'))
        found['latency_ms'] = in_turns(wanted, a.work, job, teacher, texts_of(rows['test']))
    def right(name): return np.stack([unpacked(o['hits'], found['n']) for o in found['runs'][name].values()])
    whole = unpacked(found['teacher']['hits'], found['n'])
    found['against teacher'] = {o: interval(right(o), whole) for o in wanted}
    ours = next(k for k,v in wanted.items() if len(v) == 5)  # all steps, in the order in which they are named
    found['against the row'] = {o: interval(right(o), right(ours)) for o in wanted if o != ours}
    if a.out: write_json(found, a.out, overwrite=True)
    print(json.dumps({k: v for k,v in found.items() if k != 'runs'}) if a.json else found['against the row'])
