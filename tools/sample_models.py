"""Make the two small models that come with the package: the teacher of the sample, and its student from nothing.

Usage: python tools/sample_models.py teacher|student (about half an hour, and a few minutes, on one core)

The teacher learns from 80,000 generated rows, which nobody else has; 25 of the 31,000 texts of the sample's held-out splits
and pool happen to be among them (*Distillation* counts them). The student learns from the 2,100 labelled rows and the pool, as `distil-nb demo` does it."""
import sys

from distil_nb.core import Settings, quiet, set_seed
from datasets import Dataset, DatasetDict
from distil_nb.checkpoints import SAMPLE_STUDENT, SAMPLE_TEACHER, save_checkpoint
from distil_nb.data import SAMPLE_ROWS, few_held_out, load_data, sample_pool
from distil_nb.distillation import distil
from distil_nb.models import new_student
from distil_nb.sample import generate_urls
from distil_nb.train import train
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertTokenizerFast

def say(epoch:dict): print({k: epoch[k] for k in ('epoch', 'loss')}, epoch['validation']['accuracy'], flush=True)

def teacher(n:int=80_000):
    "Four layers, 128 wide, a vocabulary of 2,000 pieces learned from its rows."
    data = few_held_out(load_data('sample'), 1000)
    everything = sum(SAMPLE_ROWS.values())
    held_out = {o['text'] for o in list(generate_urls(everything))[SAMPLE_ROWS['train']:]}
    rows = [o for o in generate_urls(n, seed=2026) if o['text'] not in held_out]
    pieces = BertWordPieceTokenizer(lowercase=True)
    pieces.train_from_iterator([o['text'] for o in rows], vocab_size=2000, show_progress=False)
    pieces = BertTokenizerFast(tokenizer_object=pieces._tokenizer, model_max_length=256)
    config = BertConfig(vocab_size=2000, hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=512,
        max_position_embeddings=256, id2label={0: 'safe', 1: 'phishing'}, label2id={'safe': 0, 'phishing': 1})
    set_seed(0)
    many,how = DatasetDict(data, train=Dataset.from_list(rows)),Settings(epochs=3, lr=5e-4, alpha=0, precision='no')
    model,course = train(new_student(config), pieces, many, how, report=say)
    save_checkpoint(model, pieces, SAMPLE_TEACHER, dict(step='train', rows=len(rows), history=course), overwrite=True)

def student():
    "Two layers, from nothing."
    data = DatasetDict(few_held_out(load_data('sample'), 1000), unlabeled=sample_pool())
    how = Settings(epochs=3, lr=5e-4, precision='no')
    distil('sample', data, SAMPLE_STUDENT, student='new', settings=how, sizes=dict(layers=2), overwrite=True, report=say)

if __name__ == '__main__':
    if sys.argv[1:] not in (['teacher'], ['student']): sys.exit(__doc__)
    {'teacher': teacher, 'student': student}[sys.argv[1]]()
