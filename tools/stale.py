"""Are the stored outputs those of the code? Notebooks are run as the tests run them, without their slow cells, and what each cell shows is held against what
is stored: words exactly, figures to 1 % or to their last digit. Under `#| varies` a cell shows figures that hang on the machine (times, the end of a
training), and the words count alone; under `#| varies words` these hang on it too, and it counts that there are some. Of a picture it counts that there is one.

Usage: python tools/stale.py [--slow] [NOTEBOOK …]     (`make stale` runs all; exit status 1 where something is stale; with --slow the slow cells too)
"""
import copy, os, re, sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from html import unescape
from pathlib import Path

import nbformat
from claims import NBS, NOTEBOOKS
from nbclient import NotebookClient

FIGURE = re.compile(r'(?<![\w.])[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])')

def directive(cell, name):
    "What stands behind it; `True` where that is nothing, `None` where it is not there."
    found = re.search(rf'^#\|\s*{name}\b:?(.*)$', cell.source, re.M)
    return found and (found[1].strip() or True)

def runs(cell, slow):
    "Is it code that the tests run? Or that a reader runs, if slow cells are wanted too?"
    return cell.cell_type == 'code' and not (directive(cell, 'slow') and not slow) and not directive(cell, 'notest') and directive(cell, 'eval') != 'false'

def untagged(html):
    "The words of a table: as text it is cut off where the window ends."
    return unescape(re.sub(r'<style.*?</style>|<[^>]+>', ' ', html, flags=re.S))

def shown(cell):
    "What a cell shows: all texts as one, and how many pictures."
    texts,pictures = [],0
    for o in cell.get('outputs', []):
        data = o.get('data', {})
        pictures += any(k.startswith('image/') for k in data)
        if o.output_type == 'stream': texts.append(o.text if o.name == 'stdout' else '')
        elif not any(k.startswith('image/') for k in data): texts.append(data.get('text/markdown') or untagged(data.get('text/html', '')) or data.get('text/plain', ''))
    return ''.join(texts), pictures

def worded(text):
    "The words, with `#` for each figure; lines of a table and the width of its columns do not count."
    return ' '.join(re.sub(r'[-=─━│|]{2,}', ' ', FIGURE.sub(' # ', text)).split())

def close(old, new):
    "To 1 %, or to one in the last digit that is shown."
    decimals = len(old.partition('.')[2]) if 'e' not in old else 0
    a,b = (float(o.replace(',', '').replace('−', '-')) for o in (old, new))
    return abs(a - b) <= max(.01*abs(a), 10**-decimals*(1.001 if decimals else 0))

def difference(old, new, varies):
    "What is stale about a cell, in one line; nothing if it is current."
    (a,pictures),(b,drawn) = old,new
    if varies == 'words': a,b = ('words'*bool(o.strip()) for o in (a, b))
    if pictures != drawn: return f'{pictures} pictures, now {drawn}'
    if worded(a) != worded(b): return f'{worded(a)[:300]}  ≠  {worded(b)[:300]}'
    if varies: return
    apart = [(x, y) for x,y in zip(FIGURE.findall(a), FIGURE.findall(b)) if not close(x, y)]
    if apart: return ', '.join(f'{x} is now {y}' for x,y in apart[:6])

def stale(path, slow):
    "Cells of a notebook that show something else than what is stored: `id: what`."
    stored = nbformat.read(path, as_version=4)
    made = copy.deepcopy(stored)
    for o in made.cells:
        if o.cell_type == 'code' and not runs(o, slow): o.source = ''
    NotebookClient(made, timeout=3600, kernel_name='python3', resources=dict(metadata=dict(path=str(path.parent)))).execute()
    found = {a.id: difference(shown(a), shown(b), directive(a, 'varies')) for a,b in zip(stored.cells, made.cells) if runs(a, slow)}
    return {k: v for k,v in found.items() if v}

def main(names):
    os.environ.pop('DISTIL_NB_SLOW', None)
    slow,names = '--slow' in names,[o for o in names if o != '--slow']
    paths = [NBS/o for o in names] or NOTEBOOKS
    wrong = 0
    with ThreadPoolExecutor(2) as pool:
        for path,found in zip(paths, pool.map(partial(stale, slow=slow), paths)):
            for k,v in found.items(): print(f'{path.relative_to(NBS)} {k}: {v}', flush=True)
            wrong += len(found)
    print(f'{len(paths)} notebooks run, {wrong} cells stale')
    return bool(wrong)

if __name__ == '__main__': sys.exit(main(sys.argv[1:]))
