"Bad input on the command line: status 2, one line that names the value, nothing written."
import json, shutil, socket, time

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import finish, quickly, start
from distil_nb.models import SAMPLE_TEACHER

GOOD = dict(text=['http://a.org/x', 'http://b.org/y', 'http://c.org/z', 'http://d.org/w']*10, labels=[0, 1, 0, 1]*10)

def distil(data, out, *more, teacher='sample'): return ['distil', '--data', data, '--teacher', teacher, '--out', out, *more]

def refused(run, tmp_path, words, *said):
    "The command fails with status 2 and one line that says all of `said`; the folder holds what it held before."
    before = sorted(o for o in tmp_path.rglob('*'))
    status,out,err = run(*words)
    lines = err.strip().splitlines()
    assert (status, out, len(lines)) == (2, '', 1), err
    for o in said: assert str(o) in lines[0], lines[0]
    assert sorted(o for o in tmp_path.rglob('*')) == before

def write(path, rows):
    path.write_text('\n'.join(json.dumps(o) for o in rows) + '\n')
    return path

def rows(**change):
    "Good rows, of which row 5 has one value changed."
    out = [dict(text=t, labels=l) for t,l in zip(GOOD['text'], GOOD['labels'])]
    out[5] |= change
    return out

@pytest.mark.parametrize('change,said', [
    (dict(text=''), ['row 5', 'empty']), (dict(text='  '), ['row 5', 'empty']), (dict(text=None), ['row 5', 'missing']), (dict(text=7), ['row 5', '7', 'not a string']),
    (dict(labels=2**40), ['row 5', 2**40, 'outside']), (dict(labels=-1), ['-1, 0, 1', 'safe, phishing']), (dict(labels=.5), ['row 5', '0.5', 'fractional']),
    (dict(labels=None), ['row 5', 'missing']), (dict(labels=7), ['0, 1, 7', 'safe, phishing'])])
def test_row(run, tmp_path, change, said): refused(run, tmp_path, distil(write(tmp_path/'d.jsonl', rows(**change)), tmp_path/'out'), *said)

def test_file(run, tmp_path):
    refused(run, tmp_path, distil(tmp_path/'gone.csv', tmp_path/'out'), 'gone.csv', 'no file')
    refused(run, tmp_path, distil(write(tmp_path/'d.jsonl', rows()), tmp_path/'out', '--text-column', 'url'), "'url'", 'text, labels', '--text-column')
    (tmp_path/'empty.csv').touch()
    refused(run, tmp_path, distil(tmp_path/'empty.csv', tmp_path/'out'), 'empty.csv', 'is empty')
    (tmp_path/'bad.parquet').write_text('nothing')
    refused(run, tmp_path, distil(tmp_path/'bad.parquet', tmp_path/'out'), 'cannot read', 'bad.parquet')
    (tmp_path/'bad.jsonl').write_text('{"text": "a", "labels": 1}\n{"text": ')
    refused(run, tmp_path, distil(tmp_path/'bad.jsonl', tmp_path/'out'), 'no JSON', 'bad.jsonl, line 2')
    refused(run, tmp_path, distil(write(tmp_path/'one.jsonl', [o | dict(labels=1) for o in rows()]), tmp_path/'out'), 'only one class, 1')
    refused(run, tmp_path, distil(write(tmp_path/'few.jsonl', rows()[:3]), tmp_path/'out'), '3 rows are too few')

def test_empty_split(run, tmp_path):
    folder = tmp_path/'d'; folder.mkdir()
    for split,part in dict(train=GOOD, test={k: [] for k in GOOD}).items(): pd.DataFrame(part).to_parquet(folder/f'{split}.parquet')
    refused(run, tmp_path, distil(folder, tmp_path/'out'), 'test', 'empty')
    (tmp_path/'nothing').mkdir()
    refused(run, tmp_path, distil(tmp_path/'nothing', tmp_path/'out'), 'nothing')

def damaged(tmp_path, how):
    "The sample teacher with something wrong."
    folder = tmp_path/'teacher'
    shutil.copytree(SAMPLE_TEACHER, folder)
    weights = folder/'model.safetensors'
    if how == 'truncated': weights.write_bytes(weights.read_bytes()[:100_000])
    if how == 'pickle': torch.save(load_file(weights), folder/'pytorch_model.bin'); weights.unlink()
    if how == 'tokenizer': (folder/'tokenizer.json').unlink()
    if how == 'lacks': save_file({k: v for k,v in load_file(weights).items() if 'classifier' not in k}, weights, metadata=dict(format='pt'))
    return folder

@pytest.mark.parametrize('how,said', dict(truncated='cannot read', pickle='pytorch_model.bin', tokenizer='no tokenizer', lacks='classifier').items())
def test_checkpoint(run, tmp_path, urls, how, said):
    folder = damaged(tmp_path, how)
    refused(run, tmp_path, distil(urls, tmp_path/'out', teacher=folder), folder, said)
    refused(run, tmp_path, ['predict', folder, 'http://a.org'], folder, said)

def test_classes(run, tmp_path):
    three = write(tmp_path/'three.jsonl', [o | dict(labels=i%3) for i,o in enumerate(rows())])
    refused(run, tmp_path, distil(three, tmp_path/'out'), '0, 1, 2', 'safe, phishing')
    refused(run, tmp_path, ['evaluate', 'sample', '--data', three], '0, 1, 2', 'safe, phishing')

@pytest.mark.parametrize('words,said', [(['--keep-layers', '0,9'], ['layer 9', '0 to 3']), (['--keep-layers', '-1'], ['layer -1']), (['--keep-layers', '2,0'], ['[2, 0]']),
    (['--keep-layers', 'a'], ["'a'", '0,2,5']), (['--temperature', '0'], ['temperature', '0.0']), (['--temperature', '-2'], ['-2']), (['--temperature', 'nan'], ['nan']),
    (['--alpha', '1.01'], ['alpha', '1.01']), (['--alpha', '-0.1'], ['-0.1']), (['--epochs', '0'], ['epochs', '0']), (['--lr', 'fast'], ['--lr', "'fast'"]),
    (['--schedule', 'zigzag'], ["'zigzag'", 'linear']), (['--seed', '-1'], ['seed', '-1']), (['--student', './none'], ['none']), (['--bogus'], ['--bogus']),
    (['--log', 'tensorbord'], ["'tensorbord'", 'tensorboard']), (['--log', 'wandb'], ['wandb', 'not installed'])])
def test_option(run, tmp_path, urls, words, said): refused(run, tmp_path, distil(urls, tmp_path/'out', *words), *said)

def test_report(run, tmp_path, urls):
    words = ['--data', urls, '--out', tmp_path/'out']
    refused(run, tmp_path, ['report', 'sample', tmp_path/'none', *words], 'none', 'no folder')
    refused(run, tmp_path, ['report', 'sample', 'sample', *words], 'sample was given twice')
    refused(run, tmp_path, ['report', *words], 'folders')
    refused(run, tmp_path, ['report', 'sample', *words, '--label-column', 'url'], "'url'", 'text, labels')
    other = damaged(tmp_path, 'not at all')
    told = json.loads((other/'config.json').read_text())
    (other/'config.json').write_text(json.dumps(told | dict(id2label={'0': 'phishing', '1': 'safe'}, label2id=dict(phishing=0, safe=1))))
    refused(run, tmp_path, ['report', 'sample', other, *words], 'classes of teacher are phishing, safe')
    refused(run, tmp_path, ['report', 'sample', '--data', urls, '--out', urls, '--overwrite'], urls, '.csv')

def test_compress(run, tmp_path, urls):
    words = ['compress', '--data', urls, '--teacher', 'sample', '--out', tmp_path/'out']
    for limit in ('--max-mb', '--max-ms', '--max-drop'):
        for wrong in ('0', '-1', 'nan', 'inf'): refused(run, tmp_path, [*words, limit, wrong], limit, 'above 0')
    refused(run, tmp_path, [*words, '--max-mb', 'small'], 'max-mb', 'small')
    refused(run, tmp_path, [*words, '--max-mb', '3', '--budget', '0'], '--budget', 'above 0')
    refused(run, tmp_path, [*words, '--steps', 'distil; melt'], '--steps, step 2', "'melt'")
    refused(run, tmp_path, [*words, '--steps', 'export; prune heads=.5'], 'prune cannot follow export')
    refused(run, tmp_path, [*words, '--steps', 'export', '--max-mb', '3'], 'both steps and a limit')
    refused(run, tmp_path, [*words, '--recipe', tmp_path/'gone.toml'], 'gone.toml')
    recipe = tmp_path/'recipe.toml'
    recipe.write_text('[[steps]]\nstep = "prune"\nneurons = 1.5\n')
    refused(run, tmp_path, [*words, '--recipe', recipe], recipe, 'step 1 (prune)', 'neurons', '1.5')
    recipe.write_text('[[steps]\n')
    refused(run, tmp_path, [*words, '--recipe', recipe], recipe, 'no TOML')

def test_out(run, tmp_path, urls):
    out = tmp_path/'out'; out.mkdir(); (out/'diary.txt').write_text('mine')
    refused(run, tmp_path, distil(urls, out), out, 'exists already', '--overwrite')
    refused(run, tmp_path, distil(urls, out, '--overwrite'), out, 'diary.txt', 'not written by')
    refused(run, tmp_path, distil(urls, urls, '--overwrite'), urls, '.csv')
    teacher = damaged(tmp_path, 'not at all')
    refused(run, tmp_path, distil(urls, teacher, '--overwrite', teacher=teacher), teacher, 'would replace')
    refused(run, tmp_path, ['demo', '--out', out], out, 'exists already')
    refused(run, tmp_path, distil(urls, out/'diary.txt'/'deeper'), 'diary.txt')

def test_loss_not_finite(run, tmp_path, urls):
    refused(run, tmp_path, distil(urls, tmp_path/'out', '--lr', '1e30', '--clip', 0, '--warmup', 0), 'nan', 'step 2', '--lr')

def test_loss_not_finite_keeps_the_last_good_checkpoint(run, tmp_path, urls, monkeypatch):
    "The loss is spoiled in the second epoch; the checkpoint of the first is named and loads."
    import distil_nb.train as train
    whole,steps = train.run_batch,[]
    def spoiled(*args):
        steps.append(whole(*args))
        return float('inf') if len(steps) == 6 else steps[-1]
    monkeypatch.setattr(train, 'run_batch', spoiled)
    status,_,err = run(*distil(urls, tmp_path/'out'))
    assert status == 2 and 'step 6 (epoch 2)' in err and f'{tmp_path}/out.partial/best' in err
    assert not (tmp_path/'out').exists()
    monkeypatch.undo()
    assert run('predict', tmp_path/'out.partial'/'best', 'http://a.org')[0] == 0

@pytest.mark.parametrize('answer', quickly('nobody', of=['nobody', 'silence']))
def test_hub_unreachable(tmp_path, answer):
    "Nobody listens, or somebody listens and says nothing: either is said within 10 seconds of starting."
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        if answer == 'silence': listener.listen()
        env = dict(HF_ENDPOINT=f'http://127.0.0.1:{listener.getsockname()[1]}', HF_HOME=str(tmp_path/'home'))
        begin = time.perf_counter()
        assert finish(start(*distil('sample', tmp_path/'out', teacher=tmp_path/'none'), **env))[0] == 2  # nobody is asked: what starting takes
        starting = time.perf_counter() - begin
        for words,name in ((distil('hub', tmp_path/'out'), 'sample'), (distil('sample', tmp_path/'out', teacher='hub'), 'sample')):
            begin = time.perf_counter()
            status,out,err = finish(start(*words, **env))
            assert (status, out) == (2, '') and len(err.strip().splitlines()) == 1 and 'does not answer' in err and name in err, err
            assert time.perf_counter() - begin - starting < 10
    assert not (tmp_path/'out').exists()

def exported(tmp_path):
    "The sample teacher in ONNX."
    from distil_nb import export_onnx
    export_onnx('sample', out=tmp_path/'onnx')
    return tmp_path/'onnx'

def test_onnx(run, tmp_path):
    "An ONNX file that is none, that reads elsewhere, that is called otherwise, or whose classes are others."
    import onnx
    folder = exported(tmp_path)
    path,good = folder/'model.onnx',(folder/'model.onnx').read_bytes()
    def damaged(change):
        model = onnx.load_from_string(good)
        change(model.graph)
        path.write_bytes(model.SerializeToString())
    def elsewhere(graph):
        tensor = graph.initializer[0]
        tensor.ClearField('raw_data')
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key='location', value='../../secret')
    def retyped(graph): graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT32
    (tmp_path.parent/'secret').write_bytes(bytes(10**6))
    for change,said in ((elsewhere, '../../secret'), (retyped, 'input_ids')):
        damaged(change)
        for words in (['predict', folder, 'a'], ['evaluate', folder, '--data', 'sample']):
            refused(run, tmp_path, words, 'model.onnx', said)
    for content in (b'', good[:len(good)//2], bytes(range(256))*40, b'[]'):
        path.write_bytes(content)
        refused(run, tmp_path, ['predict', folder, 'a'], folder)
    path.write_bytes(good)
    config = (folder/'config.json').read_text()
    (folder/'config.json').write_text(json.dumps(json.loads(config) | dict(id2label={str(i): f'c{i}' for i in range(5)})))
    refused(run, tmp_path, ['predict', folder, 'a'], 'model.onnx', '5 classes')
    (folder/'config.json').write_text(config)
    refused(run, tmp_path, ['export', folder, '--out', tmp_path/'again'], 'ONNX')
    refused(run, tmp_path, ['quantize', folder, '--scheme', 'weight-int4', '--out', tmp_path/'again'], 'ONNX')

def test_code_of_a_checkpoint_does_not_run(tmp_path):
    "Not even where standard input says yes to all that is asked."
    from conftest import ROOT, clean_env
    import subprocess, sys
    folder = damaged(tmp_path, 'not at all')
    config = json.loads((folder/'config.json').read_text())
    config |= dict(model_type='theirs', auto_map=dict(AutoConfig='theirs.C', AutoModelForSequenceClassification='theirs.M'))
    (folder/'config.json').write_text(json.dumps(config))
    (folder/'theirs.py').write_text(f'open({str(tmp_path/"ran")!r}, "w")\nclass C: pass\nclass M: pass\n')
    for words in (['predict', folder, 'a'], ['export', folder, '--out', tmp_path/'out'], distil('sample', tmp_path/'out', teacher=folder)):
        done = subprocess.run([sys.executable, '-c', 'import sys; from distil_nb.cli import main; sys.exit(main(sys.argv[1:]))', *map(str, words)],
            input='y\n'*100, capture_output=True, text=True, env=clean_env(HF_HUB_OFFLINE='1'), cwd=ROOT)
        assert (done.returncode, done.stdout, len(done.stderr.strip().splitlines())) == (2, '', 1), done
    assert not (tmp_path/'ran').exists() and not (tmp_path/'out').exists()

FEW = ['http://a.org/x', 'http://b.org/y', 'http://c.org/z', 'http://d.org/w']*6

@pytest.mark.parametrize('columns,words,said', [
    (dict(text=FEW, labels=['safe', 'harmless']*12), [], ['harmless, safe', 'safe, phishing']),
    (dict(text=FEW, labels=[[0], [1]]*12), [], ['row 0', '[0]', '--multi-label']),
    (dict(text=FEW, labels=[.5, 1.]*12), [], ['row 0', '0.5', 'fractional', '--regression']),
    (dict(text=FEW, labels=[0, 1]*12), ['--label-column', 'text'], ["'text'", 'text and label']),
    (dict(text=FEW, other=[*FEW[:7], '', *FEW[8:]], labels=[0, 1]*12), ['--pair-column', 'other'], ['row 7', 'empty'])])
def test_labels_and_pairs(run, tmp_path, columns, words, said):
    data = write(tmp_path/'d.jsonl', [dict(zip(columns, o)) for o in zip(*columns.values())])
    refused(run, tmp_path, distil(data, tmp_path/'out', *words), *said)

@pytest.mark.parametrize('bad', ['NaN', 'Infinity'])
def test_targets_that_are_no_numbers(run, tmp_path, bad):
    data = tmp_path/'d.jsonl'
    data.write_text('\n'.join(f'{{"text": "{t}", "labels": {bad if i == 3 else i/2}}}' for i,t in enumerate(FEW)) + '\n')
    refused(run, tmp_path, ['train-teacher', '--data', data, '--base', 'sample', '--out', tmp_path/'out', '--regression'], 'row 3', {'NaN': 'missing', 'Infinity': 'inf'}[bad])

@pytest.mark.parametrize('words,said', [(['--encoding', 'utf-99'], ['utf-99']), (['--delimiter', '|'], ['d.csv', '|']), (['--student-width', '60'], ['60', '32, 64']), (['--student-layers', '9'], ['9', '1 to 4']),
    (['--match', 'colour'], ['colour', 'hidden, attention, relations']), (['--match-weight', '-1', '--match', 'hidden'], ['-1']), (['--student', 'static', '--match', 'relations'], ['static', 'no layers'])])
def test_reading_and_students(run, tmp_path, words, said):
    pd.DataFrame(GOOD).to_csv(tmp_path/'d.csv', index=False)
    refused(run, tmp_path, distil(tmp_path/'d.csv', tmp_path/'out', *words), *said)
