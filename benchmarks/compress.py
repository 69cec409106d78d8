"""One command, from a teacher to a small model: the default recipe, and targets. On somebody's own data and teacher.

Usage: python benchmarks/compress.py --data DATA --teacher FOLDER [--unlabeled FILE] [--seeds 0,1,2] [--limits mb=3,ms=0.5,drop=0.5]
    [--measure recipe,targets,story] [--work FOLDER] [--json] [--out FILE]

- `recipe`: the default recipe with each seed. Bytes of all files that a prediction needs, times in turns with the teacher in PyTorch (one text
  and 32, tokenizing included, the threads that PyTorch is told), accuracy on validation and test together: nothing is chosen on either.
- `targets`: each limit alone, and all together, with the first seed; what was tried and which limits bind; sizes and times as foretold and as
  measured. A search chooses on validation; its drop on test stands beside it.
- `story`: size and speed alone, which weights do not change: a BERT base with random weights, and what the default recipe makes of the story's student (4 layers, half of its heads and neurons, the tokens that the texts use).

What the file holds already is not made again; the checkpoints lie in `--work`."""
import json, time
from pathlib import Path

from distil_nb.core import Settings, set_seed
import numpy as np
from common import earlier, numbers, parser, with_models
from distil_nb.checkpoints import load_checkpoint
from distil_nb.commands import load_rows
from distil_nb.compare import bootstrap_difference
from distil_nb.compress import Candidate, Target, compress, shaped
from distil_nb.data import texts_of
from distil_nb.evaluate import classifier, latencies, machine, split_logits
from distil_nb.export import export_onnx
from distil_nb.files import column
from distil_nb.models import new_student, story_config
from distil_nb.quantize import quantize, scheme_named
from distil_nb.recipes import bytes_in_floats, bytes_to_serve
from distil_nb.vocabulary import prune_vocabulary
from distil_nb.writing import write_json
from transformers import BertConfig

HELD = 'validation', 'test'

def hits(model:tuple, rows)->np.ndarray:
    "Which held-out rows are right."
    return np.concatenate([split_logits(*model, rows[o]).argmax(-1) == column(rows[o], 'labels') for o in HELD])

def default(a, rows, teacher:tuple, seed:int)->dict:
    "The default recipe with one seed."
    out,start = Path(a.work)/f'recipe-{seed}',time.perf_counter()
    if not out.exists(): compress(a.teacher, rows, out, settings=Settings(seed=seed), how=(False, True, None), say=print)
    seconds,made = time.perf_counter() - start,load_checkpoint(out)
    record,texts = json.loads((out/'record.json').read_text()),texts_of(rows['test'])
    forms = dict(teacher=classifier(*teacher), compressed=classifier(*made))
    times = {b: {k: o['median'] for k,o in latencies(forms, texts, b).items()} for b in (1, 32)}
    return dict(seconds=seconds, steps=record['steps'], recipe=record['recipe'], bytes=bytes_to_serve(out), latency_ms=times,
        faster={b: o['teacher']/o['compressed'] for b,o in times.items()}, hits=''.join(map(str, hits(made, rows).astype(int))))

def reach(a, rows, limits:dict)->dict:
    "A search."
    name = '-'.join(f'{k}{v:g}' for k,v in limits.items())
    out,start = Path(a.work)/f'target-{name}',time.perf_counter()
    target = Target(**{f'max_{k}': v for k,v in limits.items()})
    if not out.exists(): compress(a.teacher, rows, out, target=target, settings=Settings(seed=a.seeds[0]), how=(False, True, None), say=print)
    record = json.loads((out/'record.json').read_text())
    return dict(seconds=time.perf_counter() - start) | {k: record.get(k) for k in ('target', 'over', 'best', 'tried', 'recipe', 'not_told_apart', 'compared')}

def story(a, rows, tokenizer)->dict:
    "The story's architectures, from the largest to what the default recipe leaves of it."
    set_seed(0)
    texts = texts_of(rows['train']) + (texts_of(rows['unlabeled']) if 'unlabeled' in rows else [])
    large,small = (new_student(o) for o in (BertConfig(vocab_size=len(tokenizer)), story_config()))
    fewer,words = prune_vocabulary(shaped(small, tokenizer, Candidate(4, .5), ('heads', 'neurons')), tokenizer, texts)
    out = Path(a.work)/'story'
    if not out.exists(): export_onnx(quantize(fewer, scheme_named('dynamic-int8', embedding_bits=4)), words, out)
    forms = dict(large=classifier(large, tokenizer), compressed=classifier(*load_checkpoint(out)))
    times = {b: {k: o['median'] for k,o in latencies(forms, texts_of(rows['test']), b, repeats).items()} for b,repeats in ((1, 30), (32, 10))}
    before,after = bytes_in_floats(large, tokenizer),bytes_to_serve(out)
    return dict(bytes_before=before, bytes=after, times_smaller=before/after, latency_ms=times, faster={b: o['large']/o['compressed'] for b,o in times.items()})

if __name__ == '__main__':
    p = with_models(parser(__doc__))
    p.add_argument('--unlabeled')
    p.add_argument('--seeds', type=numbers, default=[0, 1, 2])
    p.add_argument('--limits', default='mb=3,ms=0.5,drop=0.5')
    p.add_argument('--measure', default='recipe,targets')
    p.add_argument('--work', default='compress-work')
    a = p.parse_args()
    rows,teacher = load_rows(a.data, unlabeled=a.unlabeled),load_checkpoint(a.teacher)
    found = earlier(a.out) or dict(machine=machine(), rows={k: len(v) for k,v in rows.items()})
    whole = hits(teacher, rows)
    found |= dict(teacher=float(whole.mean()), bytes_before=bytes_in_floats(*teacher))
    def keep(part, key, make):
        "Unless it is there."
        kept = found.setdefault(part, {})
        if key not in kept: kept[key] = make()
        if a.out: write_json(found, a.out, overwrite=True)
    if 'recipe' in a.measure:
        for seed in a.seeds: keep('recipe', str(seed), lambda: default(a, rows, teacher, seed))
        ours = np.array([[*map(int, o['hits'])] for o in found['recipe'].values()])
        found['default'] = dict(times_smaller=found['bytes_before']/max(o['bytes'] for o in found['recipe'].values()),
            points=bootstrap_difference(ours, whole))
    if 'story' in a.measure: keep('story', 'bert-base', lambda: story(a, rows, teacher[1]))
    if 'targets' in a.measure:
        limits = {k: float(v) for k,v in (o.split('=') for o in a.limits.split(','))}
        for one in [{k: v} for k,v in limits.items()] + [limits]: keep('targets', ', '.join(one), lambda: reach(a, rows, one))
    if a.out: write_json(found, a.out, overwrite=True)
    print(json.dumps(found) if a.json else found.get('default'))
