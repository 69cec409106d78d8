"What a step claims is measured on its result, and what a file of another maker says is not run."
import json

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

import distil_nb.sparsify as sparse
from distil_nb.checkpoints import SAMPLE_TEACHER
from distil_nb.core import CompressionError
from distil_nb.sparsify import Sparsity, masked, sparsify, zeros_of

@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return BertForSequenceClassification(BertConfig(vocab_size=20, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)).eval()

def test_zeros_are_counted_on_the_result(tiny, monkeypatch):
    "A step that sets nothing to zero does not say that it did."
    monkeypatch.setattr(sparse, 'set_to_zero', lambda model, plan: None)
    with pytest.raises(CompressionError, match='only 0.0% of the weights in the layers became zero, not 80.0%'): sparsify(tiny, Sparsity(.8))

def test_zeros_are_counted_after_training(tiny):
    "Weights that came back while the masks were to hold."
    trained = masked(tiny, Sparsity(.8))
    trained.sparsifier.share.fill_(.8)
    with pytest.raises(CompressionError, match='training left 0.0% zeros where 80.0%'): zeros_of(tiny, trained)

def test_what_is_stored_without_zeros_computes_the_same(tiny, monkeypatch):
    "A step that spoils a layer on the way is named with it."
    honest = sparse.rebuild
    def spoiled(model, *how, **more):
        honest(model, *how, **more)
        with torch.no_grad(): model.bert.encoder.layer[1].output.dense.weight.neg_()
    monkeypatch.setattr(sparse, 'rebuild', spoiled)
    with pytest.raises(CompressionError, match='first in layer 1'): sparsify(tiny)

@pytest.mark.parametrize('saturates', [True, False])
def test_products_of_the_runtime_are_exact(tmp_path, monkeypatch, saturates):
    "Where sums of products saturate, the session is asked for the exact way; elsewhere that would cost half of the speed."
    from distil_nb import export
    export.export_onnx('sample', out=tmp_path/'onnx')
    monkeypatch.setattr(export, '_saturates', lambda: saturates)
    options = export._session(tmp_path/'onnx'/'model.onnx', 1).get_session_options()
    name = 'session.x64quantprecision'
    if saturates: assert options.get_session_config_entry(name) == '1'
    else:
        with pytest.raises(RuntimeError): options.get_session_config_entry(name)

def test_nobody_is_asked_about_the_code_of_a_language_model(tmp_path, monkeypatch):
    from shutil import copytree
    from distil_nb.lm import load_lm
    folder,asked = copytree(SAMPLE_TEACHER, tmp_path/'theirs'),[]
    config = json.loads((folder/'config.json').read_text())
    (folder/'config.json').write_text(json.dumps(config | dict(model_type='theirs', auto_map=dict(AutoConfig='theirs.C', AutoModelForCausalLM='theirs.M'))))
    (folder/'theirs.py').write_text(f'open({str(tmp_path/"ran")!r}, "w")\nclass C: pass\nclass M: pass\n')
    monkeypatch.setattr('builtins.input', lambda *words: asked.append(words) or 'y')
    with pytest.raises(CompressionError): load_lm(folder)
    assert not asked and not (tmp_path/'ran').exists()
