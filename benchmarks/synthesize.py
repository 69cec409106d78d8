"""What made data are worth where labelled rows are few, on data and a teacher of your own.

A small student that starts from nothing (2 layers, 128 wide) learns from a few labelled rows: on the labels alone, with the teacher's soft targets, with as many made texts as
`--count` says, and with real texts without labels instead (`--unlabeled`, the same number). The generator sees the few labelled rows and nothing else. Beside them TF-IDF with
logistic regression. Accuracy on validation and test together, for each number of rows and each seed.

    python benchmarks/synthesize.py --data SOURCE --teacher FOLDER [--unlabeled FILE] [--rows 100,200,500,1000] [--seeds 0,1,2] [--count 2000] [--json] [--out FILE]"""
import argparse, json, sys, tempfile, time
from pathlib import Path

from distil_nb.core import Settings, set_seed, write_json
from common import earlier, parser, with_models
import pandas as pd
from datasets import Dataset, DatasetDict
from distil_nb.data import load_data, load_texts
from distil_nb.evaluate import held_out_accuracy, machine, scores, tfidf_baseline
from distil_nb.lm import Sampling
from distil_nb.models import load_checkpoint, new_student, save_checkpoint
from distil_nb.synthesize import synthesize
from distil_nb.train import distil
from transformers import BertConfig

def student_accuracy(o, tokenizer, rows, data, seed:int, alpha:float)->float:
    "Train the small student on `rows`."
    set_seed(seed)
    model = new_student(BertConfig(vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=256))
    with tempfile.TemporaryDirectory() as tmp:
        save_checkpoint(model, tokenizer, f'{tmp}/start')
        distil(o.teacher, rows, f'{tmp}/student', student=f'{tmp}/start', settings=Settings(epochs=o.epochs, lr=o.lr, alpha=alpha, seed=seed))
        return held_out_accuracy(*load_checkpoint(f'{tmp}/student'), data)

def one(o, data, pool:list[str], rows:int, seed:int)->dict:
    "All ways, with the same labelled rows."
    start,(teacher,tokenizer) = time.perf_counter(),load_checkpoint(o.teacher)
    few = DatasetDict(data, train=data['train'].shuffle(seed).select(range(rows)))
    made,told = synthesize(teacher, tokenizer, few, o.count, sampling=Sampling(96, 1., seed=seed))
    with_made = DatasetDict(few, unlabeled=Dataset.from_dict(dict(text=[x['text'] for x in made])))
    found = dict(rows=rows, seed=seed, labels_only=student_accuracy(o, tokenizer, few, data, seed, 0.), soft_targets=student_accuracy(o, tokenizer, few, data, seed, .5),
                 made=student_accuracy(o, tokenizer, with_made, data, seed, .5), made_texts=len(made), **{f'texts_{k}': v for k,v in told.items()})
    if pool: found['real'] = student_accuracy(o, tokenizer, DatasetDict(few, unlabeled=Dataset.from_dict(dict(text=pool[:len(made)]))), data, seed, .5)
    classify,*_ = tfidf_baseline(few['train'], seed)
    texts,labels = ([v for x in ('validation', 'test') for v in data[x][column]] for column in ('text', 'labels'))
    return found | dict(tfidf=100*scores(labels, classify(texts))['accuracy'], seconds=time.perf_counter() - start)

def options()->argparse.Namespace:
    "The command line."
    p = with_models(parser(__doc__))
    p.add_argument('--unlabeled', help='file of real texts')
    p.add_argument('--rows', default='200,100,500,1000', help='labelled rows')
    p.add_argument('--seeds', default='0,1,2')
    p.add_argument('--count', type=int, default=2000, help='made texts')
    p.add_argument('--epochs', type=int, default=15)
    p.add_argument('--lr', type=float, default=5e-4)
    return p.parse_args()

def main(o:argparse.Namespace):
    "Measure, tell, write after each round; rounds that `--out` holds already are not measured again."
    data,how = load_data(o.data),dict(count=o.count, epochs=o.epochs, lr=o.lr)
    pool,found = load_texts(o.unlabeled, known=data)['text'][:] if o.unlabeled else [],dict(curve=[], data=Path(o.data).name, machine=machine()) | earlier(o.out)
    for rows in map(int, o.rows.split(',')):
        for seed in map(int, o.seeds.split(',')):
            if any(dict(rows=rows, seed=seed, **how).items() <= x.items() for x in found['curve']): continue
            found['curve'].append(one(o, data, pool, rows, seed) | how)
            print(found['curve'][-1], file=sys.stderr, flush=True)
            if o.out: write_json(found, o.out, overwrite=True)
    print(pd.DataFrame(found['curve']).round(2).to_string(index=False))
    if o.json: print(json.dumps(found))

if __name__ == '__main__': main(options())
