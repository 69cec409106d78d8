"Runs as processes of their own: killed, resumed, two at once, on several processes, from a fresh installation."
import ast, json, os, signal, subprocess, sys, time
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from conftest import ROOT, clean_env, finish, last_json, on_two_processes, start

def distil(urls, out, *more): return ['distil', '--data', urls, '--teacher', 'sample', '--out', out, *more]

def weights(folder): return (folder/'model.safetensors').read_bytes()

def history(folder): return [{k: v for k,v in e.items() if k != 'seconds'} for e in json.loads((folder/'record.json').read_text())['history']]

def test_killed_and_resumed(urls, tmp_path):
    "After kill -9 in the middle there is no result; --resume ends where an uninterrupted run does, to the bit."
    whole,out = tmp_path/'whole',tmp_path/'out'
    status,_,err = finish(start(*distil(urls, whole, '--epochs', 4)))
    assert status == 0, err
    process = start(*distil(urls, out, '--epochs', 4))
    for line in process.stderr:
        if line.startswith('epoch 2'): break
    process.send_signal(signal.SIGKILL); process.communicate()
    assert not out.exists() and (tmp_path/'out.partial'/'state.safetensors').exists()
    assert finish(start(*distil(urls, out, '--epochs', 4, '--lr', 1e-3, '--resume')))[0] == 2  # other settings
    status,_,err = finish(start(*distil(urls, out, '--epochs', 4, '--resume')))
    assert status == 0 and 'epoch 1:' not in err, err
    assert weights(out) == weights(whole) and history(out) == history(whole)
    assert sorted(o.name for o in tmp_path.iterdir()) == ['out', 'urls', 'whole']

@pytest.mark.slow
def test_two_at_once(urls, tmp_path):
    "One of two runs that want the same folder gets it, the other is told so."
    first = start(*distil(urls, tmp_path/'out', '--epochs', 3))
    while not (tmp_path/'out.partial').exists() and first.poll() is None: time.sleep(.05)
    second = finish(start(*distil(urls, tmp_path/'out', '--epochs', 3)))
    status,_,err = finish(first)
    assert status == 0, err
    assert second[0] == 2 and ('another run' in second[2] or 'exists already' in second[2])
    assert len(history(tmp_path/'out')) == 3

@pytest.mark.slow
def test_overwrite_and_interrupt(urls, tmp_path):
    "Ctrl-C leaves the old result whole; --overwrite replaces it."
    out = tmp_path/'out'
    assert finish(start(*distil(urls, out, '--epochs', 1)))[0] == 0
    before = weights(out)
    process = start(*distil(urls, out, '--epochs', 30, '--seed', 1, '--overwrite'))
    for line in process.stderr:
        if line.startswith('epoch 1'): break
    process.send_signal(signal.SIGINT)
    status,_,err = finish(process)
    assert status == 130 and weights(out) == before, err
    assert finish(start(*distil(urls, out, '--epochs', 1, '--seed', 1, '--overwrite')))[0] == 0 and weights(out) != before

def test_same_seed_same_numbers_and_plain_transformers(urls, tmp_path):
    "Two processes, same seed: same bits. Plain from_pretrained gives the logits that `predict` prints."
    for name in 'ab': assert finish(start(*distil(urls, tmp_path/name, '--epochs', 1)))[0] == 0
    assert weights(tmp_path/'a') == weights(tmp_path/'b')
    text = 'http://paypal.com.example.net/login'
    status,out,_ = finish(start('predict', tmp_path/'a', text, '--json'))
    from transformers import AutoTokenizer
    model,tokenizer = AutoModelForSequenceClassification.from_pretrained(tmp_path/'a'),AutoTokenizer.from_pretrained(tmp_path/'a')
    with torch.inference_mode(): p = model(**tokenizer(text, return_tensors='pt')).logits.softmax(-1)[0]
    found = last_json(out)['predictions'][0]
    assert abs(found['score'] - p.max().item()) < 1e-6 and found['label'] == model.config.id2label[p.argmax().item()]

@pytest.mark.slow
def test_two_processes_share_the_batches(urls, tmp_path):
    "Launched as two processes, both train one model on half of the batches each, and one of them writes it."
    script = tmp_path/'go.py'
    script.write_text(f'''
from distil_nb.core import Settings
from distil_nb.data import load_data
from distil_nb.runs import processes
from distil_nb.distillation import distil
import distil_nb.train as train
if __name__ == '__main__':
    steps,honest = [],train.take_step
    train.take_step = lambda *a: steps.append(1) or honest(*a)
    record = distil('sample', load_data({str(urls)!r}), {str(tmp_path/"out")!r}, settings=Settings(epochs=2))
    loss,group = record['history'][-1]['validation']['loss'],processes()
    print(f'process {{group.process_index}} of {{group.num_processes}} {{len(steps)}} {{loss}}\\n', end='', flush=True)  # in one piece, also unbuffered
''')
    out = on_two_processes(script)
    said = sorted(o.split() for o in out.splitlines() if o.startswith('process'))
    assert [o[:5] for o in said] == [['process', str(i), 'of', '2', '4'] for i in (0, 1)]  # 4 of 128/32*2 = 8 steps each
    assert said[0][5] == said[1][5]  # one model
    assert len(history(tmp_path/'out')) == 2 and not (tmp_path/'out.partial').exists()

def test_fresh_installation(tmp_path):
    "A wheel, unpacked elsewhere, has all that `sample` needs, and its metadata say what settings.ini says."
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', tmp_path, ROOT], check=True, timeout=240)
    wheel, = tmp_path.glob('*.whl')
    subprocess.run([sys.executable, '-m', 'zipfile', '-e', wheel, tmp_path/'site'], check=True)
    code = 'import distil_nb; from distil_nb.models import load_checkpoint; m,t = load_checkpoint("sample"); print(distil_nb.__file__, count_parameters(m))'.replace('count_parameters(m)', 'm.num_parameters()')
    done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, env=clean_env(PYTHONPATH=str(tmp_path/'site')), capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == [str(tmp_path/'site'/'distil_nb'/'__init__.py'), '1099138'], done.stderr
    metadata = next((tmp_path/'site').glob('*.dist-info/METADATA')).read_text()
    for o in ('Requires-Dist: torch>=', 'License: Apache-2.0', 'Requires-Python: >=3.11', 'Provides-Extra: dev'): assert o in metadata, metadata[:2000]

MODULES = sorted(o.stem for o in (ROOT/'distil_nb').glob('[a-z]*.py'))

@pytest.mark.parametrize('modules', [['cli'], ['core'], ['sample'], MODULES, MODULES[::-1]], ids=['cli', 'core', 'sample', 'all', 'all, backwards'])
def test_import_is_quiet(modules):
    "Importing prints nothing, and asking for help loads neither PyTorch nor transformers."
    code = f'import sys, importlib; [importlib.import_module("distil_nb." + o) for o in {modules}]; assert {len(modules)} > 1 or not {{"torch", "transformers", "datasets"}} & sys.modules.keys()'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')

@pytest.mark.parametrize('module', MODULES)
def test_ours_is_imported_first(module):
    "What keeps other libraries quiet is in place before they are imported: so each module is quiet alone too."
    loud = 'transformers', 'datasets', 'accelerate', 'huggingface_hub'
    names = [('' if o.level else 'x.') + (o.module or '') if isinstance(o, ast.ImportFrom) else 'x.' + o.names[0].name
        for o in ast.parse((ROOT/'distil_nb'/f'{module}.py').read_text(encoding='utf-8')).body if isinstance(o, (ast.Import, ast.ImportFrom))]
    ours = [i for i,o in enumerate(names) if not o.startswith('x.') or o.startswith('x.distil_nb')]
    theirs = [i for i,o in enumerate(names) if o.removeprefix('x.').split('.')[0] in loud and o.startswith('x.')]
    assert not theirs or ours and min(ours) < min(theirs)
