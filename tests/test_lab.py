"""Run All in JupyterLab, driven in headless Chromium: no error, and nothing has changed but the outputs of the open notebook. `make browser` does it with the
story, from its first cell to its last table and chart; `make lab-all` with every notebook."""
import json, os, shutil, socket, subprocess, sys, time
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from conftest import ROOT
from test_browser import NBS, NOTEBOOKS, chromium, playwright  # skipped with it

STORY = NBS/'tutorials'/'phishing.ipynb'
LIMIT = 3600  # seconds for one notebook

def git(folder, *words):
    "What git says there."
    said = subprocess.run(['git', '-c', 'user.name=x', '-c', 'user.email=x', *words], cwd=folder, capture_output=True, text=True, check=True)
    return said.stdout

@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    "A repository with what is here now, so that whatever a notebook changes is seen."
    folder = tmp_path_factory.mktemp('lab')/'distil_nb'
    for name in git(ROOT, 'ls-files').splitlines():
        if not (ROOT/name).exists(): continue
        (folder/name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT/name, folder/name)
    for words in (['init', '-q'], ['add', '-A'], ['commit', '-qm', 'as it was']): git(folder, *words)
    return folder

@pytest.fixture(scope='module')
def lab(copy):
    "Address of a JupyterLab on the copy. All cells of a notebook are on its page at once, so that all can be looked at."
    home = copy.parent
    settings = home/'settings'/'@jupyterlab'
    for name,wanted in {'notebook-extension/tracker': dict(windowingMode='none'), 'apputils-extension/notification': dict(fetchNews='false')}.items():
        path = settings/f'{name}.jupyterlab-settings'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(wanted), encoding='utf-8')
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    kept = {k: v for k,v in os.environ.items() if not k.startswith('DISTIL_NB')}
    env = kept | dict(HOME=str(home), JUPYTERLAB_SETTINGS_DIR=str(home/'settings'), PYTHONPATH=str(copy), HF_HUB_OFFLINE='1')
    words = '--no-browser', '--allow-root', f'--port={port}', '--IdentityProvider.token=', '--ServerApp.disable_check_xsrf=True', f'--ServerApp.root_dir={copy/"nbs"}'
    with open(home/'lab.log', 'w') as log, subprocess.Popen([sys.executable, '-m', 'jupyterlab', *words], env=env, stdout=log, stderr=log) as server:
        address = f'http://127.0.0.1:{port}'
        for _ in range(120):
            try: urlopen(f'{address}/api/status').close()
            except OSError: time.sleep(.5)
            else: break
        yield address
        server.terminate()

def finished(page, path)->list:
    "Its cells, saved, when Run All is over: each has run, or one has failed."
    for _ in range(LIMIT):
        page.wait_for_timeout(1000)
        if page.locator('.jp-Notebook-ExecutionIndicator[data-status="busy"]').count(): continue
        page.keyboard.press('Control+s')
        page.wait_for_timeout(500)
        cells = [o for o in json.loads(path.read_text(encoding='utf-8'))['cells'] if o['cell_type'] == 'code']
        if all(o['execution_count'] for o in cells) or any(r['output_type'] == 'error' for o in cells for r in o['outputs']): return cells
    raise TimeoutError(path.name)

def run_all(chromium, lab, path, name):
    "The page after Run All, and the cells."
    stored = json.loads(path.read_text(encoding='utf-8'))['cells']
    assert not any(o.get('execution_count') for o in stored)
    page = chromium.new_page(viewport=dict(width=1400, height=1000))
    page.set_default_timeout(120_000)
    page.goto(f'{lab}/lab/tree/{name}?reset')
    page.locator('.jp-Notebook .jp-Cell').first.wait_for()
    for _ in range(5):  # what it says of a kernel that has just come it may take back
        page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()
        page.wait_for_timeout(1000)
    page.get_by_role('menuitem', name='Run', exact=True).click()
    page.get_by_role('menuitem', name='Run All Cells', exact=True).click()
    return page, finished(page, path)

def without_outputs(text):
    "The rest of a notebook."
    nb = json.loads(text)
    for o in nb['cells']: o.pop('outputs', None), o.pop('execution_count', None)
    return nb

@pytest.mark.parametrize('notebook', [NBS/o for o in NOTEBOOKS] if os.environ.get('LAB') == 'all' else [STORY], ids=lambda o: o.stem)
def test_run_all(chromium, lab, copy, notebook):
    "It ends without an error, writes nothing into the repository, and what the reader saves is the same notebook with other outputs."
    name = notebook.relative_to(NBS).as_posix()
    path = copy/'nbs'/name
    git(copy, 'checkout', '--', '.')  # whatever the one before has left
    before,began = path.read_text(encoding='utf-8'),time.time()
    page,cells = run_all(chromium, lab, path, name)
    wrong = [(o['id'], r['ename'], r['evalue']) for o in cells for r in o['outputs'] if r['output_type'] == 'error']
    assert not wrong, wrong
    if notebook == STORY: looked_at(page)
    page.close()
    with urlopen(f'{lab}/api/kernels') as kernels:  # else each stays, with its memory
        for o in json.load(kernels): urlopen(Request(f'{lab}/api/kernels/{o["id"]}', method='DELETE')).close()
    print(f'{name}: {time.time() - began:.0f} s')
    assert git(copy, 'status', '--porcelain').split() == ['M', f'nbs/{name}']
    subprocess.run([Path(sys.executable).with_name('nbdev-clean'), '--fname', path], cwd=copy/'nbs', check=True)
    assert without_outputs(path.read_text(encoding='utf-8')) == without_outputs(before)

def looked_at(page):
    "The last table and the last chart are on the page and drawn."
    shots = os.environ.get('BROWSER_SHOTS')
    table = page.locator('.jp-OutputArea-output table').last
    table.scroll_into_view_if_needed()
    assert table.is_visible() and table.locator('tr').count() > 3
    if shots: page.screenshot(path=f'{shots}/lab-table.png')
    chart = page.locator('.jp-OutputArea-output img').last
    chart.scroll_into_view_if_needed()
    assert chart.is_visible() and chart.evaluate('o => o.complete && o.naturalWidth') > 200
    if shots: page.screenshot(path=f'{shots}/lab-chart.png')
