"A head that reads the mean: through every step, back from disk in a new process, from the command line, and on after a stop."
import copy, json

import numpy as np
import pytest
import torch

from conftest import last_json, quickly
from distil_nb.checkpoints import load_checkpoint, save_checkpoint
from distil_nb.core import CompressionError, Settings, quiet
from distil_nb.data import load_data
from distil_nb.distillation import distil, train_teacher
from distil_nb.evaluate import classifier
from distil_nb.models import keep_layers
from distil_nb.pooling import pooled, pooling_of
from distil_nb.prune import prune
from distil_nb.quantize import SCHEMES, quantize
from distil_nb.sparsify import Sparsity, sparsify
from distil_nb.vocabulary import prune_vocabulary
from test_quantized import TEXTS, logits_in_a_new_process
from test_resume import weights

def by_hand(model, tokenizer):
    "Each text alone, nothing padded, no hook: the mean of the last states by NumPy, then the head."
    bare,answers = copy.deepcopy(model.base_model).eval(),[]
    bare._forward_hooks.clear()
    bare._forward_hooks_with_kwargs.clear()
    for text in TEXTS:
        inputs = tokenizer(text, truncation=True, return_tensors='pt')
        with torch.inference_mode():
            mean = bare(**inputs).last_hidden_state[0].numpy().mean(0)
            answers.append(model.classifier(torch.from_numpy(mean)).numpy())
    return np.stack(answers)

def changed(way, model, tokenizer, rows):
    "A model after one step."
    if way == 'layers': return keep_layers(model, [0, 3]), tokenizer
    if way == 'neurons and heads': return prune(model, tokenizer, rows, heads=.5, neurons=.5), tokenizer
    if way == 'after layers': return quantize(sparsify(keep_layers(model, [0, 3]), Sparsity(.5)), SCHEMES['weight-int8']), tokenizer
    if way == 'zeros': return sparsify(model, Sparsity(.5)), tokenizer
    if way == 'vocabulary': return prune_vocabulary(model, tokenizer, [*rows['text'], *TEXTS])
    return quantize(model, SCHEMES[way]), tokenizer

WAYS = 'layers', 'neurons and heads', 'zeros', 'dynamic-int8', 'weight-int4', 'after layers', 'vocabulary'

@pytest.fixture(scope='module')
def start():
    "A classifier that reads the mean, its tokenizer, some rows."
    model,tokenizer = load_checkpoint('sample')
    return pooled(model, 'mean'), tokenizer, load_data('sample')['train'].select(range(64))

@pytest.mark.parametrize('way', quickly('after layers', of=WAYS))
def test_every_step_keeps_the_mean(tmp_path, start, way):
    small,tokenizer = changed(way, *start)
    here = classifier(small, tokenizer)(TEXTS)
    np.testing.assert_allclose(here, by_hand(small, tokenizer), atol=1e-4)
    assert pooling_of(small) == 'mean' and small.compression[0] == dict(kind='pooling', pooling='mean')
    save_checkpoint(small, tokenizer, tmp_path/'model')
    assert np.array_equal(logits_in_a_new_process(tmp_path/'model'), here)

@pytest.mark.parametrize('way', quickly('floats', of=['floats', 'weight-int4']))
def test_the_file_for_onnx_computes_the_mean(tmp_path, start, way):
    from distil_nb.export import export_onnx
    model,tokenizer,_ = start
    if way != 'floats': model = quantize(model, SCHEMES[way])
    record = export_onnx(model, tokenizer, tmp_path/'onnx')
    # the runtime's product of blocks of integers rounds activations to 8 bits too
    np.testing.assert_allclose(logits_in_a_new_process(tmp_path/'onnx'), by_hand(model, tokenizer), atol=1e-4 if way == 'floats' else .02)
    assert record['compression'][0]['kind'] == 'pooling'

@pytest.fixture
def base(tmp_path):
    "A base without a head, trained as a sentence encoder, as far as it says."
    model,tokenizer = load_checkpoint('sample')
    with quiet(): model.bert.save_pretrained(tmp_path/'base')
    tokenizer.save_pretrained(tmp_path/'base')
    (tmp_path/'base'/'1_Pooling').mkdir()
    (tmp_path/'base'/'1_Pooling'/'config.json').write_text(json.dumps(dict(pooling_mode_cls_token=False, pooling_mode_mean_tokens=True)))
    return tmp_path/'base'

def test_command_line(run, urls, base, tmp_path):
    "From a base that says what it was trained for to a student in ONNX."
    how = '--data', urls, '--epochs', 2, '--json'
    status,out,err = run('train-teacher', '--base', base, '--out', tmp_path/'teacher', *how)
    assert status == 0, err
    record = last_json(out)
    assert (record['pooling'], record['settings']['head_lr']) == ('mean', None) and abs(record['head_lr'] - 1e-3) < 1e-9
    beside = record['baselines']
    assert {*beside} == {'frozen base', 'TF-IDF'} and all(beside[o]['test']['n'] == 64 for o in beside)
    told = record['beyond_frozen']
    difference = record['scores']['teacher']['validation']['accuracy'] - beside['frozen base']['validation']['accuracy']
    assert abs(told['difference'] - difference) < 1e-9
    worth = told['told_apart'] and difference > 0
    assert worth or ('is worse than' if told['told_apart'] else 'cannot be told from') in err
    status,out,err = run('distil', '--teacher', tmp_path/'teacher', '--keep-layers', '0,3', '--out', tmp_path/'student', *how)
    assert status == 0, err
    told = last_json(out)
    assert told['pooling'] == 'mean' and 'head_lr' not in told  # the head comes from the teacher
    assert run('export', tmp_path/'student', '--out', tmp_path/'onnx')[0] == 0
    model,tokenizer = load_checkpoint(tmp_path/'student')
    np.testing.assert_allclose(classifier(*load_checkpoint(tmp_path/'onnx'))(TEXTS), by_hand(model, tokenizer), atol=1e-4)
    status,out,err = run('train-teacher', '--base', base, '--pooling', 'first', '--head-lr', '1e-3', '--out', tmp_path/'first', *how)
    record = last_json(out)
    assert (record['pooling'], record['head_lr']) == ('first', 1e-3)
    assert (tmp_path/'first'/'model.safetensors').exists()  # plain transformers can say that

def test_no_pooling_of_that_name(run, urls, base, tmp_path):
    status,out,err = run('train-teacher', '--base', base, '--pooling', 'max', '--data', urls, '--out', tmp_path/'no')
    assert status == 2 and "no pooling 'max': choose from auto, first, mean" in err and err.count('\n') == 1
    assert not (tmp_path/'no').exists()

def test_a_new_head_goes_on_after_a_stop(urls, base, tmp_path):
    "Two rates, one state; and other pooling is another run."
    data,how = load_data(urls),Settings(epochs=2)
    train_teacher(base, data, tmp_path/'whole', how)
    def stop(record): raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): train_teacher(base, data, tmp_path/'out', how, report=stop)
    with pytest.raises(CompressionError, match='other data or settings'): train_teacher(base, data, tmp_path/'out', how, resume=True, pooling='first')
    train_teacher(base, data, tmp_path/'out', how, resume=True)
    assert weights(tmp_path/'out') == weights(tmp_path/'whole')

def test_a_taught_head_is_no_longer_new(urls, base):
    "What was trained once is trained on as it is."
    model,record = train_teacher(base, load_data(urls), settings=Settings(epochs=1))
    assert record['head_lr'] and model.new_weights == [] and pooling_of(model) == 'mean'
