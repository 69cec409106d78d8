"""What made data are worth where labelled rows are few, on data and a teacher of your own.

A small student that starts from nothing (2 layers, 128 wide) learns from a few labelled rows. Accuracy on validation and test together, for each seed:
curve    for each number of labelled rows: on the labels alone, with the teacher's soft targets, with as many made texts as `--count` says, and with as many real texts
         without labels instead (`--unlabeled`). Beside them TF-IDF with logistic regression. The generator sees the labelled rows and nothing else.
amounts  for the first of `--rows`: with each number of made texts in `--amounts`.

    python benchmarks/synthesize.py --data SOURCE --teacher FOLDER [--unlabeled FILE] [--rows 200,100,500,1000] [--seeds 0,1,2] [--count 2000]
        [--amounts 250,500,1000,2000,4000] [--measure curve,amounts] [--json] [--out FILE]"""
import argparse, json, sys, tempfile, time
from pathlib import Path

from distil_nb.core import Settings, set_seed
from distil_nb.writing import write_json
from common import earlier, numbers, parser, with_models
import pandas as pd
from datasets import Dataset, DatasetDict
from distil_nb.baselines import tfidf_baseline
from distil_nb.data import load_data, load_texts
from distil_nb.distillation import distil
from distil_nb.evaluate import held_out_accuracy, machine, scores
from distil_nb.generation import Sampling
from distil_nb.models import load_checkpoint, new_student, save_checkpoint
from distil_nb.synthesize import synthesize
from transformers import BertConfig

def student_accuracy(o, tokenizer, rows, data, seed:int, alpha:float)->float:
    "Train the small student on `rows`."
    set_seed(seed)
    model = new_student(BertConfig(vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=256))
    with tempfile.TemporaryDirectory() as tmp:
        save_checkpoint(model, tokenizer, f'{tmp}/start')
        distil(o.teacher, rows, f'{tmp}/student', student=f'{tmp}/start', settings=Settings(epochs=o.epochs, lr=o.lr, alpha=alpha, seed=seed))
        return held_out_accuracy(*load_checkpoint(f'{tmp}/student'), data)

def few_rows(data, rows:int, seed:int)->DatasetDict:
    "The same splits with `rows` labelled rows."
    return DatasetDict(data, train=data['train'].shuffle(seed).select(range(rows)))

def made_texts(o, few, count:int, seed:int)->tuple[list[str],dict]:
    "Texts made from the few labelled rows, and what became of all that was made."
    made,told = synthesize(o.teacher, few, count, sampling=Sampling(96, 1., seed=seed))
    return [x['text'] for x in made], told

def with_texts(few, texts:list[str])->DatasetDict:
    "More texts, without labels."
    return DatasetDict(few, unlabeled=Dataset.from_dict(dict(text=texts)))

def curve(o, data, pool:list[str], rows:int, seed:int)->list[dict]:
    "All ways, with the same labelled rows."
    tokenizer,few = load_checkpoint(o.teacher)[1],few_rows(data, rows, seed)
    made,told = made_texts(o, few, o.count, seed)
    found = dict(labels_only=student_accuracy(o, tokenizer, few, data, seed, 0.), soft_targets=student_accuracy(o, tokenizer, few, data, seed, .5),
                 made=student_accuracy(o, tokenizer, with_texts(few, made), data, seed, .5), made_texts=len(made), **{f'texts_{k}': v for k,v in told.items()})
    if pool: found['real'] = student_accuracy(o, tokenizer, with_texts(few, pool[:len(made)]), data, seed, .5)
    classify,*_ = tfidf_baseline(few['train'], seed)
    texts,labels = ([v for x in ('validation', 'test') for v in data[x][column]] for column in ('text', 'labels'))
    return [found | dict(tfidf=100*scores(labels, classify(texts))['accuracy'])]

def amounts(o, data, pool:list[str], rows:int, seed:int)->list[dict]:
    "More and more made texts; the largest number may be less than asked for, if nothing new comes."
    tokenizer,few = load_checkpoint(o.teacher)[1],few_rows(data, rows, seed)
    made,_ = made_texts(o, few, max(o.amounts), seed)
    there = {min(n, len(made)): n for n in sorted(o.amounts, reverse=True)}
    return [dict(wanted=there[n], made_texts=n, made=student_accuracy(o, tokenizer, with_texts(few, made[:n]), data, seed, .5)) for n in sorted(there)]

def options()->argparse.Namespace:
    "The command line."
    p = with_models(parser(__doc__))
    p.add_argument('--unlabeled', help='file of real texts')
    p.add_argument('--rows', type=numbers, default=[200, 100, 500, 1000], help='labelled rows')
    p.add_argument('--seeds', type=numbers, default=[0, 1, 2])
    p.add_argument('--count', type=int, default=2000, help='made texts')
    p.add_argument('--amounts', type=numbers, default=[250, 500, 1000, 2000, 4000], help='made texts')
    p.add_argument('--measure', default='curve,amounts')
    p.add_argument('--epochs', type=int, default=15)
    p.add_argument('--lr', type=float, default=5e-4)
    return p.parse_args()

def main(o:argparse.Namespace):
    "Measure, tell, write after each round; rounds that `--out` holds already are not measured again."
    data = load_data(o.data)
    pool,found = load_texts(o.unlabeled, known=data)['text'][:] if o.unlabeled else [],earlier(o.out)
    for name,rows,seed in [(name, rows, seed) for name in o.measure.split(',') for rows in (o.rows if name == 'curve' else o.rows[:1]) for seed in o.seeds]:
        how = dict(rows=rows, seed=seed, count=o.count if name == 'curve' else max(o.amounts), epochs=o.epochs, lr=o.lr)
        if any(how.items() <= x.items() for x in found.get(name, [])): continue
        start,new = time.perf_counter(),dict(curve=curve, amounts=amounts)[name](o, data, pool, rows, seed)
        found |= {name: found.get(name, []) + [how | x | dict(seconds=time.perf_counter() - start) for x in new], 'machine': machine(), 'data': Path(o.data).name}
        print(*found[name][-len(new):], sep='\n', file=sys.stderr, flush=True)
        if o.out: write_json(found, o.out, overwrite=True)
    for name in o.measure.split(','): print(pd.DataFrame(found[name]).round(2).to_string(index=False))
    if o.json: print(json.dumps(found))

if __name__ == '__main__': main(options())
