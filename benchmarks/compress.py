"""One command, from a teacher to a small model: the default recipe, and targets. On somebody's own data and teacher.

Usage: python benchmarks/compress.py --data DATA --teacher FOLDER [--unlabeled FILE] [--seeds 0,1,2] [--limits mb=3,ms=0.5,drop=0.5]
    [--measure recipe,targets,foretold,story] [--work FOLDER] [--json] [--out FILE]

- `recipe`: the default recipe with each seed. Bytes of all files that a prediction needs, times in turns with the teacher in PyTorch (one text
  and 32, tokenizing included, the threads that PyTorch is told), accuracy on validation and test together: nothing is chosen on either.
- `targets`: each limit alone, the first two together, and all, with the first seed; what was tried and which limits bind. A search chooses on
  validation; its drop on test stands beside it, and what `distil-nb evaluate` says of the result in a process of its own. What one search has tried the next one finds.
- `foretold`: the times of ten candidates as a search foretells them, and as they are measured, untrained.
- `story`: size and speed alone, which weights do not change: a BERT base with random weights, and what the default recipe makes of the story's student (4 layers, half of its heads and neurons, the tokens that the texts use).

What the file holds already is not made again; the checkpoints lie in `--work`."""
import json, subprocess, sys, time
from pathlib import Path

from distil_nb.core import Settings, set_seed
import numpy as np
from common import earlier, numbers, parser, with_models
from distil_nb.checkpoints import load_checkpoint
from distil_nb.commands import Columns, load_rows
from distil_nb.compare import bootstrap_difference
from distil_nb.compress import Candidate, Search, Target, compress, corners, probe, shaped, spread, SCHEMES
from distil_nb.data import texts_of
from distil_nb.distillation import data_for
from distil_nb.evaluate import classifier, latencies, machine, split_logits
from distil_nb.export import export_onnx
from distil_nb.files import column
from distil_nb.models import new_student, story_config
from distil_nb.quantize import quantize, scheme_named
from distil_nb.recipes import Job, bytes_in_floats, bytes_to_serve
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
    if not out.exists(): compress(a.teacher, rows, out, target=target, settings=Settings(seed=a.seeds[0]), how=(False, True, None), say=print,
        work=Path(a.work)/'tried')
    record,seconds = json.loads((out/'record.json').read_text()),time.perf_counter() - start
    return dict(seconds=seconds, confirmed=confirmed(a, out)) | {k: record.get(k) for k in ('target', 'over', 'best', 'tried', 'recipe', 'not_told_apart', 'compared')}

def confirmed(a, out:Path)->dict:
    "What the command line says of a result, in a process of its own."
    columns = ['--label-column', a.label_column]*bool(a.label_column)
    said = subprocess.run([Path(sys.executable).with_name('distil-nb'), 'evaluate', out, '--data', a.data, *columns, '--json'], check=True, capture_output=True, text=True)
    told = json.loads(said.stdout.splitlines()[-1])
    return {k: told[k] for k in ('accuracy', 'latency_ms')} | dict(bytes=bytes_to_serve(out))

def foretelling(a, rows, teacher:tuple)->dict:
    "Ten candidates between the corners, five of each scheme: milliseconds for one text."
    work = Path(a.work)/'foretold'
    work.mkdir(parents=True, exist_ok=True)
    looked = Search(Job(a.teacher, rows), *teacher, Target(max_ms=1.), work, float('inf'), print)
    known = {o['one']: o['ms'] for o in looked.foretold()}
    ends = [o for scheme in SCHEMES for o in corners(looked.depth, looked.cut, scheme)]
    between = [o for scheme in SCHEMES for o in spread([o for o in known if o.scheme == scheme and o not in ends], 5)]
    got = probe(*looked.small, between, looked.cut, looked.texts)
    found = [dict(name=one.name(), foretold_ms=known[one], ms=o['ms']) for one,o in zip(between, got)]
    return dict(candidates=found, within_20_percent=sum(abs(o['foretold_ms']/o['ms'] - 1) <= .2 for o in found))

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
    p.add_argument('--label-column')
    a = p.parse_args()
    rows,teacher = load_rows(a.data, Columns(label=a.label_column), unlabeled=a.unlabeled),load_checkpoint(a.teacher)
    rows = data_for(teacher[0], rows)
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
    if 'foretold' in a.measure: keep('foretold', 'ms', lambda: foretelling(a, rows, teacher))
    if 'targets' in a.measure:
        limits = {k: float(v) for k,v in (o.split('=') for o in a.limits.split(','))}
        both = dict([*limits.items()][:2])
        for one in [{k: v} for k,v in limits.items()] + [both, limits]: keep('targets', ', '.join(one), lambda: reach(a, rows, one))
    if a.out: write_json(found, a.out, overwrite=True)
    print(json.dumps(found) if a.json else found.get('default'))
