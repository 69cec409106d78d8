"The Hub path, against a stand-in server on loopback: `--data hub --teacher hub` as a user would run it."
import json, shutil, subprocess, sys

import pandas as pd
import pytest

from conftest import ROOT, clean_env, finish, last_json, start
from distil_nb.core import quiet
from distil_nb.data import HUB_DATA
from distil_nb.models import HUB_STUDENT, HUB_TEACHER, SAMPLE_TEACHER
from distil_nb.sample import generate_urls
from hub_server import HubServer

def tiny_distilbert(folder):
    "A headless DistilBERT of six layers, as `distilbert-base-uncased` is, but small."
    from transformers import AutoTokenizer, DistilBertConfig, DistilBertModel
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(SAMPLE_TEACHER)
        DistilBertModel(DistilBertConfig(vocab_size=len(tokenizer), dim=32, n_heads=4, hidden_dim=64, n_layers=6, max_position_embeddings=128)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder

PAIRED = dict(train='train', matched='validation_matched', mismatched='validation_mismatched', test='test')

def several_configurations(folder):
    "A data set as GLUE is: configurations, two splits for validation, and a test split without labels."
    rows,told = pd.DataFrame(generate_urls(96, seed=4)),['---', 'configs:']
    rows = dict(train=rows[:64], matched=rows[64:72], mismatched=rows[72:80], test=rows[80:].assign(labels=-1))
    for config in ('paired', 'single'):
        (folder/config).mkdir(parents=True)
        told += [f'- config_name: {config}', '  data_files:']
        for file,split in PAIRED.items() if config == 'paired' else dict(train='train').items():
            rows[file].to_parquet(folder/config/f'{file}.parquet', index=False)
            told += [f'  - split: {split}', f'    path: {config}/{file}.parquet']
    (folder/'README.md').write_text('\n'.join([*told, '---', '']))
    return folder

@pytest.fixture(scope='module')
def hub(tmp_path_factory):
    "The story's three repositories, in small, and a data set of several configurations."
    home = tmp_path_factory.mktemp('hub')
    shutil.copytree(SAMPLE_TEACHER, home/'teacher')
    (home/'data'/'data').mkdir(parents=True)
    rows = pd.DataFrame(generate_urls(256, seed=3))
    for split,part in dict(train=rows[:128], validation=rows[128:192], test=rows[192:]).items():
        part.to_parquet(home/'data'/'data'/f'{split}-00000-of-00001.parquet', index=False)
    models = {HUB_TEACHER: home/'teacher', HUB_STUDENT: tiny_distilbert(home/'student')}
    sets = {HUB_DATA: home/'data', 'some/glue': several_configurations(home/'glue')}
    with HubServer(models=models, datasets=sets) as server: yield server

@pytest.fixture
def env(hub, tmp_path):
    return dict(HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path/'home'), RES_OPTIONS='timeout:1 attempts:1')

def test_distil_evaluate_predict(hub, env, tmp_path):
    "Data, teacher and the story's student come from the server; nothing of its libraries is heard."
    out = tmp_path/'student'
    status,text,err = finish(start('distil', '--data', 'hub', '--teacher', 'hub', '--student', 'story', '--out', out, '--epochs', 1, '--json', **env))
    assert status == 0, err
    assert [o for o in err.splitlines() if not o.startswith('epoch 1: ')] == []
    record = last_json(text)
    assert record['scores']['teacher']['test']['n'] == 64 and record['teacher_parameters'] == 1_099_138
    config = json.loads((out/'config.json').read_text())
    assert (config['model_type'], config['n_layers'], config['n_heads'], config['id2label']['1']) == ('distilbert', 4, 8, 'phishing')
    for name in (HUB_TEACHER, HUB_STUDENT, HUB_DATA): assert any(name in path and '/resolve/' in path for _,path in hub.requests), name
    status,text,_ = finish(start('evaluate', 'hub', '--data', 'hub', '--json', **env))
    assert status == 0 and last_json(text)['accuracy'] == record['scores']['teacher']['test']['accuracy']

@pytest.mark.slow
def test_configurations(env):
    "One is named, or all are listed; hidden labels count as a missing split; the first split for validation is taken, another on demand."
    for name,said in (('some/glue', 'has several configurations'), ('some/glue:x', "has no configuration 'x'")):
        status,out,err = finish(start('evaluate', 'sample', '--data', f'hub:{name}', **env))
        assert (status, out, len(err.strip().splitlines())) == (2, '', 1) and said in err and 'hub:some/glue:… with one of paired, single' in err, err
    measured = {}
    for more in ([], ['--validation-split', 'validation_mismatched'], ['--split', 'test']):
        split = ['--split', 'validation']*(len(more) < 2 or more[0] != '--split')
        status,text,err = finish(start('evaluate', 'sample', '--data', 'hub:some/glue:paired', *split, *more, '--json', **env))
        assert status == 0 and 'all labels of test are -1, so it counts as missing' in err, err
        assert ('validation is validation_matched, not validation_mismatched' in err) == ('--validation-split' not in more), err
        measured[' '.join(more)] = last_json(text)
    assert [o['n'] for o in measured.values()] == [8, 8, 9]  # the test split is drawn: 15 % of 64 rows
    assert measured['']['loss'] != measured['--validation-split validation_mismatched']['loss']
    status,text,err = finish(start('evaluate', 'sample', '--data', 'hub:some/glue:paired', '--validation-split', 'dev', **env))
    assert (status, len(err.strip().splitlines())) == (2, 1) and "has no split 'dev'" in err, err

def test_missing_repository(env, tmp_path):
    for words in (['--data', 'hub:nobody/nothing', '--teacher', 'sample'], ['--data', 'sample', '--teacher', 'nobody/nothing']):
        status,out,err = finish(start('distil', *words, '--out', tmp_path/'out', **env))
        assert (status, out, len(err.strip().splitlines())) == (2, '', 1) and 'nobody/nothing' in err, err

@pytest.mark.slow
def test_downloaded_before(env, tmp_path):
    "What was downloaded once can be used without a network, when asked for."
    assert finish(start('evaluate', 'hub', '--data', 'hub', **env))[0] == 0
    offline = env | dict(HF_ENDPOINT='http://127.0.0.1:9')
    assert finish(start('evaluate', 'hub', '--data', 'hub', **offline))[0] == 2
    status,_,err = finish(start('evaluate', 'hub', '--data', 'hub', HF_HUB_OFFLINE='1', **offline))
    assert status == 0, err

PUSH = """
import sys
from distil_nb.core import CompressionError
from distil_nb.report import push_to_hub
try: print(push_to_hub(*sys.argv[1:], token='hf_nobody'))
except CompressionError as e: sys.exit(str(e))
"""

def push(*words, **env):
    "Exit status, standard output and standard error of a push from another process."
    done = subprocess.run([sys.executable, '-c', PUSH, *map(str, words)], env=clean_env(PYTHONPATH=str(ROOT), **env), capture_output=True, text=True, timeout=240)
    return done.returncode, done.stdout, done.stderr

def test_push(tmp_path):
    "A checkpoint goes to the server in one call, and comes back from it byte for byte; a refusal is one line."
    folder = shutil.copytree(SAMPLE_TEACHER, tmp_path/'teacher')
    (folder/'README.md').write_text('---\nlibrary_name: transformers\n---\n# A card\n')
    kept = '.secret', 'record.json', 'report.html'  # they name folders here, and show rows
    for name in kept: (folder/name).write_text('{}')
    env = dict(HF_HOME=str(tmp_path/'home'), RES_OPTIONS='timeout:1 attempts:1')
    with HubServer(taken=tmp_path/'taken') as hub:
        status,out,err = push(folder, 'me/teacher', HF_ENDPOINT=hub.url, **env)
        assert status == 0 and out.strip() == f'{hub.url}/me/teacher', err
        assert hub.made == {'me/teacher': True}
        sent = {o.name: o.read_bytes() for o in folder.iterdir() if o.name not in kept}
        assert {o.name: o.read_bytes() for o in (tmp_path/'taken'/'me'/'teacher').iterdir()} == sent
        status,out,err = finish(start('predict', 'me/teacher', 'http://paypal.com.example.net/login', HF_ENDPOINT=hub.url, **env))
        assert status == 0 and out.startswith('phishing'), err
    with HubServer() as hub: status,out,err = push(folder, 'me/teacher', HF_ENDPOINT=hub.url, **env)  # takes nothing
    assert (status, out, len(err.strip().splitlines())) == (1, '', 1) and 'as me/teacher' in err and 'hf auth login' in err, err
    assert 'does not answer' in push(folder, 'me/teacher', HF_ENDPOINT='http://127.0.0.1:9', **env)[2]
