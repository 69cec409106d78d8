"""Pages of the site without Quarto: the cells that nbdev gives, in the elements and classes that Quarto writes around them, with
`nbs/styles.css` and the body width of `nbs/_quarto.yml`. For looking at them in a browser; sidebar, search and themes are Quarto's own.

Usage: python tools/render.py OUT
"""
import html, re, shutil, sys
from pathlib import Path

import nbformat, yaml
from claims import NBS, NOTEBOOKS, ROOT
from nbconvert.filters import ansi2html
from nbconvert.filters.markdown_mistune import markdown2html_mistune

MATHJAX = 'https://cdn.jsdelivr.net/npm/mathjax@3/es5/tex-chtml-full.js'  # as Quarto has it
PAGE = '''<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<script>MathJax = {{tex: {{inlineMath: [['$', '$'], ['\\\\(', '\\\\)']]}}}}</script>
<script defer src="{mathjax}"></script>
<style>{base}</style>
<style>{own}</style>
</head>
<body>
<main class="content" id="quarto-document-content">
<header><h1 class="title">{title}</h1><p class="description">{description}</p></header>
{body}
</main>
{after}
</body>
</html>
'''
BASE = '''*{box-sizing:border-box}
body{margin:0;font:1.0625rem/1.5 "Source Sans Pro",sans-serif;color:#373a3c;background:#fff}
main{max-width:calc(WIDTH + 3em);margin:0 auto;padding:0 1.5em}
a{color:#1f66b6}
pre,code{font-family:monospace;font-size:.875em}
pre{margin:0 0 1rem;overflow:auto}
pre code{font-size:inherit}
div.sourceCode{background:#f4f5f6;border-radius:.25rem;margin:1em 0;padding:.4em}
div.sourceCode pre{margin:0;white-space:WRAP}
p code,li code,td code{background:#f4f5f6;color:#7d12ba;padding:.1em}
table{border-collapse:collapse}
th,td{padding:.5rem;border-bottom:1px solid #dee2e6}
blockquote{border-left:2px solid #888;padding-left:1em;margin-left:0}
.cell{margin-bottom:1rem}
.cell-output-display{overflow-x:auto}
img{max-width:100%;height:auto}
@media (prefers-color-scheme:dark){body{color:#fff;background:#222}a{color:#7fb8f5}
div.sourceCode,p code,li code,td code{background:#2d3035;color:#e6e6e6}th,td{border-color:#555}}
'''

def code(source, kind='python'):
    return f'<div class="sourceCode cell-code"><pre class="sourceCode {kind}"><code class="sourceCode {kind}">{html.escape(source)}</code></pre></div>'

def markdown(text):
    "With the code blocks in Quarto's elements."
    text = re.sub(r'(\]\([^)\s]*\))\{[^}]*\}', r'\1', text)  # attributes of links, and of headings
    made = markdown2html_mistune(re.sub(r'^(#+ .*?)\s*\{[^}]*\}\s*$', r'\1', text, flags=re.M))
    made = re.sub(r'<a class="anchor-link"[^>]*>.*?</a>', '', made)
    return re.sub(r'<div class="highlight"><pre>(.*?)</pre></div>', r'<div class="sourceCode"><pre class="sourceCode"><code>\1</code></pre></div>', made, flags=re.S)

def shown(output, alt):
    "One output of a cell."
    if output.output_type == 'stream': return f'<div class="cell-output cell-output-{output.name}"><pre><code>{ansi2html(output.text)}</code></pre></div>'
    if output.output_type == 'error': return f'<div class="cell-output cell-output-error"><pre><code>{ansi2html(chr(10).join(output.traceback))}</code></pre></div>'
    data = output.data
    for kind in ('text/html', 'text/markdown', 'image/svg+xml', 'image/png'):
        if kind not in data: continue
        text = ''.join(data[kind])
        if kind == 'text/markdown': text = markdown(text)
        if kind == 'image/png': text = f'<p><img src="data:image/png;base64,{text.strip()}" alt="{html.escape(alt)}"></p>'
        if kind == 'image/svg+xml': text = f'<p>{text[text.index("<svg"):]}</p>' if 'aria-label' in text else f'<p><img alt="{html.escape(alt)}" src="data:image/svg+xml;base64,{encoded(text)}"></p>'
        return f'<div class="cell-output cell-output-display">{text}</div>'
    return f'<div class="cell-output cell-output-display"><pre><code>{ansi2html("".join(data["text/plain"]))}</code></pre></div>' if 'text/plain' in data else ''

def encoded(text):
    from base64 import b64encode
    return b64encode(text.encode()).decode()

def option(cell, name):
    found = re.search(rf'^#\|\s*{name}:\s*(.+?)\s*$', cell.source, re.M)
    return found[1].strip('"') if found else ''

def body_of(cell):
    "A cell as Quarto shows it."
    if cell.cell_type == 'raw': return ''
    if cell.cell_type == 'markdown':
        text = cell.source
        for name,o in cell.get('attachments', {}).items():
            for kind,data in o.items(): text = text.replace(f'attachment:{name}', f'data:{kind};base64,{data}')
        return markdown(text)
    source = re.sub(r'^#\|.*\n?', '', cell.source, flags=re.M).strip()
    found = '\n'.join(shown(o, option(cell, 'fig-alt')) for o in cell.outputs if option(cell, 'output') != 'false')
    if option(cell, 'output') == 'asis': return found.replace('cell-output cell-output-display', 'cell-output-display asis')
    above = '' if option(cell, 'echo') == 'false' else code(source)
    if above and option(cell, 'code-fold') == 'true': above = f'<details class="code-fold"><summary>Code</summary>{above}</details>'
    return f'<div class="cell">{above}{found}</div>'

def page(notebook):
    "The whole page, as text."
    settings = yaml.safe_load((NBS/'_quarto.yml').read_text(encoding='utf-8'))['format']['html']
    front = next((yaml.safe_load(o.source.strip().strip('-')) for o in notebook.cells[:1] if o.cell_type == 'raw'), {})
    wrap = 'pre-wrap' if settings.get('code-overflow') == 'wrap' else 'pre'
    base = BASE.replace('WIDTH', settings.get('grid', {}).get('body-width', '800px')).replace('WRAP', wrap)
    after = (NBS/settings['include-after-body']).read_text(encoding='utf-8') if 'include-after-body' in settings else ''
    return PAGE.format(title=html.escape(front.get('title', '')), description=html.escape(front.get('description', '')), mathjax=MATHJAX,
        base=base, own=(NBS/'styles.css').read_text(encoding='utf-8'), after=after, body='\n'.join(map(body_of, notebook.cells)))

def write_pages(out):
    "Make all pages; their names by notebook."
    from nbdev.serve import proc_nbs
    made,found = Path(proc_nbs(str(NBS), n_workers=0, force=True)),{}
    for path in NOTEBOOKS:
        name = path.relative_to(NBS)
        found[name.as_posix()] = to = Path(out)/name.with_suffix('.html')
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(page(nbformat.read(made/name, as_version=4)), encoding='utf-8')
    shutil.copytree(NBS/'images', Path(out)/'images', dirs_exist_ok=True)
    return found

if __name__ == '__main__': write_pages(sys.argv[1])
