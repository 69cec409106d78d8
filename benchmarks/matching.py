"""Relations beside logits: a narrow student from nothing, on data and a teacher of your own.

The learning rate is chosen for logits alone, then the weight of what is matched, both on validation with seed 0; then both ways run for every seed. Test accuracy, the paired interval of the difference (rows
are drawn again and again, the seeds of a row stay together), seconds of an epoch and peak memory of the whole command.

    python benchmarks/matching.py --data SOURCE --teacher FOLDER [--unlabeled FILE] [--width 192] [--depth 3] [--match relations] [--epochs 10] [--rates 3e-4,1e-3] [--weights .3,1,3] [--seeds 0,1,2] [--json] [--out FILE]"""
import json, os, subprocess, sys, tempfile
from pathlib import Path

from distil_nb.core import Settings
from distil_nb.writing import write_json
from common import interval, parser, with_models
import numpy as np
from distil_nb.commands import load_rows
from distil_nb.evaluate import machine, split_logits
from distil_nb.files import column
from distil_nb.checkpoints import load_checkpoint

def trained(o, out, seed:int, rate:float, weight:float)->dict:
    "One run of the command: `validation`, `seconds` of an epoch, `memory_mb` at its peak, `hits` on test."
    words = ['distil', '--data', o.data, '--teacher', o.teacher, '--student', 'new', '--student-width', o.width, '--student-layers', o.depth, '--epochs', o.epochs, '--lr', rate, '--seed', seed, '--out', out, '--json']
    if o.unlabeled: words += ['--unlabeled', o.unlabeled]
    if weight: words += ['--match', o.match, '--match-weight', weight]
    run = subprocess.Popen([sys.executable, '-c', 'import sys; from distil_nb.cli import main; sys.exit(main(sys.argv[1:]))', *map(str, words)], stdout=subprocess.DEVNULL)
    _,status,used = os.wait4(run.pid, 0)
    if status: raise SystemExit(f'{words} ended with {status}')
    record = json.loads((Path(out)/'record.json').read_text())
    model,tokenizer = load_checkpoint(out)
    rows = load_rows(o.data, seed=0)['test']
    found = dict(validation=100*record['scores']['student']['validation']['accuracy'], seconds=float(np.mean([e['seconds'] for e in record['history']])), memory_mb=used.ru_maxrss/1e3)
    print(dict(seed=seed, rate=rate, weight=weight) | found, file=sys.stderr, flush=True)
    return found | dict(parameters=record['parameters'] if 'parameters' in record else model.num_parameters(), hits=split_logits(model, tokenizer, rows).argmax(-1) == column(rows, 'labels'))

def main(words=None):
    p = with_models(parser(__doc__))
    for name,default,kind in (('unlabeled', None, str), ('match', 'relations', str), ('width', 192, int), ('depth', 3, int), ('epochs', 10, int)):
        p.add_argument(f'--{name}', default=default, type=kind)
    for name,default in (('rates', '3e-4,1e-3'), ('weights', '.3,1,3'), ('seeds', '0,1,2')): p.add_argument(f'--{name}', default=default)
    o = p.parse_args(words)
    rates,weights,seeds = ([float(x) for x in v.split(',')] for v in (o.rates, o.weights, o.seeds))
    with tempfile.TemporaryDirectory() as tmp:
        tried = {}
        def ask(seed, rate, weight):
            key = int(seed), rate, weight
            if key not in tried: tried[key] = trained(o, f'{tmp}/{len(tried)}', *key)
            return tried[key]
        rate = max(rates, key=lambda r: ask(0, r, 0.)['validation'])
        weight = max(weights, key=lambda w: ask(0, rate, w)['validation'])
        ways = {name: [ask(s, rate, w) for s in seeds] for name,w in (('logits', 0.), (f'logits and {o.match}', weight))}
    plain,matched = (np.stack([r['hits'] for r in runs]) for runs in ways.values())
    told = dict(chosen=dict(lr=rate, weight=weight), tried=[dict(lr=r, weight=w, validation=v['validation']) for (s,r,w),v in tried.items() if s == 0], rows=plain.shape[1], epochs=o.epochs, width=o.width, layers=o.depth,
                ways={k: dict(test=[100*float(r['hits'].mean()) for r in v], validation=[r['validation'] for r in v], seconds=float(np.median([r['seconds'] for r in v])), memory_mb=max(r['memory_mb'] for r in v), parameters=v[0]['parameters']) for k,v in ways.items()},
                gain=interval(matched, plain), machine=machine())
    if o.out: write_json(told, o.out)
    print(json.dumps(told, indent=None if o.json else 1))

if __name__ == '__main__': main()
