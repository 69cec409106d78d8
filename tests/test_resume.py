"Every kind of training goes on where it was stopped, in whatever phase, and ends in the same bytes; and every kind runs on two processes."

import pytest

import distil_nb.distillation as distillation
from conftest import on_two_processes, quickly
from distil_nb.core import Settings
from distil_nb.data import load_data
from distil_nb.matching import Match
from distil_nb.qat import train_quantized
from distil_nb.quantize import SCHEMES
from distil_nb.recipes import follow_recipe, worded_recipe
from distil_nb.sparsify import Sparsity, train_sparse

QUICK = Settings(epochs=2, accumulate=2)
STEPS = dict(
    distil=lambda data, out, **how: distillation.distil('sample', data, out, settings=QUICK, **how),
    matched=lambda data, out, **how: distillation.distil('sample', data, out, student='new', settings=QUICK, sizes=dict(width=64, layers=2), match=Match(('hidden', 'relations')), **how),
    teacher=lambda data, out, **how: distillation.train_teacher('sample', data, out, QUICK, **how),
    quantized=lambda data, out, **how: train_quantized('sample', data, out, SCHEMES['weight-int4'], 'sample', QUICK, **how),
    sparse=lambda data, out, **how: train_sparse('sample', data, out, Sparsity(.8, movement=True), 'sample', QUICK, **how))

def weights(folder):
    "The bytes of a result."
    return next(o.read_bytes() for o in sorted(folder.glob('*.safetensors')))

@pytest.mark.parametrize('step', quickly('distil', of=STEPS))
def test_goes_on_after_every_phase(urls, tmp_path, monkeypatch, step):
    "Stopped after the first epoch, after the last one, and while the result is written."
    data,run = load_data(urls),STEPS[step]
    run(data, tmp_path/'whole')
    for phase in (1, 2, 'saving'):
        out = tmp_path/f'out {phase}'
        def stop(record):
            if record['epoch'] == phase: raise KeyboardInterrupt
        def fail(*args): raise KeyboardInterrupt
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            if phase == 'saving': patched.setattr(distillation, 'save_checkpoint', fail)
            run(data, out, report=stop)
        assert not out.exists()
        epochs = []
        run(data, out, resume=True, report=lambda record: epochs.append(record['epoch']))
        assert weights(out) == weights(tmp_path/'whole'), phase
        assert epochs == ([2] if phase == 1 else []), phase

def test_a_recipe_goes_on_after_every_step(urls, tmp_path):
    "Stopped between steps: nothing is done twice, and the files of the result have the same bytes."
    data,steps = load_data(urls),worded_recipe('distil epochs=1; prune neurons=.5 epochs=1; quantize scheme=weight-int4 rounding=gptq; export')
    def files(folder): return {o.name: o.read_bytes() for o in folder.iterdir() if o.name != 'record.json'}
    follow_recipe('sample', data, tmp_path/'whole', steps)
    for last in (2, len(steps)):  # after a training, and before the last step
        said,out = [],tmp_path/f'out {last}'
        def stop(text):
            if text.startswith(f'step {last} '): raise KeyboardInterrupt
        with pytest.raises(KeyboardInterrupt): follow_recipe('sample', data, out, steps, say=stop)
        made = sorted(o.name for o in out.with_name(f'{out.name}.partial').iterdir() if o.is_dir())
        assert len(made) == last - 1 and not out.exists()
        before = {o: o.stat().st_mtime_ns for o in out.with_name(f'{out.name}.partial').glob('*/*')}
        kept = []
        def watch(text): kept.append({o: o.stat().st_mtime_ns for o in before})
        follow_recipe('sample', data, out, steps, resume=True, say=watch)
        assert all(o == before for o in kept)  # what was there was not written again
        assert files(out) == files(tmp_path/'whole'), last

@pytest.mark.slow
def test_every_kind_on_two_processes(urls, tmp_path):
    "Both processes end with one model, and take as many steps as their batches make."
    script = tmp_path/'go.py'
    script.write_text(f'''
from dataclasses import replace
from pathlib import Path
import distil_nb.distillation as distillation
import distil_nb.train as train
from distil_nb.core import Settings
from distil_nb.data import load_data
from distil_nb.qat import train_quantized
from distil_nb.quantize import SCHEMES
from distil_nb.runs import processes, weights_fingerprint
from distil_nb.sparsify import Sparsity, train_sparse
if __name__ == '__main__':
    steps,honest = [],train.take_step
    train.take_step = lambda *a: steps.append(1) or honest(*a)
    kept,whole = [],train._kept
    def keep(*a):
        model = whole(*a)
        kept.append(weights_fingerprint(model))
        return model
    train._kept = keep
    data,how,folder = load_data({str(urls)!r}),Settings(epochs=1, batch_size=8, accumulate=3),Path({str(tmp_path)!r})
    distillation.distil('sample', data, folder/'distil', settings=how)
    train_quantized('sample', data, folder/'quantized', SCHEMES['weight-int4'], 'sample', how)
    train_sparse('sample', data, folder/'sparse', Sparsity(.5), 'sample', how)
    train.best_epoch = lambda history, *how: history[0]  # what is kept is not what was trained last
    distillation.distil('sample', data, settings=replace(how, epochs=2))  # without a folder: each keeps its own
    (folder/f'said {{processes().process_index}}').write_text(' '.join([str(len(steps)), *kept]))
''')
    on_two_processes(script)
    first,second = ((tmp_path/f'said {i}').read_text() for i in (0, 1))
    assert first == second and first.split()[0] == '15'  # 128 rows are 8 batches of 8 for each: windows of 3, 3 and 2, five times
    assert all((tmp_path/o/'record.json').exists() for o in ('distil', 'quantized', 'sparse'))
