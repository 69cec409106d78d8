"""Is there a page in _docs for every notebook, with its title, and what the settings name? Exit status 1 where something is missing.

Usage: python tools/built.py
"""
import re, sys
from pathlib import Path

import nbformat
from nbdev.config import nbpath2html

ROOT = Path(__file__).resolve().parent.parent

def missing():
    for path in sorted((ROOT/'nbs').rglob('*.ipynb')):
        name = path.relative_to(ROOT/'nbs')
        if any(o[0] in '._' for o in name.parts): continue
        page = ROOT/'_docs'/nbpath2html(name)
        title = re.match(r'# (.+)', nbformat.read(path, as_version=4).cells[0].source)[1]
        if not page.exists(): yield f'{page}: not there'
        elif f'<h1 class="title">{title}</h1>' not in page.read_text(encoding='utf-8'): yield f'{page}: without its title'
    for name in ('llms.txt', 'search.json', 'sitemap.xml', 'images/favicon.png', 'images/social.png'):
        if not (ROOT/'_docs'/name).exists(): yield f'_docs/{name}: not there'

if __name__ == '__main__':
    found = list(missing())
    print(*found, sep='\n')
    sys.exit(bool(found))
