"Quantized checkpoints and ONNX files: a new process reads what was written, to the bit; mistakes are told."
import json, subprocess, sys

import numpy as np
import pytest

from conftest import clean_env, last_json, quickly
from distil_nb.data import load_data
from distil_nb.evaluate import classifier
from distil_nb.models import SAMPLE_TEACHER, load_checkpoint, save_checkpoint
from distil_nb.calibrate import calibrate, quantize_nf4
from distil_nb.quantize import SCHEMES, QuantizedLinear, Scheme, quantize
from test_bad_input import refused

TEXTS = ['http://paypal.com.example.net/login', 'https://en.wikipedia.org/wiki/Phishing', 'http://a.b', 'http://10.0.0.1/~x/' + 'long/'*40]
WAYS = [*SCHEMES, 'nf4', 'three bits, head too', 'onnx', 'onnx int4', 'onnx int8']

def logits_in_a_new_process(folder):
    "What another interpreter, with nothing else loaded, makes of a checkpoint."
    code = f'''import sys, numpy as np
from distil_nb.models import load_checkpoint
from distil_nb.evaluate import classifier
np.save(sys.argv[1], classifier(*load_checkpoint({str(folder)!r}))({TEXTS!r}))'''
    done = subprocess.run([sys.executable, '-c', code, folder/'logits.npy'], env=clean_env(), capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
    return np.load(folder/'logits.npy')

def made(way, folder):
    "A checkpoint of this kind, and what this process makes of it."
    model,tokenizer = load_checkpoint('sample')
    if way.startswith('onnx'):
        from distil_nb.export import export_onnx
        scheme = {'onnx int8': 'dynamic-int8', 'onnx int4': 'weight-int4'}.get(way)
        export_onnx(quantize(model, SCHEMES[scheme]) if scheme else model, tokenizer, folder)
        return classifier(*load_checkpoint(folder))(TEXTS)
    scheme = SCHEMES.get(way, Scheme(3, head=True))
    small = quantize_nf4(model, tokenizer) if way == 'nf4' else quantize(model, scheme, calibrate(model, tokenizer, load_data('sample')['train'], limit=32) if way == 'static-int8' else None)
    save_checkpoint(small, tokenizer, folder)
    return classifier(small, tokenizer)(TEXTS)

@pytest.mark.parametrize('way', quickly('dynamic-int8', 'weight-int4', 'onnx int8', of=WAYS))
def test_reloads_to_the_bit_in_a_new_process(tmp_path, way):
    here = made(way, tmp_path/'model')
    there = logits_in_a_new_process(tmp_path/'model')
    assert here.dtype == there.dtype and np.array_equal(here, there) and len(np.unique(here)) == here.size

def test_nf4_loads_with_plain_transformers(tmp_path):
    here = made('nf4', tmp_path/'model')
    code = f'''import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
model,tokenizer = AutoModelForSequenceClassification.from_pretrained({str(tmp_path/'model')!r}), AutoTokenizer.from_pretrained({str(tmp_path/'model')!r})
with torch.inference_mode(): print(model(**tokenizer({TEXTS[0]!r}, return_tensors='pt', return_token_type_ids=False)).logits[0].tolist())'''
    done = subprocess.run([sys.executable, '-c', code], env=clean_env(), capture_output=True, text=True, timeout=120)
    np.testing.assert_allclose(json.loads(done.stdout.splitlines()[-1]), here[0], rtol=1e-5)

@pytest.mark.slow
def test_trained_quantized_and_exported(run, urls, tmp_path):
    "The command line: QAT with a teacher, the same codes in ONNX, evaluate and predict on both."
    status,out,err = run('quantize', SAMPLE_TEACHER, '--scheme', 'weight-int2', '--embedding-bits', 8, '--qat', '--data', urls, '--teacher', 'sample', '--epochs', 1, '--out', tmp_path/'two', '--json')
    assert status == 0, err
    record = last_json(out)
    assert record['qat'] and record['scheme']['bits'] == 2 and record['teacher'] == 'sample'
    assert run('export', tmp_path/'two', '--out', tmp_path/'onnx')[0] == 0
    # in the runtime activations are rounded to 8 bits too, so that a row on the border may tip over
    two,onnx = (last_json(run('evaluate', tmp_path/o, '--data', urls, '--json')[1]) for o in ('two', 'onnx'))
    assert two['accuracy'] == record['scores']['student']['test']['accuracy'] and abs(two['accuracy'] - onnx['accuracy']) < .04
    a,b = (last_json(run('predict', tmp_path/o, *TEXTS, '--json')[1])['predictions'] for o in ('two', 'onnx'))
    for x,y in zip(a, b, strict=True): assert x['label'] == y['label'] and abs(x['score'] - y['score']) < .01

@pytest.mark.parametrize('scheme', quickly('weight-int4', of=['weight-int4', 'weight-int2']))
def test_rounded_by_data_and_exported(run, urls, tmp_path, scheme):
    "The command line: GPTQ changes codes and nothing else; the ONNX file holds all of them, number for number, and answers alike."
    import onnx
    words = 'quantize', SAMPLE_TEACHER, '--scheme', scheme
    assert run(*words, '--out', tmp_path/'nearest')[0] == 0
    status,out,err = run(*words, '--rounding', 'gptq', '--data', urls, '--seed', 3, '--out', tmp_path/'gptq', '--json')
    assert status == 0, err
    record = last_json(out)
    assert (record['rounding'], record['seed']) == ('gptq', 3)
    model,nearest = (load_checkpoint(tmp_path/o)[0] for o in ('gptq', 'nearest'))
    assert model.compression == nearest.compression
    assert run('export', tmp_path/'gptq', '--out', tmp_path/'onnx')[0] == 0
    stored = {o.name: onnx.numpy_helper.to_array(o) for o in onnx.load(tmp_path/'onnx'/'model.onnx').graph.initializer}
    layers = {name: o for name,o in model.named_modules() if isinstance(o, QuantizedLinear)}
    assert len(layers) == 25
    for name,o in layers.items():
        single = np.unpackbits(stored[f'model.{name}.codes'].reshape(len(o.codes), -1), axis=1, bitorder='little').reshape(*o.codes.shape, o.bits)
        assert np.array_equal(single @ 2**np.arange(o.bits) - 2**(o.bits - 1), o.codes.numpy()), name
        assert o.scale.equal(nearest.get_submodule(name).scale) and not o.codes.equal(nearest.get_submodule(name).codes)
    ours,theirs = (classifier(*load_checkpoint(tmp_path/o))(TEXTS) for o in ('gptq', 'onnx'))
    assert np.array_equal(ours.argmax(1), theirs.argmax(1)) and np.abs(ours - theirs).max() < .5  # in the runtime activations are rounded too

@pytest.mark.parametrize('words,said', [
    (['--scheme', 'int8'], ['int8', 'did you mean']), (['--scheme', 'static-int8'], ['static-int8 needs --data', 'dynamic-int8']), (['--scheme', 'weight-int4', '--group', 48], ['groups of 48', '128 columns', '16']),
    (['--scheme', 'weight-int4', '--group', -1], ['-1']), (['--scheme', 'weight-int8', '--embedding-bits', 1], ['1 bits']), (['--scheme', 'dynamic-int8', '--group', 32], ['groups of 32', 'weight-int4']),
    (['--scheme', 'static-int8', '--qat', '--data', 'sample'], ['cannot be trained', 'dynamic-int8']), (['--scheme', 'weight-int2', '--qat'], ['--qat needs --data']), (['--scheme', 'nf4', '--qat', '--data', 'sample'], ['nf4']),
    (['--scheme', 'weight-int3', '--rounding', 'gptq'], ['--rounding gptq needs --data']), (['--scheme', 'weight-int3', '--rounding', 'up'], ['up', 'gptq']),
    (['--scheme', 'weight-int2', '--teacher', 'sample'], ['--teacher', '--qat']), (['--scheme', 'static-int8', '--data', 'sample', '--share', .2], ['share', '0.2']), (['--scheme', 'weight-int8', '--alpha', 3], ['alpha', '3'])])
def test_bad_scheme(run, tmp_path, words, said): refused(run, tmp_path, ['quantize', 'sample', *words, '--out', tmp_path/'out'], *said)

def test_quantized_already(run, tmp_path):
    for way in ('weight-int8', 'nf4'):
        made(way, tmp_path/way)
        refused(run, tmp_path, ['quantize', tmp_path/way, '--scheme', 'weight-int4', '--out', tmp_path/'out'], 'quantized already')
        refused(run, tmp_path, ['export', tmp_path/way, '--int8', '--out', tmp_path/'out'], 'quantized already')

def test_not_for_onnx(run, tmp_path):
    for way,said in (('weight-int3', '3-bit'), ('nf4', 'nf4')):
        made(way, tmp_path/way)
        refused(run, tmp_path, ['export', tmp_path/way, '--out', tmp_path/'out'], 'ONNX cannot hold', said, 'weight-int4')
    made('onnx', tmp_path/'onnx')
    refused(run, tmp_path, ['export', tmp_path/'onnx', '--out', tmp_path/'out'], 'ONNX already')
    refused(run, tmp_path, ['quantize', tmp_path/'onnx', '--scheme', 'weight-int4', '--out', tmp_path/'out'], 'ONNX')

@pytest.mark.parametrize('package,words,extra', [('onnxruntime', ['export', 'sample'], 'onnx'), ('bitsandbytes', ['quantize', 'sample', '--scheme', 'nf4'], 'nf4')])
def test_missing_package(run, tmp_path, monkeypatch, package, words, extra):
    monkeypatch.setitem(sys.modules, package, None)
    refused(run, tmp_path, [*words, '--out', tmp_path/'out'], package, f"pip install 'distil_nb[{extra}]'")

@pytest.mark.parametrize('damage,said', [
    (dict(bits=4), 'do not hold'), (dict(embedding_bits=32), 'Missing key'), (dict(group=32), 'size mismatch'), (dict(kind='../x'), 'unknown change'), (dict(bits=77), '77 bits'), (dict(colour='red'), 'colour'),
    ('not json', 'Expecting value'), ('truncated', 'cannot read')])
def test_damaged(run, tmp_path, damage, said):
    made('weight-int3', tmp_path/'model')
    notes = tmp_path/'model'/'compression.json'
    changes = json.loads(notes.read_text())
    if damage == 'truncated':
        weights = tmp_path/'model'/'compressed.safetensors'
        weights.write_bytes(weights.read_bytes()[:2000])
    else: notes.write_text(damage if damage == 'not json' else json.dumps(dict(changes=[changes['changes'][0] | damage])))
    refused(run, tmp_path, ['predict', tmp_path/'model', 'http://a.b'], said)

def test_plain_transformers_refuses_rather_than_guesses(tmp_path):
    from transformers import AutoModelForSequenceClassification
    made('weight-int4', tmp_path/'model')
    with pytest.raises(OSError, match='model.safetensors'): AutoModelForSequenceClassification.from_pretrained(tmp_path/'model')
