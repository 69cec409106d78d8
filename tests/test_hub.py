"The Hub path, against a stand-in server on loopback: `--data hub --teacher hub` as a user would run it."
import json, shutil

import pandas as pd
import pytest

from conftest import finish, last_json, start
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

@pytest.fixture(scope='module')
def hub(tmp_path_factory):
    "The story's three repositories, in small."
    home = tmp_path_factory.mktemp('hub')
    shutil.copytree(SAMPLE_TEACHER, home/'teacher')
    (home/'data'/'data').mkdir(parents=True)
    rows = pd.DataFrame(generate_urls(256, seed=3))
    for split,part in dict(train=rows[:128], validation=rows[128:192], test=rows[192:]).items():
        part.to_parquet(home/'data'/'data'/f'{split}-00000-of-00001.parquet', index=False)
    models = {HUB_TEACHER: home/'teacher', HUB_STUDENT: tiny_distilbert(home/'student')}
    with HubServer(models=models, datasets={HUB_DATA: home/'data'}) as server: yield server

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

def test_missing_repository(env, tmp_path):
    for words in (['--data', 'hub:nobody/nothing', '--teacher', 'sample'], ['--data', 'sample', '--teacher', 'nobody/nothing']):
        status,out,err = finish(start('distil', *words, '--out', tmp_path/'out', **env))
        assert (status, out, len(err.strip().splitlines())) == (2, '', 1) and 'nobody/nothing' in err, err

def test_downloaded_before(env, tmp_path):
    "What was downloaded once can be used without a network, when asked for."
    assert finish(start('evaluate', 'hub', '--data', 'hub', **env))[0] == 0
    offline = env | dict(HF_ENDPOINT='http://127.0.0.1:9')
    assert finish(start('evaluate', 'hub', '--data', 'hub', **offline))[0] == 2
    status,_,err = finish(start('evaluate', 'hub', '--data', 'hub', HF_HUB_OFFLINE='1', **offline))
    assert status == 0, err
