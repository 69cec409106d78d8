"""Is there a page in _docs for every notebook, with a title, and what the settings name? Exit status 1 where something is missing.

Usage: python tools/built.py
"""
import sys
from pathlib import Path

from nbdev.config import nbpath2html

ROOT = Path(__file__).resolve().parent.parent

def missing():
    for path in sorted((ROOT/'nbs').rglob('*.ipynb')):
        name = path.relative_to(ROOT/'nbs')
        if any(o[0] in '._' for o in name.parts): continue
        page = ROOT/'_docs'/nbpath2html(name)
        if not page.exists(): yield f'{page}: not there'
        elif 'class="title"' not in page.read_text(encoding='utf-8'): yield f'{page}: without a title'
    for name in ('llms.txt', 'search.json', 'sitemap.xml', 'images/favicon.png', 'images/social.png'):
        if not (ROOT/'_docs'/name).exists(): yield f'_docs/{name}: not there'

if __name__ == '__main__':
    found = list(missing())
    print(*found, sep='\n')
    sys.exit(bool(found))
