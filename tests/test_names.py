"Names: the dozen of the package, imported lazily, none of them also the name of a module; and those that functions read."
import builtins, dis, importlib, subprocess, sys

import pytest

import distil_nb
from conftest import ROOT

CHAPTERS = sorted(o.stem for o in (ROOT/'distil_nb').glob('*.py') if o.stem[0] != '_')

def test_names_are_no_modules():
    assert not {*distil_nb.__all__} & {*CHAPTERS}
    assert 10 <= len(distil_nb.__all__) <= 16 and {*distil_nb.__all__} <= {*dir(distil_nb)}

def test_names_mean_the_same_after_every_module_was_imported():
    places = {name: getattr(distil_nb, name).__module__ for name in distil_nb.__all__}
    for o in CHAPTERS: importlib.import_module(f'distil_nb.{o}')
    for name,place in places.items():
        assert callable(getattr(distil_nb, name)) and getattr(distil_nb, name) is getattr(importlib.import_module(place), name)
    with pytest.raises(AttributeError, match="no attribute 'quantise'"): distil_nb.quantise
    from distil_nb import quantize, quantize_model
    assert callable(quantize_model) and quantize.__name__ == 'distil_nb.quantize'

def test_names_are_called():
    "Each step takes a path."
    data = distil_nb.load_data('sample')
    small,record = distil_nb.sparsify_model('sample', .5)
    assert abs(record['zeros'] - .5) < .01 and small.num_parameters() == record['parameters']
    assert distil_nb.quantize_model('sample', 'weight-int8')[1]['scheme']['bits'] == 8
    assert distil_nb.prune_model('sample', data, neurons=.5)[1]['parameters'] < record['parameters']
    onnx,told = distil_nb.export_onnx('sample')
    assert told['max_tokens'] == onnx.max_tokens and told['parameters'] == onnx.num_parameters()

def test_the_package_imports_nothing_heavy():
    code = 'import sys, distil_nb; distil_nb.Settings; dir(distil_nb); sys.exit("torch" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], cwd=ROOT).returncode == 0

def test_version_stands_once():
    text = (ROOT/'distil_nb'/'__init__.py').read_text()
    assert text.count('__version__') == 1 and distil_nb.__version__ in text

def codes(code):
    "A code object and all those within it."
    yield code
    for o in code.co_consts:
        if isinstance(o, type(code)): yield from codes(o)

@pytest.mark.parametrize('path', sorted(o for o in (ROOT/'distil_nb').glob('*.py') if o.stem != '_modidx'), ids=lambda o: o.stem)
def test_every_name_that_is_read_is_there(path):
    "A function that was renamed is missed where nobody calls it in a test."
    known = {*vars(importlib.import_module('distil_nb' if path.stem == '__init__' else f'distil_nb.{path.stem}')), *vars(builtins)}
    for code in codes(compile(path.read_text(encoding='utf-8'), path, 'exec')):
        read = {o.argval for o in dis.get_instructions(code) if o.opname == 'LOAD_GLOBAL'}
        assert read <= known, (code.co_name, read - known)
