"""The site, as far as it can be seen without Quarto: its settings, and the pages that nbdev makes for Quarto (`pages` makes all of them once)."""
import ast, configparser, json, os, re, subprocess, sys
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from conftest import ROOT
from test_project import CHAPTERS, NOTEBOOKS, cells, module, source

sys.path.insert(0, str(ROOT/'tools'))  # pages.py
NBS = ROOT/'nbs'
SETTINGS = yaml.safe_load((NBS/'_quarto.yml').read_text(encoding='utf-8'))
REPOSITORY = 'https://github.com/distil-nb/distil_nb'
SITE = 'https://distil-nb.github.io/distil_nb/'

@pytest.fixture(scope='module')
def pages():
    "Path below nbs/ to the cells that Quarto gets."
    from nbdev.serve import proc_nbs
    import nbdev.doclinks
    made = Path(proc_nbs(str(NBS), n_workers=0, force=True))
    return {o.relative_to(NBS).as_posix(): cells(made/o.relative_to(NBS)) for o in NOTEBOOKS}

def markdown(cell):
    "Text that the page shows of a cell: what it says, or what its outputs say in Markdown."
    if cell['cell_type'] == 'markdown': return source(cell)
    return '\n'.join(''.join(o['data']['text/markdown']) for o in cell.get('outputs', []) if 'text/markdown' in o.get('data', {}))

def unfenced(text): return re.sub(r'^```.*?^```', '', text, flags=re.M|re.S)

def anchors(page):
    "Headings as Pandoc names them."
    headings = re.findall(r'^#+ (.+?)\s*$', '\n'.join(unfenced(markdown(o)) for o in page), re.M)
    return {re.sub(r'^[^a-z]+', '', re.sub(r'[^\w\s.-]', '', o.lower()).replace(' ', '-')) if o[0] != '_' else o.lower() for o in headings}

def leaves(tree, path=()):
    "Every setting: path of keys to value."
    for k,v in tree.items():
        if isinstance(v, dict): yield from leaves(v, (*path, k))
        else: yield (*path, k), v

def test_settings_hold_what_nbdev_sets():
    from nbdev.quarto import _quarto_yml
    known = {('format', 'html', 'theme'): dict(light='cosmo', dark='darkly'), ('website', 'repo-actions'): ['source', 'issue']}
    for path,value in leaves(yaml.safe_load(_quarto_yml)):
        ours = SETTINGS
        for key in path: ours = ours[key]
        assert ours == known.get(path, value), path

def test_settings_name_files_that_are_there():
    for path in (SETTINGS['website']['favicon'], SETTINGS['website']['image'], SETTINGS['format']['html']['css'], *SETTINGS['project']['resources']):
        assert (NBS/path).is_file(), path
    assert any(o['href'] == REPOSITORY for o in SETTINGS['website']['navbar']['tools'])

@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda o: o.stem)
def test_a_reader_needs_no_repository(notebook):
    "On Colab there is none: what lies outside a notebook's folder is asked for first."
    for cell in cells(notebook):
        if cell['cell_type'] != 'code' or not re.search(r"Path\('\.\.['/]", source(cell)): continue
        assert '.exists()' in source(cell), source(cell)[:200]

def test_sidebar_holds_every_notebook_once():
    "In the order to read in; titles come from the notebooks, and hold no number."
    listed = re.findall(r'- (\S+\.ipynb)', (NBS/'sidebar.yml').read_text())
    assert sorted(listed) == sorted(o.relative_to(NBS).as_posix() for o in NOTEBOOKS)
    sections = re.findall(r'section: (.+)', (NBS/'sidebar.yml').read_text())
    assert (sections[0], sections[-1], listed[-1]) == ('The story', 'Foundations', '50_cli.ipynb')
    for o in NOTEBOOKS: assert not re.match(r'# \d', source(cells(o)[0])), o.name
    assert 'numbers are the order of imports' in '\n'.join(map(source, cells(NBS/'index.ipynb')))

@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda o: o.stem)
def test_title_and_claim_stand_alone(notebook):
    "nbdev makes front matter of the first cell and drops the rest of it."
    assert re.fullmatch(r'# .+\n\n> .+\n?', source(cells(notebook)[0]))

@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda o: o.stem)
def test_every_picture_can_be_read_aloud(notebook):
    for cell in cells(notebook):
        drawn = any(set(o.get('data', {})) & {'image/png', 'image/svg+xml', 'image/jpeg'} for o in cell.get('outputs', []))
        if drawn: assert re.search(r'^#\| fig-alt: "?[^"]{20,}"?$', source(cell), re.M), source(cell)[:100]
        if cell['cell_type'] == 'markdown':
            for alt in re.findall(r'!\[([^\]]*)\]\(', source(cell)): assert alt, source(cell)[:100]

def test_chapters_show_their_code():
    "`#| exports` puts the source on the page; the page of the command line is about what commands say."
    for notebook in CHAPTERS:
        kinds = set(re.findall(r'^#\|\s*(export\w*)\s*$', '\n'.join(source(o) for o in cells(notebook) if o['cell_type'] == 'code'), re.M))
        assert kinds == ({'export'} if notebook.stem == '50_cli' else {'exports'}), (notebook.name, kinds)

def test_llms_txt_is_what_the_notebooks_give():
    done = subprocess.run([sys.executable, ROOT/'tools'/'readme.py', '--check'], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    told = (NBS/'llms.txt').read_text(encoding='utf-8')
    for o in NOTEBOOKS: assert re.match(r'# (.+)', source(cells(o)[0]))[1] in told

BADGE = 'https://colab.research.google.com/assets/colab-badge.svg'

def install_of(notebook):
    "What the install cell asks for: extras of the package, and packages besides."
    asked = [re.search(r'%pip install -q "distil_nb(?:\[([\w,]+)\])? @ git\+\S+"(.*)', source(o)) for o in cells(notebook) if '%pip' in source(o)]
    return ((asked[0][1] or '').split(','), asked[0][2].split()) if asked else ([''], [])

@pytest.mark.parametrize('notebook', [o for o in NOTEBOOKS if o.name != 'index.ipynb'], ids=lambda o: o.stem)
def test_opens_on_colab(notebook):
    "A badge, how long it takes, what it needs; one install cell: of this version, of extras that settings.ini has, and torch stays as it is."
    text = cells(notebook)
    place = notebook.relative_to(NBS).as_posix()
    assert source(text[1]).startswith(f'[![Open in Colab]({BADGE})](https://colab.research.google.com/github/distil-nb/distil_nb/blob/main/nbs/{place}) Runs in ')
    installs = [o for o in text if '%pip' in source(o)]
    assert [o['id'] for o in installs] == [text[2]['id']]
    extras,also = install_of(notebook)
    told = configparser.ConfigParser(delimiters=['='])
    told.read(ROOT/'settings.ini', encoding='utf-8')
    version = re.search(r'__version__ = "(.+)"', (ROOT/'distil_nb'/'__init__.py').read_text(encoding='utf-8'))[1]
    for extra in filter(None, extras):
        assert f'{extra}_requirements' in told['DEFAULT']
        assert f'extra `{extra}`' in source(text[1]).split('\n')[0]
    assert f'@v{version}"' in source(installs[0]) and not re.search(r'-U\b|upgrade|torch', source(installs[0]))
    code = '\n'.join(source(o) for o in text if o['cell_type'] == 'code' and o is not installs[0])
    for extra,packages in dict(onnx='onnx|onnxruntime|onnxscript', nf4='bitsandbytes').items():
        assert extra in extras or not re.search(rf'^\s*(from|import) ({packages})\b', code, re.M)
    assert 'nbdev' not in re.findall(r'^\s*(?:from|import) (\w+)', code, re.M) and 'nbdev_export' not in code

def test_install_cell_installs_only_where_the_package_is_not(monkeypatch):
    from IPython.core.inputtransformer2 import TransformerManager
    asked = []
    class Shell:
        def run_line_magic(self, name, words): asked.append((name, words))
    for notebook in NOTEBOOKS:
        for cell in cells(notebook)[:3]:
            if '%pip' not in source(cell): continue
            code = compile(TransformerManager().transform_cell(source(cell)), notebook.name, 'exec')
            asked.clear()
            exec(code, dict(get_ipython=Shell))
            assert not asked
            with monkeypatch.context() as m:
                m.setitem(sys.modules, 'distil_nb', None)
                exec(code, dict(get_ipython=Shell))
            assert [o for o,_ in asked] == ['pip'] and 'git+https://github.com/distil-nb/distil_nb@' in asked[0][1]

def test_chapters_are_short():
    "At most 60 cells, solutions not counted."
    for notebook in CHAPTERS:
        text = cells(notebook)
        first = next((i for i,o in enumerate(text) if re.match(r'<details><summary>Solution|\*\*Solution', source(o))), len(text))
        assert first <= 60, (notebook.name, first)

def test_pages_are_valid(pages):
    "Front matter with a title, formulas and fences closed."
    for name,page in pages.items():
        front = yaml.safe_load(source(page[0]).strip().strip('-'))
        assert front['title'] and front['description'] and front['output-file'].endswith('.html')
        for cell in page:
            if cell['cell_type'] != 'markdown': continue
            assert source(cell).count('```')%2 == 0 and source(cell).count('$$')%2 == 0, name

def test_pages_begin_as_their_notebooks_do(pages):
    "The first paragraph is there, and the claim in the front matter."
    def words(text): return re.sub(r'[`*\[\]]|\(http\S+\)|\(\S+\.ipynb\)|\(#\S+\)', '', text)
    for name,page in pages.items():
        title,first = (source(o) for o in cells(NBS/name)[:2])
        shown = words('\n'.join(source(o) for o in page[1:5]))
        for o in first.split('\n\n')[:2]: assert words(o.split('\n')[0]) in shown, name
        front = yaml.safe_load(source(page[0]).strip().strip('-'))
        assert f'# {front["title"]}\n\n> {front["description"]}' == title.strip(), name

def test_names_stand_above_their_source(pages):
    "Every public name of a chapter has a heading; its source follows; what is private has none."
    for notebook in CHAPTERS:
        page = pages[notebook.name]
        shown = '\n'.join(markdown(o) if markdown(o) else source(o) for o in page)
        for cell in cells(notebook):
            if '#| exports' not in source(cell): continue
            for o in ast.parse(source(cell)).body:
                if not isinstance(o, (ast.FunctionDef, ast.ClassDef)) or any('patch' in ast.unparse(d) for d in o.decorator_list): continue
                assert (f'\n### {o.name}\n' in shown) == (o.name[0] != '_'), (notebook.name, o.name)
                written = shown.index(f'def {o.name}(' if isinstance(o, ast.FunctionDef) else f'class {o.name}')
                assert o.name[0] == '_' or shown.index(f'\n### {o.name}\n') < written, (notebook.name, o.name)

def test_signatures_are_short(pages):
    "No module path, no `__main__`."
    for name,page in pages.items():
        for cell in page:
            for block in re.findall(r'```python\n(.*?)```', markdown(cell) if 'show_doc' in source(cell) else '', re.S):
                assert '__main__' not in block and not re.search(r'\b(transformers|torch|datasets|pathlib|distil_nb)\.\w+', block), (name, block)

def test_links_lead_somewhere(pages):
    "Each link of each page: the page, the heading on it, the line of the source."
    built = {re.search(r'output-file: (\S+)', source(o[0]))[1]: k for k,o in pages.items()}
    where = {(Path(k).parent/html).as_posix(): k for html,k in built.items()}
    known = {k: anchors(o) for k,o in pages.items()}
    for name,page in pages.items():
        for target in re.findall(r'\]\(([^)\s]+)\)', '\n'.join(unfenced(markdown(o)) for o in page)):
            path,_,anchor = unquote(target).partition('#')
            if path.startswith(SITE):
                place = path.removeprefix(SITE)
                assert place in where or place == '', (name, target)
                assert not anchor or anchor in known[where[place]], (name, target)
            elif path.startswith(f'{REPOSITORY}/blob/main/'):
                kept = ROOT/path.removeprefix(f'{REPOSITORY}/blob/main/')
                assert kept.exists(), (name, target)
                if re.fullmatch(r'L\d+', anchor): assert int(anchor[1:]) <= len(kept.read_text(encoding='utf-8').splitlines()), (name, target)
            elif re.match('https?:', path): continue
            else:
                assert path == '' or (NBS/name).parent.joinpath(path).exists(), (name, target)
                to = name if path == '' else os.path.relpath((NBS/name).parent/path, NBS)
                assert not anchor or anchor in known[to], (name, target)

def test_names_lead_to_the_function(pages):
    "Where a command and a function were of one name, nbdev led to the command."
    from distil_nb._modidx import d
    names = {mod: {k.removeprefix(f'{mod}.') for k in o} for mod,o in d['syms'].items()}
    of_commands,others = names.pop('distil_nb.cli'),set().union(*names.values())
    assert not {o for o in of_commands & others if o[0] != '_'}
    for name,leads in dict(distil='distillation', train_teacher='distillation', quantize='quantize', distil_lm='lm_distillation').items():
        found = [(k, o) for k,page in pages.items() if k != '50_cli.ipynb' for cell in page
            for o in re.findall(rf'\[`{name}(?:\(\))?`\]\(([^)]+)\)', markdown(cell))]
        assert found and {o for _,o in found} <= {f'{SITE}{leads}.html#{name}', f'#{name}'}, found
        assert all(k == f'{NOTEBOOK_OF[leads]}.ipynb' for k,o in found if o[0] == '#')
    for early in ('06_splits.ipynb', '07_data.ipynb'):  # a split is meant
        assert '[`train`]' not in '\n'.join(map(markdown, pages[early]))

NOTEBOOK_OF = {module(o): o.stem for o in CHAPTERS}

@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda o: o.stem)
def test_pictures_have_no_ground(notebook):
    "They are read on light pages and on dark ones."
    from base64 import b64decode
    from io import BytesIO
    from PIL import Image
    for cell in cells(notebook):
        for output in cell.get('outputs', []):
            if picture := ''.join(output.get('data', {}).get('image/png', '')):
                drawn = Image.open(BytesIO(b64decode(picture)))
                assert drawn.mode == 'RGBA' and drawn.getpixel((0, 0))[3] == 0, source(cell)[:100]
