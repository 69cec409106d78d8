"The table of architectures by steps: what benchmarks/architectures.json says is what running it gives; a new architecture is a row there and here."
import json, sys

import pytest
import torch

from conftest import ROOT, quickly

sys.path.insert(0, str(ROOT/'benchmarks'))
import architectures as table
from distil_nb.checkpoints import load_checkpoint
from distil_nb.evaluate import classifier
from distil_nb.export import export_onnx
from distil_nb.models import keep_layers
from distil_nb.prune import prune_parts

STORED = json.loads((ROOT/'benchmarks'/'architectures.json').read_text())
REASONS = {}  # architecture and step to what is said where there is no such part
ONNX = {'BERT', 'ALBERT'}  # a graph takes ten seconds to write: the others were made by benchmarks/architectures.py

def test_the_table_is_whole():
    "Twelve architectures or more, every step; a reason in at most one cell of ten, and only where one is told above."
    assert set(STORED) == set(table.KINDS) and len(STORED) >= 12
    cells = {(kind, step): said for kind,row in STORED.items() for step,said in row.items()}
    assert all(set(row) == set(table.STEPS) for row in STORED.values())
    assert {k: v for k,v in cells.items() if v not in ('exact', 'within 1e-4')} == REASONS
    assert len(REASONS) <= len(cells)/10

QUICK = 'BERT', 'DistilBERT', 'ModernBERT', 'Llama'  # of different builds

@pytest.mark.parametrize('kind', quickly(*QUICK, of=table.KINDS))
def test_row(kind):
    "Bits may differ from machine to machine; what was exact may be within 1e-4 elsewhere."
    steps = {k: v for k,v in table.STEPS.items() if k != 'ONNX' or kind in ONNX}
    found = table.row(kind, steps)
    for step,said in found.items():
        if (kind, step) in REASONS: assert said == REASONS[kind, step]
        else: assert said in ('exact', 'within 1e-4'), (kind, step)

def loaded(kind, folder):
    table.make(kind, folder/'base')
    return *load_checkpoint(folder/'base'), table.plain(folder/'base')

def test_changed_graphs(tmp_path):
    "Heads with a bias of their own, and a first layer that kept its norm, in ONNX."
    (tmp_path/'mpnet').mkdir(), (tmp_path/'modern').mkdir()
    model,tokenizer,whole = loaded('MPNet', tmp_path/'mpnet')
    kept = [[1, 3], [2], [0, 1, 2]]
    export_onnx(prune_parts(model, heads=kept), tokenizer, tmp_path/'mpnet'/'onnx')
    with table.gated(whole, 'attention.attn.o', kept, 4): theirs = table.logits(whole, tokenizer)
    assert (table.logits(*load_checkpoint(tmp_path/'mpnet'/'onnx')) - theirs).abs().max() < 1e-4*theirs.abs().max()
    model,tokenizer,whole = loaded('ModernBERT', tmp_path/'modern')
    export_onnx(keep_layers(model, [1]), tokenizer, tmp_path/'modern'/'onnx')
    with table.without_layers(whole, [1]): theirs = table.logits(whole, tokenizer)
    assert (table.logits(*load_checkpoint(tmp_path/'modern'/'onnx')) - theirs).abs().max() < 1e-4*theirs.abs().max()

@pytest.mark.parametrize('kind', quickly('XLM-R', of=['GPT-2', 'Llama', 'XLM-R']))
def test_tokens_from_the_command_line(run, tmp_path, urls, kind):
    "Decoders and Unigram lose tokens; plain transformers reads the result, and gives the logits of the whole model."
    table.make(kind, tmp_path/'base', classes=2)
    (tmp_path/'more.txt').write_text('\n'.join(table.TEXTS))
    status,_,err = run('prune', tmp_path/'base', '--vocabulary', '--unlabeled', tmp_path/'more.txt', '--data', urls, '--out', tmp_path/'few')
    assert status == 0, err
    (_,whole),(_,few) = load_checkpoint(tmp_path/'base'),load_checkpoint(tmp_path/'few')
    assert len(few) < len(whole)
    assert torch.equal(table.logits(table.plain(tmp_path/'few'), few), table.logits(table.plain(tmp_path/'base'), whole))

def test_parts_from_the_command_line(run, tmp_path, urls):
    "A ModernBERT without its first layer, distilled, then cut and in eight bits."
    table.make('ModernBERT', tmp_path/'base', classes=2)
    for words in (['distil', '--teacher', tmp_path/'base', '--keep-layers', '1,2', '--epochs', 1, '--out', tmp_path/'thin'],
                  ['prune', tmp_path/'thin', '--heads', .5, '--neurons', .25, '--out', tmp_path/'cut']):
        status,_,err = run(*words, '--data', urls)
        assert status == 0, err
    assert run('quantize', tmp_path/'cut', '--scheme', 'weight-int8', '--out', tmp_path/'int8')[0] == 0
    model,_ = load_checkpoint(tmp_path/'int8')
    assert [o['kind'] for o in model.compression] == ['layers', 'prune', 'quantize']
    assert run('evaluate', tmp_path/'int8', '--data', urls)[0] == 0

@pytest.mark.parametrize('pooling', ['cls', 'mean'])
def test_first_token_alone(tmp_path, pooling):
    "The last layer is cut short where the head reads one token, and left alone where it reads their mean."
    table.make('ModernBERT', tmp_path/'base')
    path = tmp_path/'base'/'config.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(classifier_pooling=pooling)))
    model,tokenizer = load_checkpoint(tmp_path/'base')
    theirs,seen = table.logits(table.plain(tmp_path/'base'), tokenizer),[]
    hook = model.model.layers[-1].mlp.Wi.register_forward_hook(lambda layer, inputs, output: seen.append(output.shape[1]))
    ours = torch.from_numpy(classifier(model, tokenizer)(table.TEXTS))
    hook.remove()
    assert (ours - theirs).abs().max() < 1e-4*theirs.abs().max()
    assert (max(seen[-2:]) == 1) == (pooling == 'cls')
