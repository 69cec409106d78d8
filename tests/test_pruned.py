"Pruned checkpoints: a new process reads what was written, to the bit; what plain transformers can load, it loads; mistakes are told."
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import last_json, quickly
from distil_nb.core import CompressionError, Settings
from distil_nb.data import load_data
from distil_nb.evaluate import bytes_on_disk, classifier
from distil_nb.models import SAMPLE_TEACHER, load_checkpoint, save_checkpoint
from distil_nb.prune import prune, widths
from distil_nb.quantize import SCHEMES, quantize
from distil_nb.sparsify import Sparsity, prunable, sparsify, sparsity, train_sparse
from test_bad_input import refused
from test_quantized import TEXTS, logits_in_a_new_process

WAYS = dict(layers=dict(layers=2), neurons=dict(neurons=.5), heads=dict(heads=.5), anywhere=dict(heads=.25, neurons=.6, uniform=False), all=dict(layers=1, heads=.5, neurons=.75))

@pytest.fixture(scope='module')
def rows(): return load_data('sample')['train'].select(range(64))

@pytest.mark.parametrize('way', quickly('all', of=WAYS))
def test_reloads_to_the_bit_in_a_new_process(tmp_path, rows, way):
    model,tokenizer = load_checkpoint('sample')
    small = prune(model, tokenizer, rows, **WAYS[way])
    save_checkpoint(small, tokenizer, tmp_path/'model')
    assert np.array_equal(logits_in_a_new_process(tmp_path/'model'), classifier(small, tokenizer)(TEXTS))
    assert bytes_on_disk(tmp_path/'model') < .9*bytes_on_disk(SAMPLE_TEACHER)
    assert (tmp_path/'model'/'model.safetensors').exists() == (way in ('layers', 'neurons'))  # the others say their shape in compression.json

@pytest.mark.parametrize('way', ['layers', 'neurons'])
def test_plain_transformers(tmp_path, rows, way):
    from transformers import AutoModelForSequenceClassification
    model,tokenizer = load_checkpoint('sample')
    small = prune(model, tokenizer, rows, **WAYS[way])
    save_checkpoint(small, tokenizer, tmp_path/'model')
    plain,inputs = AutoModelForSequenceClassification.from_pretrained(tmp_path/'model'),tokenizer(TEXTS, padding=True, return_tensors='pt')
    with torch.inference_mode(): assert torch.equal(plain(inputs['input_ids'], inputs['attention_mask']).logits, small(inputs['input_ids'], inputs['attention_mask']).logits)

@pytest.mark.slow
def test_exports_and_quantizes(tmp_path, rows):
    from distil_nb.export import export_onnx
    model,tokenizer = load_checkpoint('sample')
    small = prune(model, tokenizer, rows, **WAYS['anywhere'])
    for name,o in dict(floats=small, int8=quantize(small, SCHEMES['weight-int8'])).items():
        export_onnx(o, tokenizer, tmp_path/name)
        # the runtime's product of blocks of integers rounds activations to 8 bits too
        np.testing.assert_allclose(logits_in_a_new_process(tmp_path/name), classifier(o, tokenizer)(TEXTS), atol=.02 if name == 'int8' else 1e-5)

def test_pruned_and_recovered(run, urls, tmp_path):
    "The command line: cut, distil, measure."
    status,out,err = run('prune', 'sample', '--heads', .5, '--neurons', .5, '--data', urls, '--recover', 1, '--out', tmp_path/'out', '--json')
    assert status == 0, err
    record,(model,_) = last_json(out),load_checkpoint(tmp_path/'out')
    assert record['pruned']['heads'] == .5 and record['teacher'] == 'sample' and len(record['history']) == 1
    assert widths(model) == dict(heads=[2]*4, neurons=[256]*4) and record['parameters'] == model.num_parameters()
    found = last_json(run('evaluate', tmp_path/'out', '--data', urls, '--json')[1])
    assert found['accuracy'] == record['scores']['student']['test']['accuracy']
    status,out,_ = run('prune', 'sample', '--layers', 1, '--data', urls, '--out', tmp_path/'thin', '--json')
    assert status == 0 and last_json(out)['bytes_on_disk'] < last_json(out)['bytes_before']

def test_vocabulary(run, urls, tmp_path):
    "Only tokens of the training texts and of more texts stay; known texts keep their probabilities; plain transformers loads the result."
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    (tmp_path/'more.txt').write_text('\n'.join(TEXTS))
    status,out,err = run('prune', 'sample', '--vocabulary', '--unlabeled', tmp_path/'more.txt', '--data', urls, '--out', tmp_path/'out', '--json')
    assert status == 0 and last_json(out)['pruned']['vocabulary'], err
    plain,tokenizer = AutoModelForSequenceClassification.from_pretrained(tmp_path/'out'),AutoTokenizer.from_pretrained(tmp_path/'out')
    assert plain.config.vocab_size == len(tokenizer) < 1500
    here = classifier(*load_checkpoint('sample'))(TEXTS)
    assert np.array_equal(classifier(plain.eval(), tokenizer)(TEXTS), here) and np.array_equal(logits_in_a_new_process(tmp_path/'out'), here)

@pytest.mark.parametrize('words,said', [
    ([], ['nothing', '--heads']), (['--heads', 1], ['1.0']), (['--neurons', -.5], ['-0.5']), (['--layers', 4], ['4 layers', 'of 4']), (['--layers', -1], ['-1']),
    (['--heads', .5, '--recover', -2], ['-2']), (['--heads', .5, '--teacher', 'sample'], ['--recover'])])
def test_bad_amount(run, tmp_path, urls, words, said): refused(run, tmp_path, ['prune', 'sample', *words, '--data', urls, '--out', tmp_path/'out'], *said)

def test_quantized_or_unknown(run, tmp_path, urls):
    from transformers import ConvBertConfig, ConvBertForSequenceClassification
    model,tokenizer = load_checkpoint('sample')
    save_checkpoint(quantize(model), tokenizer, tmp_path/'int8')
    refused(run, tmp_path, ['prune', tmp_path/'int8', '--heads', .5, '--data', urls, '--out', tmp_path/'out'], 'quantized already')
    other = ConvBertForSequenceClassification(ConvBertConfig(vocab_size=2000, embedding_size=16, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, head_ratio=2, intermediate_size=32))
    save_checkpoint(other, tokenizer, tmp_path/'convbert')
    refused(run, tmp_path, ['prune', tmp_path/'convbert', '--heads', .5, '--data', urls, '--out', tmp_path/'out'], 'convbert', 'ARCHITECTURES', 'dropping layers')
    assert run('prune', tmp_path/'convbert', '--layers', 1, '--data', urls, '--out', tmp_path/'thin')[0] == 0

@pytest.mark.parametrize('damage,said', [(dict(heads=[4]*4), 'size mismatch'), (dict(neurons=[256]*3), 'layers'), (dict(heads='../x'), "cannot repeat the change 'prune'"), (dict(path='/etc'), 'path')])
def test_damaged(run, tmp_path, rows, damage, said):
    model,tokenizer = load_checkpoint('sample')
    save_checkpoint(prune(model, tokenizer, rows, heads=.5, neurons=.5), tokenizer, tmp_path/'model')
    notes = tmp_path/'model'/'compression.json'
    notes.write_text(json.dumps(dict(changes=[json.loads(notes.read_text())['changes'][0] | damage])))
    refused(run, tmp_path, ['predict', tmp_path/'model', 'http://a.b'], said)

@pytest.mark.parametrize('way', quickly(dict(cut=True), of=[dict(), dict(anywhere=True), dict(pattern='2:4'), dict(cut=True), dict(int8=True)]))
def test_zeros_reload_to_the_bit_in_a_new_process(tmp_path, rows, way):
    "Also with heads cut before or after, and with the rest in eight bits."
    model,tokenizer = load_checkpoint('sample')
    cut,int8 = way.pop('cut', False),way.pop('int8', False)
    small = sparsify(prune(model, tokenizer, rows, heads=.25, neurons=.5, uniform=False) if cut else model, Sparsity(**way))
    if cut: small = prune(small, tokenizer, rows, heads=.5)
    if int8: small = quantize(small, SCHEMES['weight-int8'])
    save_checkpoint(small, tokenizer, tmp_path/'model')
    assert np.array_equal(logits_in_a_new_process(tmp_path/'model'), classifier(small, tokenizer)(TEXTS))

@pytest.mark.slow
def test_zeros_from_the_command_line(run, urls, tmp_path):
    "At once, and gradually while training; the file is as small as the zeros say; ONNX reads it too."
    from distil_nb.export import export_onnx
    for name,words in dict(once=[], trained=['--recover', 2, '--movement'], both=['--recover', 1, '--heads', .5]).items():
        status,out,err = run('prune', 'sample', '--sparsity', .8, *words, '--data', urls, '--out', tmp_path/name, '--json')
        assert status == 0, err
        model,tokenizer = load_checkpoint(tmp_path/name)
        assert abs(sparsity(model) - .8) < 1e-3 and last_json(out)['pruned']['sparsity'] == .8
        stored = load_file(tmp_path/name/'compressed.safetensors')
        packed,dense = sum(v.nbytes for k,v in stored.items() if k.endswith(('.bits', '.values'))),4*sum(o.weight.numel() for o in prunable(model).values())
        assert packed < .3*dense
    export_onnx(model, tokenizer, tmp_path/'onnx')
    np.testing.assert_allclose(logits_in_a_new_process(tmp_path/'onnx'), classifier(model, tokenizer)(TEXTS), atol=1e-5)

@pytest.mark.slow
def test_interrupted_zeros_go_on_as_if_nothing_had_happened(tmp_path):
    "Masks, movements and kept values are part of a run's state."
    class Stop(Exception): pass
    def stop(e):
        if e['epoch'] == 2: raise Stop
    data = load_data('sample')
    data = type(data)({k: v.select(range(128)) for k,v in data.items()})
    plan,settings = Sparsity(.9, movement=True, end=.8),Settings(epochs=4)
    train_sparse('sample', data, tmp_path/'whole', plan, 'sample', settings)
    with pytest.raises(Stop): train_sparse('sample', data, tmp_path/'again', plan, 'sample', settings, report=stop)
    with pytest.raises(CompressionError, match='other data or settings'): train_sparse('sample', data, tmp_path/'again', Sparsity(.5), 'sample', settings, resume=True)
    train_sparse('sample', data, tmp_path/'again', plan, 'sample', settings, resume=True)
    one,two = (load_checkpoint(tmp_path/o)[0].state_dict() for o in ('whole', 'again'))
    assert all(torch.equal(one[k], two[k]) for k in one)

@pytest.mark.parametrize('words,said', [
    (['--sparsity', 1.2], ['1.2', 'between 0 and 1']), (['--sparsity', .8, '--movement'], ['--recover']), (['--movement'], ['--sparsity']), (['--pattern', '2:1'], ['2:1']),
    (['--pattern', 'half'], ["'half'"]), (['--pattern', '2:4', '--sparsity', .5], ['choose one'])])
def test_bad_zeros(run, tmp_path, urls, words, said): refused(run, tmp_path, ['prune', 'sample', *words, '--data', urls, '--out', tmp_path/'out'], *said)

def test_damaged_zeros(run, tmp_path, urls):
    "Bits and values that do not belong together."
    model,tokenizer = load_checkpoint('sample')
    save_checkpoint(sparsify(model), tokenizer, tmp_path/'model')
    stored = load_file(tmp_path/'model'/'compressed.safetensors')
    name = next(o for o in stored if o.endswith('.values'))
    save_file(stored | {name: stored[name][:-1].clone()}, tmp_path/'model'/'compressed.safetensors')
    refused(run, tmp_path, ['evaluate', tmp_path/'model', '--data', urls], 'cannot read checkpoint', 'places')
