"The project fits together: what is made from the notebooks is what they give, and nothing is written down twice."
import ast, configparser, json, os, re, subprocess, sys, tomllib
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

sys.path.insert(0, str(ROOT/'tools'))
from claims import NOTEBOOKS
CHAPTERS = [o for o in NOTEBOOKS if o.name[0].isdigit()]

def cells(notebook): return json.loads(notebook.read_text(encoding='utf-8'))['cells']

def source(cell): return ''.join(cell['source'])

def module(notebook):
    "The module that a chapter exports."
    return re.search(r'default_exp (\w+)', '\n'.join(map(source, cells(notebook))))[1]

def test_modules_are_what_the_notebooks_give(tmp_path):
    from nbdev.export import nb_export
    for notebook in CHAPTERS:
        nb_export(notebook, lib_path=tmp_path/'distil_nb')
        made,kept = (o/'distil_nb'/f'{module(notebook)}.py' for o in (tmp_path, ROOT))
        strip = lambda text: re.sub(r'# %% \S*/nbs/', '# %% ../nbs/', re.sub(r'File to edit: \S*/nbs/', 'File to edit: ../nbs/', text))
        assert strip(made.read_text()) == strip(kept.read_text()), f'{kept.name} is stale: run make prepare'

def test_readme_is_what_the_index_gives():
    done = subprocess.run([sys.executable, ROOT/'tools'/'readme.py', '--check'], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda o: o.stem)
def test_notebook_is_clean_and_ran(notebook):
    "Stable ids, no execution counts; stored outputs hold no error, warning, bar or path of the machine they were made on."
    ids = [o.get('id') for o in cells(notebook)]
    assert None not in ids and len(set(ids)) == len(ids)
    for cell in cells(notebook):
        if cell['cell_type'] != 'code': continue
        assert cell['execution_count'] is None and not cell['metadata']
        for output in cell['outputs']:
            assert output['output_type'] != 'error' and output.get('name') != 'stderr', source(cell)
            text = json.dumps(output)
            assert not re.search(r'Warning|it/s\]|examples/s|widget-view|/root/|/home/', text) and str(ROOT) not in text, source(cell)

@pytest.mark.parametrize('notebook', CHAPTERS, ids=lambda o: o.stem)
def test_chapter_reads_like_a_chapter(notebook):
    "Title, claim, summary and exercises; short exported cells with a comment on every parameter; only chapters before it are used."
    text = cells(notebook)
    assert re.match(r'# .+\n\n> .+', source(text[0]))
    assert any('## Summary' in source(o) and '**Exercises.**' in source(o) for o in text)
    before = {'core'} | {module(o) for o in CHAPTERS if o.name < notebook.name} - {module(notebook)}
    for cell in (o for o in text if o['cell_type'] == 'code'):
        used = set(re.findall(r'^\s*from distil_nb\.(\w+) import', source(cell), re.M))
        assert used <= before, used - before
        if '#| export' not in source(cell): continue
        lines = [o for o in source(cell).split('\n') if o.strip() and not o.startswith('#|')]
        assert len(lines) <= 25, f'{len(lines)} lines: {lines[0]}'
        assert all(len(o) <= 100 for o in lines), max(lines, key=len)
        for f in ast.walk(ast.parse(source(cell))):
            if not isinstance(f, ast.FunctionDef) or f.name.startswith('_') or f.name in ('__iter__', '__len__'): continue
            assert ast.get_docstring(f) or f.name in ('set_epoch', 'forward') or f.col_offset, f.name

def test_every_chapter_can_be_found():
    index = '\n'.join(map(source, cells(ROOT/'nbs'/'index.ipynb')))
    sidebar = (ROOT/'nbs'/'sidebar.yml').read_text()
    for notebook in NOTEBOOKS:
        name = notebook.relative_to(ROOT/'nbs').as_posix()
        assert name in sidebar and (name in index or name == 'index.ipynb')

def test_links_lead_somewhere():
    for notebook in NOTEBOOKS:
        for target in re.findall(r'\]\(([^)#]+)', '\n'.join(source(o) for o in cells(notebook) if o['cell_type'] == 'markdown')):
            assert re.match('https?://', target) or (notebook.parent/target).exists(), (notebook.name, target)

def test_readme_holds_on_the_package_index():
    "Whole addresses, of pages and pictures that are there."
    text = (ROOT/'README.md').read_text(encoding='utf-8')
    site,raw = 'https://distil-nb.github.io/distil_nb/','https://raw.githubusercontent.com/distil-nb/distil_nb/main/'
    pages = {re.sub(r'(^|/)\d+_', r'\1', o.relative_to(ROOT/'nbs').with_suffix('.html').as_posix()) for o in NOTEBOOKS}
    targets = re.findall(r'\]\(([^)#]+)', text)
    for target in targets:
        assert target.startswith('https://'), target
        if target.startswith(site): assert target.removeprefix(site) in pages, target
        if target.startswith(raw): assert (ROOT/target.removeprefix(raw)).is_file(), target
    assert len([o for o in targets if o.startswith(site)]) >= len(CHAPTERS) and any(o.startswith(raw) for o in targets)

def test_nothing_is_written_down_twice():
    settings = configparser.ConfigParser(delimiters=['='])
    settings.read(ROOT/'settings.ini')
    project = tomllib.loads((ROOT/'pyproject.toml').read_text())['project']
    assert not project.keys() & {'version', 'description', 'authors', 'license', 'dependencies', 'requires-python', 'keywords', 'optional-dependencies'}
    tested = {re.split('[=<>]', o)[0].lower().replace('_', '-') for o in (ROOT/'constraints.txt').read_text().splitlines() if o[0] != '#'}
    for o in ''.join(v for k,v in settings['DEFAULT'].items() if k.endswith('requirements')).split():
        assert re.fullmatch(r'[\w-]+>=[\d.]+', o), f'{o} has no lower bound'
        assert o.split('>=')[0].lower().replace('_', '-') in tested, f'{o} is not in constraints.txt'

def test_every_mutant_has_its_place():
    "A line that was reworded takes its mutant along; `places` exits where an old text is not there exactly once."
    import mutants
    found,listed = mutants.chapters(),tomllib.loads((ROOT/'tests/mutants.toml').read_text(encoding='utf-8'))['mutant']
    placed = [m for name,cells in found.items() for o in mutants.places(cells, [m for m in listed if m['module'] == name]).values() for m in o]
    assert len(placed) == len(listed)

@pytest.mark.parametrize('path', sorted((ROOT/'distil_nb').glob('*.py')), ids=lambda o: o.stem)
def test_no_load_leaves_the_code_of_a_checkpoint_open(path):
    "Left out, `trust_remote_code` means: ask on standard input."
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ('from_pretrained', 'from_config')): continue
        if ast.unparse(node.func.value) == 'GenerationConfig': continue  # has no code
        said = {o.arg: ast.unparse(o.value) for o in node.keywords}
        assert said.get('trust_remote_code') == 'False', f'line {node.lineno}: {ast.unparse(node)[:80]}'

def test_workflows_are_pinned_and_may_only_read():
    "But for the jobs that publish: these may prove who they are (and write the pages), see no source and run no command of ours."
    more = {('deploy.yaml', 'publish'): {'pages': 'write', 'id-token': 'write'}, ('release.yaml', 'publish'): {'id-token': 'write'}}
    for path in (ROOT/'.github'/'workflows').iterdir():
        flow = yaml.safe_load(path.read_text())
        assert flow['permissions'] == {'contents': 'read'}
        for name,job in flow['jobs'].items():
            assert job.get('permissions') == more.get((path.name, name)), (path.name, name)
            if 'permissions' in job: assert 'environment' in job and not any('run' in o or 'checkout' in o['uses'] for o in job['steps'])
        for used in re.findall(r'uses: (\S+)', path.read_text()): assert re.fullmatch(r'[\w/-]+@[0-9a-f]{40}', used) or (ROOT/used).is_file(), used
        for run in re.findall(r'run: (.+)', path.read_text()): assert '${{ github' not in run, run  # nobody else's words in a shell

def test_a_release_is_what_its_tag_says():
    import release
    version = re.search(r'__version__ = "(.+)"', (ROOT/'distil_nb'/'__init__.py').read_text())[1]
    assert f'tag v9.9.9, but distil_nb/__init__.py says {version}' == release.trouble('v9.9.9')
    section = re.search(rf'^## {version}', (ROOT/'CHANGELOG.md').read_text(encoding='utf-8'), re.M)
    assert bool(release.trouble(f'v{version}')) != bool(section)

def test_what_others_need_is_there():
    "To cite it, to report a weakness in private, to ask."
    settings = configparser.ConfigParser(delimiters=['='])
    settings.read(ROOT/'settings.ini', encoding='utf-8')
    cite = yaml.safe_load((ROOT/'CITATION.cff').read_text(encoding='utf-8'))
    urls = tomllib.loads((ROOT/'pyproject.toml').read_text())['project']['urls']
    assert cite['license'] == settings['DEFAULT']['license'] and cite['authors'] == [dict(name=settings['DEFAULT']['authors'])]
    assert (cite['repository-code'], cite['url'], cite['keywords']) == (urls['Repository'], urls['Documentation'], settings['DEFAULT']['keywords'].split(', ')[:-1])
    assert 'security/advisories/new' in (ROOT/'SECURITY.md').read_text(encoding='utf-8')
    for o in (ROOT/'.github'/'ISSUE_TEMPLATE').iterdir(): assert yaml.safe_load(o.read_text(encoding='utf-8'))

def built(folder):
    "sdist and a wheel made from it alone, of the files that git keeps; `None` where this is no clone."
    kept = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, text=True).stdout.split('\0')
    if not any(kept): pytest.skip('not a clone of the repository')
    for name in kept:
        if not name or name.startswith(('nbs/', 'tests/', 'benchmarks/')) or not (ROOT/name).exists(): continue
        (folder/'tree'/name).parent.mkdir(parents=True, exist_ok=True)
        (folder/'tree'/name).write_bytes((ROOT/name).read_bytes())
    done = subprocess.run([sys.executable, '-m', 'build', '--no-isolation', '--outdir', folder/'dist', folder/'tree'], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder/'dist'

def test_source_distribution_builds_a_wheel(tmp_path):
    "A wheel is made from the sdist alone, so what setup.py reads is in it; its metadata are those of settings.ini. Both install and run."
    import zipfile
    dist = built(tmp_path)
    wheel = zipfile.ZipFile(next(dist.glob('*.whl')))
    told = next(wheel.read(o).decode() for o in wheel.namelist() if o.endswith('.dist-info/METADATA'))
    wanted = configparser.ConfigParser(delimiters=['='])
    wanted.read(ROOT/'settings.ini', encoding='utf-8')
    for line in wanted['DEFAULT']['requirements'].split('\n')[1:]: assert f'Requires-Dist: {line}\n' in told
    for key in ('Requires-Python: >=' + wanted['DEFAULT']['min_python'], 'Summary: ' + wanted['DEFAULT']['description'], 'Description-Content-Type: text/markdown'): assert key in told, key
    assert {'distil_nb/sample_teacher/model.safetensors', 'distil_nb/sample_student/model.safetensors',
        'distil_nb/records/sample.json', 'distil_nb/records/bench-techniques.json', 'distil_nb/templates/report.html.j2', 'distil_nb/templates/report.css', 'distil_nb/core.py'} <= set(wheel.namelist())
    others = [o for o in sys.path if 'site-packages' in o]
    for kind in ('*.whl', '*.tar.gz'):
        place = tmp_path/kind[-3:]
        subprocess.run([sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--no-index', '--no-build-isolation', '--target', place, next(dist.glob(kind))], check=True)
        env = {k: v for k,v in os.environ.items() if k != 'PYTHONPATH'} | dict(PYTHONPATH=os.pathsep.join([str(place), *others]))
        done = subprocess.run([sys.executable, place/'bin'/'distil-nb', '--help'], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0 and 'train-teacher' in done.stdout, done.stderr
        where = subprocess.run([sys.executable, '-c', 'import distil_nb.distillation as o; print(o.__file__)'], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert where.stdout.startswith(str(place)), where.stdout + where.stderr

def test_what_is_stale_is_found():
    "Words, figures, pictures; and only the words where a cell says that its figures hang on the machine."
    from stale import difference
    same = ('  loss   0.5000\n  rows  1,200', 1)
    assert not difference(same, ('loss 0.5040\nrows 1,200', 1), False)
    assert not difference(('± 0.2', 0), ('± 0.3', 0), False)  # one in the last digit
    for text,pictures in (('loss 0.5060 rows 1,200', 1), ('loss 0.5000 rows 1,230', 1), ('loss 0.5000 row 1,200', 1), ('loss 0.5000', 1), (same[0], 0)):
        assert difference(same, (text, pictures), False)
    assert difference(('12 rows', 0), ('13 rows', 0), False) and not difference(('12 ms', 0), ('250 ms', 0), True)
    assert difference(('12 ms', 0), ('12 s', 0), True) and not difference(('12 ms', 0), ('12 s', 0), 'words') and difference(('12 ms', 0), ('', 0), 'words')

@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda o: o.stem)
def test_every_claim_has_a_cell_that_asserts_it(notebook):
    import claims
    name = str(notebook.relative_to(claims.NBS).with_suffix(''))
    found = list(claims.faults(name, claims.notebooks([name])[name], claims.table().get(name, [])))
    assert not found, '\n'.join(found)

def test_a_claim_without_its_cell_is_found():
    import claims, nbformat.v4 as v4
    book = v4.new_notebook(cells=[v4.new_markdown_cell('# A\n\n> It holds.'), v4.new_code_cell('x = 1', id='shown'), v4.new_code_cell('assert x', id='proved'),
        v4.new_markdown_cell('## Summary\n\nOne thing, `a.b`. Another\none.\n\n**Exercises.** (1) None.')])
    assert claims.claims(book) == ['It holds.', 'One thing, `a.b`.', 'Another one.']
    rows = [dict(text='It', cells=['proved']), dict(text='One thing', cells=['proved']), dict(text='Another', why='points elsewhere')]
    assert not [*claims.faults('a', book, rows)]
    for wrong in (rows[:2], [*rows, dict(text='A third', cells=['proved'])], [dict(text='It', cells=['shown']), *rows[1:]], [dict(text='It', cells=['gone']), *rows[1:]],
                  [dict(text='It'), *rows[1:]]): assert len([*claims.faults('a', book, wrong)]) == 1
