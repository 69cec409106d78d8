"A chapter knows only chapters before it, and another package adds a kind of change without any of them being touched."
import ast, json
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT/'distil_nb'

def chapter(notebook):
    "The module that a notebook writes."
    for cell in json.loads(notebook.read_text(encoding='utf-8'))['cells']:
        for line in ''.join(cell['source']).splitlines():
            if line.startswith('#| default_exp '): return line.split()[-1]

ORDER = [o for o in map(chapter, sorted((ROOT/'nbs').glob('*.ipynb'))) if o]  # file names are numbered in the order in which chapters are built

def imported(source):
    "Modules of the package that a source names: by import anywhere in it, or as a text `distil_nb.x` or `.x` handed to `import_module`."
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            inside = node.level == 1 or (node.module or '').split('.')[0] == 'distil_nb'
            if not inside: continue
            path = [o for o in (node.module or '').split('.') if o and o != 'distil_nb']
            found |= {path[0]} if path else {o.name for o in node.names}
        elif isinstance(node, ast.Import):
            found |= {o.name.split('.')[1] for o in node.names if o.name.startswith('distil_nb.')}
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, 'id', '')
            if name not in ('import_module', '__import__', 'resolve_name'): continue
            texts = [o.value for o in node.args if isinstance(o, ast.Constant) and isinstance(o.value, str)]
            found |= {o.removeprefix('distil_nb').lstrip('.').split('.')[0] for o in texts if o.startswith(('distil_nb.', '.'))}
    return found & set(ORDER)

def test_reading_of_imports():
    source = '''
import distil_nb.core
from .data import load_data
def f():
    from distil_nb import lm
    from distil_nb.prune import rebuild
    import_module('distil_nb.export'), import_module('.qat', 'distil_nb'), import_module('json')
'''
    assert imported(source) == {'core', 'data', 'lm', 'prune', 'export', 'qat'}

def test_every_module_is_a_chapter():
    assert len(ORDER) == len(set(ORDER)) >= 30
    assert {o.stem for o in PACKAGE.glob('*.py')} - {'__init__', '_modidx'} == set(ORDER)

@pytest.mark.parametrize('name', ORDER)
def test_only_chapters_before(name):  # in a line, no arrow backwards: so there is no circle either
    later = ORDER[ORDER.index(name):]
    assert not imported((PACKAGE/f'{name}.py').read_text(encoding='utf-8')) & set(later)

def test_another_package_adds_a_kind(tmp_path, monkeypatch):
    from transformers import AutoModelForSequenceClassification
    from distil_nb.checkpoints import load_checkpoint, note_change, registered
    from distil_nb.core import CompressionError
    (tmp_path/'shaving.py').write_text('''
from torch import nn
def rebuild(model, kind, columns):
    head = model.classifier
    low = nn.Sequential(nn.Linear(head.in_features, columns, bias=False), nn.Linear(columns, head.out_features))
    model.classifier = low
''')
    info = tmp_path/'shaving-1.0.dist-info'
    info.mkdir()
    (info/'METADATA').write_text('Metadata-Version: 2.1\nName: shaving\nVersion: 1.0\n')
    (info/'entry_points.txt').write_text('[distil_nb.changes]\nshave = shaving:rebuild\n')
    model,tokenizer = load_checkpoint('sample')
    folder = tmp_path/'shaved'
    with monkeypatch.context() as m:
        m.syspath_prepend(str(tmp_path))
        assert {'shave', 'prune', 'quantize', 'sparsify'} <= set(registered('distil_nb.changes'))
        import shaving
        shaving.rebuild(model, 'shave', 3)
        note_change(model, 'shave', dict(columns=3))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        back,_ = load_checkpoint(folder)
        ids = tokenizer(['http://a.example/login', 'plain words'], padding=True, return_tensors='pt')
        with torch.inference_mode(): assert torch.equal(back(**ids).logits, model(**ids).logits)
        assert back.compression == [dict(kind='shave', columns=3)]
        with pytest.raises(OSError): AutoModelForSequenceClassification.from_pretrained(folder)
    with pytest.raises(CompressionError, match="unknown change 'shave'"): load_checkpoint(folder)  # the package is gone
