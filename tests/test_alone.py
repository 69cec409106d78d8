"""Each notebook alone, as on Colab: the package from its wheel, no repository on the path, an empty folder. Only what the notebook's install cell asks for is there.
Every cell runs, as under Run All; `make alone` takes an hour."""
import hashlib, json, os, shutil, subprocess, sys

import pytest
from conftest import ROOT
from test_project import NOTEBOOKS, built
from test_site import install_of

EXTRAS = dict(onnx=['onnx', 'onnxscript', 'onnxruntime'], nf4=['bitsandbytes'])
DEV = 'nbdev', 'pytest', 'tensorboard', 'build'

# What a chapter did not ask for cannot be imported.
HIDES = "import os, sys\nfor name in os.environ.get('HIDDEN', '').split(): sys.modules[name] = None\n"

def state(folder):
    "Every file and what is in it."
    return {o.relative_to(folder).as_posix(): hashlib.sha256(o.read_bytes()).hexdigest() for o in folder.rglob('*') if o.is_file() and '__pycache__' not in o.parts}

@pytest.fixture(scope='session')
def python(tmp_path_factory):
    "Interpreter of an environment with the wheel; requirements are those of the environment that runs the tests, but not its way to the repository."
    home = tmp_path_factory.mktemp('alone')
    wheel = next(built(home/'built').glob('*.whl'))
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', home/'env'], check=True)
    python = home/'env'/'bin'/'python'
    subprocess.run([sys.executable, '-m', 'pip', '--python', python, 'install', '-q', '--no-deps', '--no-index', wheel],
        env=clean(home), check=True)
    place = next((home/'env').glob('lib/python*/site-packages'))
    (place/'others.pth').write_text('\n'.join(o for o in sys.path if 'site-packages' in o) + '\n')
    (place/'sitecustomize.py').write_text(HIDES)
    found = subprocess.run([python, '-c', 'import distil_nb; print(distil_nb.__file__)'], cwd=home, env=clean(home), capture_output=True, text=True, check=True)
    assert found.stdout.startswith(str(place))
    return python

def clean(home, **more):
    "No repository, no switches of ours, a home of its own."
    kept = {k: v for k,v in os.environ.items() if not k.startswith(('PYTHON', 'DISTIL_NB', 'HF_')) and k not in ('IN_TEST', 'VIRTUAL_ENV')}
    return kept | dict(HOME=str(home), HF_HUB_OFFLINE='1', MPLBACKEND='agg') | more

@pytest.mark.alone
@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda o: o.stem)
def test_notebook_runs_alone(notebook, python, tmp_path):
    home,package = python.parents[2],next(python.parents[1].glob('lib/python*/site-packages/distil_nb'))
    extras,also = install_of(notebook)
    hidden = [o for k,v in EXTRAS.items() if k not in extras for o in v] + [o for o in DEV if o not in also]
    before = state(package)
    shutil.copy(notebook, tmp_path)
    done = subprocess.run([python, '-m', 'nbconvert', '--to', 'notebook', '--execute', '--inplace', '--ExecutePreprocessor.timeout=3600', notebook.name],
        cwd=tmp_path, env=clean(home, HIDDEN=' '.join(hidden)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [o.name for o in tmp_path.iterdir()] == [notebook.name]
    assert state(package) == before
    old,new = (json.loads(o.read_text(encoding='utf-8'))['cells'] for o in (notebook, tmp_path/notebook.name))
    assert [o['source'] for o in old] == [o['source'] for o in new]
