"""Generation in batches beside one prompt at a time, with a model of the size that chapter 11 trains, or a checkpoint.

Every prompt gets the same number of new tokens (the end of a text is not among the choices), so that both ways do the same work; both are run in turns.

    python benchmarks/generate.py [--model FOLDER] [--prompts 64] [--tokens 48] [--repeats 5] [--json] [--out FILE]"""
import argparse, json, time
from pathlib import Path

from distil_nb.core import CompressionError
from distil_nb.writing import write_json
from common import numbers, parser
import numpy as np
import pandas as pd
from distil_nb.evaluate import machine
from distil_nb.llm import docstrings
from distil_nb.generation import Sampling, generate
from distil_nb.lm import load_lm, small_lm, train_tokenizer

def the_model(o):
    "A checkpoint, or random weights; it never ends a text."
    if o.model: model,tokenizer = load_lm(o.model)
    else:
        tokenizer = train_tokenizer([p['prompt'] + p['response'] for p in docstrings()], 600)
        model = small_lm(tokenizer, 128, 4)
    stop = tokenizer.eos_token_id
    model.get_output_embeddings().register_forward_hook(lambda _, x, logits: logits.index_fill(-1, logits.new_tensor([stop]).long(), -1e9))
    return model, tokenizer

def measure(o)->list[dict]:
    "Seconds for all prompts, in batches and one by one, in turns."
    model,tokenizer = the_model(o)
    prompts,times = [p['prompt'] for p in docstrings()][:o.prompts],{}
    if len(prompts) < o.prompts: raise CompressionError(f'there are only {len(prompts)} prompts', 'lower --prompts')
    for i in range(-1, o.repeats):  # the first turn warms up
        texts = {}
        for size in (1, *o.batch_sizes):
            start = time.perf_counter()
            texts[size] = generate(model, tokenizer, prompts, Sampling(o.tokens), size)
            if i >= 0: times.setdefault(size, []).append(time.perf_counter() - start)
        assert not any(p['finished'] for p in texts[1])
        same = {size: float(np.mean([a == b for a,b in zip(texts[1], v)])) for size,v in texts.items()}
    return [dict(batch=size, seconds=float(np.median(v)), slowest=max(v), tokens_per_second=o.prompts*o.tokens/float(np.median(v)), faster=float(np.median(times[1])/np.median(v)), same_texts=same[size]) for size,v in times.items()]

def options()->argparse.Namespace:
    "The command line."
    p = parser(__doc__)
    p.add_argument('--model', help='folder of a causal language model; a small random one if not given')
    p.add_argument('--prompts', type=int, default=64)
    p.add_argument('--tokens', type=int, default=48, help='new tokens of each prompt')
    p.add_argument('--batch-sizes', type=numbers, default=[8, 32, 64])
    p.add_argument('--repeats', type=int, default=5)
    return p.parse_args()

def main(o:argparse.Namespace):
    "Measure, tell, write."
    found = dict(prompts=o.prompts, tokens=o.tokens, generation=measure(o), machine=machine())
    print(pd.DataFrame(found['generation']).round(3).to_string(index=False))
    if o.out: write_json(found, o.out, overwrite=True)
    if o.json: print(json.dumps(found))

if __name__ == '__main__': main(options())
