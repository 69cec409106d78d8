"""What the pages of the site have beyond nbdev's own. [tool.nbdev] in pyproject.toml names all of it; `make docs` and the tests put tools/ on the path."""
import re
from pathlib import Path

from nbdev.config import get_config, nbpath2html
from nbdev.process import Processor
from nbdev.showdoc import BasicMarkdownRenderer

def short(signature):
    "Without the modules that types come from: `PreTrainedModel`, `Settings`; texts and comments stay."
    signature = re.sub(r"<class '([^']+)'>", r'\1', signature)
    return re.sub(r"""('[^']*'|"[^"]*"|#.*)|\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])""", lambda m: m[1] or '', signature)

class ShortSignature(BasicMarkdownRenderer):
    "A signature as it is written in the chapter."
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.dm = short(str(self.dm))

def only_heading(cell):
    "Anchor, link to the source, name: the signature stands in the source below."
    for output in cell.get('outputs', []):
        shown = output['data']['text/markdown']
        output['data']['text/markdown'] = ''.join(shown).split('```python')[0]

class HeadingsFirst(Processor):
    "Where the source is on the page (`#| exports`), the headings of its names stand above it. nbdev leaves them behind it, the last name first."
    def begin(self):
        ordered,headings = [],[]
        for cell in reversed(self.nb.cells):
            if getattr(cell, 'has_sd', 0): headings.append(cell)
            elif 'exports' in cell.directives_:
                for o in headings: only_heading(o)
                ordered += [cell, *reversed(headings)]
                headings = []
            else:
                ordered += [*headings, cell]
                headings = []
        self.nb.cells[:] = reversed(ordered)

class KnownNames(Processor):
    """nbdev links each word in back-ticks that any chapter defines. A chapter means its own names first, those of chapters before it, and no later one's;
    the page of the command line means its commands."""
    def begin(self):
        cfg = get_config()
        self.site = f'{cfg.doc_host}{cfg.doc_baseurl.rstrip("/")}/'
        self.order = {nbpath2html(o).name: o.name for o in cfg.nbs_path.glob('*.ipynb')}
        path = Path(self.nb.path_)
        self.here = path.name if path.parent == cfg.nbs_path else ''
        self.own = {re.search(r'show_doc\((.+?)\)', o.source)[1] for o in self.nb.cells if getattr(o, 'has_sd', 0)}

    def meant(self, m):
        "One link as the page means it; without a link where nothing on the site is meant."
        name,page = m[1].removesuffix('()'),m[2].partition('#')[0]
        own = next((o for o in (f'{name}_command', name) if o in self.own), None)
        if own: return f'[`{m[1]}`](#{own.lower()})'
        later = self.here[:1].isdigit() and self.order.get(page, '') > self.here
        return f'`{m[1]}`' if name.startswith('_') or later else m[0]

    def cell(self, cell):
        def linked(text): return re.sub(rf'\[`([^`]+)`\]\({re.escape(self.site)}([^)]+)\)', self.meant, text)
        if cell.cell_type == 'markdown': cell.source = linked(cell.source)
        for output in cell.get('outputs', []):
            data = output.get('data', {})
            if 'text/markdown' in data: data['text/markdown'] = linked(''.join(data['text/markdown']))
