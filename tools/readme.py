"""Make README.md from nbs/index.ipynb, with nbconvert alone: no Quarto.

Usage: python tools/readme.py [--check]

Code cells and their stored outputs become Markdown, pictures go to nbs/images. With --check nothing is written, and the exit status is 1
if a file is not what the notebook gives.
"""
import re, sys
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parent.parent
NOTE = '<!-- Made from nbs/index.ipynb by `make prepare`: change it there. -->\n\n'

def visible(cell):
    "Is this cell for readers?"
    return not re.search(r'^#\|\s*(hide|default_exp)\b', cell.source, re.M)

def readme_files():
    "What the notebook gives: path to content, as bytes."
    nb = nbformat.read(ROOT/'nbs/index.ipynb', as_version=4)
    nb.cells = [o for o in nb.cells if visible(o)]
    for cell in nb.cells:
        if re.search(r'^#\|\s*echo:\s*false', cell.source, re.M): cell.metadata['transient'] = dict(remove_source=True)
        cell.source = re.sub(r'^#\|.*\n', '', cell.source, flags=re.M)
        for output in cell.get('outputs', []):
            if 'text/html' in output.get('data', {}): output.data.pop('text/plain', None)
    text,resources = MarkdownExporter().from_notebook_node(nb, resources=dict(output_files_dir='nbs/images'))
    text = re.sub(r'<style.*?</style>\n?|<div>\n?|</div>\n?', '', text, flags=re.S)
    text = re.sub(r'\]\(([\w/]+)\.ipynb\)', r'](nbs/\1.ipynb)', text)
    files = {ROOT/'README.md': (NOTE + re.sub(r'\n{3,}', '\n\n', text).strip() + '\n').encode()}
    return files | {ROOT/k: v for k,v in resources.get('outputs', {}).items()}

def main():
    files = readme_files()
    stale = [p for p,content in files.items() if not p.exists() or p.read_bytes() != content]
    if '--check' in sys.argv:
        for p in stale: print(f'{p.relative_to(ROOT)} is not what nbs/index.ipynb gives: run make prepare')
        return bool(stale)
    for p in stale:
        p.parent.mkdir(exist_ok=True)
        p.write_bytes(files[p])

if __name__ == '__main__': sys.exit(main())
