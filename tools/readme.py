"""Make README.md from nbs/index.ipynb, with nbconvert alone: no Quarto. And nbs/llms.txt, the list of chapters that the site has for language models.

Usage: python tools/readme.py [--check]

Code cells and their stored outputs become Markdown, pictures go to nbs/images. With --check nothing is written, and the exit status is 1
if a file is not what the notebook gives.
"""
import re, sys
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parent.parent
SITE = 'https://distil-nb.github.io/distil_nb/'
PICTURES = 'https://raw.githubusercontent.com/distil-nb/distil_nb/main/'
NOTE = '<!-- Made from nbs/index.ipynb by `make prepare`: change it there. -->\n\n'

def visible(cell):
    "Is this cell for readers?"
    return not re.search(r'^#\|\s*(hide|default_exp)\b', cell.source, re.M)

def page(notebook):
    "Where the site has it: `26_worth` is worth.html."
    return SITE + re.sub(r'(^|/)\d+_', r'\1', notebook) + '.html'

def readme_files():
    "What the notebook gives: path to content, as bytes."
    nb = nbformat.read(ROOT/'nbs/index.ipynb', as_version=4)
    nb.cells = [o for o in nb.cells if visible(o)]
    alts = []
    for cell in nb.cells:
        alts += re.findall(r'^#\| fig-alt: "(.+)"$', cell.source, re.M)
        if re.search(r'^#\|\s*echo:\s*false', cell.source, re.M): cell.metadata['transient'] = dict(remove_source=True)
        cell.source = re.sub(r'^#\|.*\n', '', cell.source, flags=re.M)
        for output in cell.get('outputs', []):
            if 'text/html' in output.get('data', {}): output.data.pop('text/plain', None)
    text,resources = MarkdownExporter().from_notebook_node(nb, resources=dict(output_files_dir='nbs/images'))
    text = re.sub(r'<style.*?</style>\n?|<div[^>]*>\n?|</div>\n?', '', text, flags=re.S)
    text = re.sub(r'\]\(([\w/]+)\.ipynb\)', lambda m: f']({page(m[1])})', text)  # whole addresses: the package index has no folders
    for alt in alts: text = text.replace('![png](', f'![{alt}](', 1)
    text = re.sub(r'\]\((nbs/images/)', rf']({PICTURES}\1', text)
    files = {ROOT/'README.md': (NOTE + re.sub(r'\n{3,}', '\n\n', text).strip() + '\n').encode()}
    return files | {ROOT/k: v for k,v in resources.get('outputs', {}).items()}

def llms_file():
    "Title, claim and address (as Markdown) of each notebook in the order of the sidebar."
    lines = []
    for line in (ROOT/'nbs/sidebar.yml').read_text(encoding='utf-8').splitlines():
        if section := re.search(r'section: (.+)', line): lines.append(f'\n## {section[1]}\n')
        if not (path := re.search(r'- (\S+)\.ipynb', line)): continue
        first = nbformat.read(ROOT/f'nbs/{path[1]}.ipynb', as_version=4).cells[0].source
        title,claim = re.fullmatch(r'# (.+)\n\n> (.+)\n?', first).groups()
        lines.append(f'# {title}\n\n> {claim}' if path[1] == 'index' else f'- [{title}]({page(path[1])}.md): {claim}')
    return {ROOT/'nbs/llms.txt': ('\n'.join(lines) + '\n').encode()}

def main():
    files = readme_files() | llms_file()
    unused = {p for p in (ROOT/'nbs/images').glob('output_*') if p not in files}
    stale = [*unused] + [p for p,content in files.items() if not p.exists() or p.read_bytes() != content]
    if '--check' in sys.argv:
        for p in stale: print(f'{p.relative_to(ROOT)} is not what the notebooks give: run make prepare')
        return bool(stale)
    for p in stale:
        if p in unused:
            p.unlink()
            continue
        p.parent.mkdir(exist_ok=True)
        p.write_bytes(files[p])

if __name__ == '__main__': sys.exit(main())
