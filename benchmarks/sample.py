"""How near is the sample to real URLs? TF-IDF that has seen the sample alone, on somebody's real ones.

Usage: python benchmarks/sample.py --data DATA [--json] [--out FILE]

DATA is a set of labelled URLs as for distil-nb; all of its labelled rows are scored, for nothing here was chosen on
them but the grammar's shares (see *A sample that makes itself*)."""
import json

import numpy as np
from common import parser
from distil_nb.baselines import tfidf_baseline
from distil_nb.data import load_data
from distil_nb.scores import standard_error

def accuracy(classify, *splits)->tuple[float,int]:
    "Share of rows that are right, and how many there are."
    hits = np.concatenate([classify(o['text'][:]).argmax(-1) == np.array(o['labels'][:]) for o in splits])
    return float(hits.mean()), len(hits)

if __name__ == '__main__':
    p = parser(__doc__)
    p.add_argument('--data', required=True, help='real URLs with labels, as for distil-nb')
    a = p.parse_args()
    sample,real = load_data('sample'),load_data(a.data)
    classify,*_ = tfidf_baseline(sample['train'])
    found = dict(rows=len(sample['train']))
    for name,splits in {'sample': [sample['test']], 'real': [*real.values()]}.items():
        share,n = accuracy(classify, *splits)
        found[name] = dict(accuracy=share, n=n, standard_error=standard_error(share, n))
    if a.out: a.out.write_text(json.dumps(found, indent=1) + '\n')
    print(json.dumps(found) if a.json else found)
