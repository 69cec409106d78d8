"""The table of the book on somebody's own data and teacher: all forms of one student, on the same rows, in turns in one run.

Usage: python benchmarks/book.py --data DATA --teacher FOLDER --unlabeled FILE [--layers 0,2,5] [--seed 0] [--repeats 30] [--json] [--out FILE]

The student has some layers of the teacher and learns from it on all texts; labels only is its twin, with the same start and
as many steps. Each form comes from the student as in its chapter: int8, int4 and half of the weights at zero without training,
QAT (two bits) and half of the neurons with three epochs more. Nothing is chosen, so validation and test are scored together.
The record of the book is `distil_nb/records/urls.json`."""
import json, tempfile
from pathlib import Path

from distil_nb.core import Settings
from common import numbers, parser, with_models
from datasets import DatasetDict, concatenate_datasets
from distil_nb.baselines import tfidf_baseline
from distil_nb.checkpoints import load_checkpoint, save_checkpoint
from distil_nb.commands import load_rows
from distil_nb.distillation import distil
from distil_nb.evaluate import bytes_on_disk, contender, measure_together, results_table
from distil_nb.export import export_onnx
from distil_nb.prune import prune
from distil_nb.qat import train_quantized
from distil_nb.quantize import SCHEMES, Scheme, quantize
from distil_nb.results import in_order
from distil_nb.sparsify import Sparsity, sparsify
from distil_nb.vocabulary import prune_vocabulary
from distil_nb.writing import write_json

def trained(a, data, home:Path):
    "Folders of all that is trained."
    how,more = Settings(seed=a.seed),Settings(seed=a.seed, epochs=3)
    labelled = DatasetDict({k: v for k,v in data.items() if k != 'unlabeled'})
    as_long = round(how.epochs*(len(data['train']) + len(data['unlabeled']))/len(data['train']))
    distil(a.teacher, data, home/'student', keep=a.layers, settings=how)
    distil(a.teacher, labelled, home/'labels only', keep=a.layers, settings=Settings(seed=a.seed, epochs=as_long, alpha=0))
    distil(a.teacher, data, home/'static', student='static', settings=Settings(seed=a.seed, epochs=10, alpha=.9))
    train_quantized(home/'student', data, home/'student, QAT', Scheme(2, embedding_bits=2), a.teacher, more)
    save_checkpoint(prune(home/'student', None, data['train'], neurons=.5), load_checkpoint(home/'student')[1], home/'cut')
    distil(a.teacher, data, home/'student, pruned', student=home/'cut', settings=more)

def derived(data, home:Path):
    "Folders of what comes from the student without training."
    student,tokenizer = load_checkpoint(home/'student')
    def keep(name, model, its=tokenizer): save_checkpoint(model, its, home/name)
    texts = [o for k in ('train', 'unlabeled') for o in data[k]['text']]
    keep('student, int8', eight := quantize(student, SCHEMES['dynamic-int8']))
    keep('student, int4', quantize(student, SCHEMES['weight-int4']))
    keep('student, zeros', sparsify(student, Sparsity(.5)))
    keep('student, vocabulary', *prune_vocabulary(student, tokenizer, texts))
    export_onnx(student, tokenizer, home/'student, ONNX')
    export_onnx(eight, tokenizer, home/'student, ONNX int8')

if __name__ == '__main__':
    p = with_models(parser(__doc__))
    p.add_argument('--unlabeled', required=True)
    p.add_argument('--layers', type=numbers, default=[0, 2, 5])
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--repeats', type=int, default=30)
    a = p.parse_args()
    data = load_rows(a.data, unlabeled=a.unlabeled)
    held = concatenate_datasets([data[o] for o in ('validation', 'test')])
    with tempfile.TemporaryDirectory() as tmp:
        home = Path(tmp)
        trained(a, data, home)
        derived(data, home)
        folders = {'teacher': Path(a.teacher)} | {o.name: o for o in home.iterdir() if o.name != 'cut'}
        forms = {'TF-IDF': dict(zip(('classify', 'parameters', 'size'), tfidf_baseline(data['train'], a.seed)))}
        forms |= {k: contender(*load_checkpoint(v), bytes_on_disk(v)) for k,v in folders.items()}
        found = in_order(measure_together(forms, held, 'urls', 'validation and test', repeats=a.repeats, beside='teacher'))
    if a.out: write_json(found, a.out, overwrite=True)
    print(json.dumps(found) if a.json else results_table(found))
