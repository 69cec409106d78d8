"""The chapters as a reader sees them, in headless Chromium: `make browser`. Skipped where Chromium, Playwright or axe-core is missing. The pages are those of
`_docs` where Quarto has built them, else those of tools/render.py."""
import functools, http.server, json, os, shutil, sys, threading
from pathlib import Path

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT/'tools'))  # render.py, and what nbdev makes pages with
import claims

NOTEBOOKS = [o.relative_to(claims.NBS) for o in claims.NOTEBOOKS]
MODULES = Path(os.environ.get('BROWSER_MODULES', ROOT/'.browser'/'node_modules'))  # from npm: axe-core, mathjax
CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
FLAGS = ('--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync').split()

playwright = pytest.importorskip('playwright.sync_api', reason='no Playwright: make browser')
if not CHROMIUM: pytest.skip('no Chromium', allow_module_level=True)
if not (MODULES/'axe-core').is_dir(): pytest.skip('no axe-core: make browser', allow_module_level=True)

AXE = (MODULES/'axe-core'/'axe.min.js').read_text(encoding='utf-8')
# What ends beyond the edge of the window or of a box that does not scroll, so that it cannot be read
CUT = '''() => {
  const cut = [], width = document.documentElement.clientWidth;
  for (const o of document.querySelectorAll('main *:not(mjx-container *, svg *)')) {
    const r = o.getBoundingClientRect();
    if (!r.width || !o.checkVisibility()) continue;
    let edge = width, p = o.parentElement;
    for (; p; p = p.parentElement) {
      const x = getComputedStyle(p).overflowX;
      if (x === 'auto' || x === 'scroll') { edge = Infinity; break }
      if (x === 'hidden' || x === 'clip') { edge = Math.min(edge, p.getBoundingClientRect().right); break }
    }
    if (r.right > edge + 1) cut.push(`${o.tagName} ${o.className?.baseVal ?? o.className} ${Math.round(r.right)}: ${o.textContent.slice(0, 60)}`);
  }
  return {cut: cut.slice(0, 5), sideways: document.documentElement.scrollWidth - width};
}'''
WEIGHTY = '''async rules => (await axe.run({exclude: [['mjx-container'], ['svg *']]}, {resultTypes: ['violations'], ...(rules ? {runOnly: rules} : {})})).violations
  .filter(o => ['serious', 'critical'].includes(o.impact)).map(o => `${o.id}: ${o.nodes.length} times, ${o.nodes[0].html.slice(0, 200)}`)'''

@pytest.fixture(scope='module')
def chromium():
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()

@pytest.fixture(scope='module')
def site(tmp_path_factory):
    "Address of a server on this machine that has a page for each notebook."
    folder = ROOT/'_docs'
    if not (folder/'index.html').exists():
        from render import write_pages
        folder = tmp_path_factory.mktemp('site')
        write_pages(folder)
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *how): pass
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}', folder
        server.shutdown()

def page_of(notebook, folder):
    "Quarto's name has no number."
    path = folder/notebook.with_suffix('.html')
    return (path if path.exists() else path.with_name(path.name.partition('_')[2])).relative_to(folder).as_posix()

def open_page(chromium, address):
    "A page whose formulas are set, and what its console said."
    page,said = chromium.new_page(viewport=dict(width=1280, height=900)),[]
    page.set_default_timeout(180_000)  # a machine may be busy
    page.on('console', lambda o: said.append(o.text) if o.type == 'error' else None)
    page.on('pageerror', lambda o: said.append(str(o)))
    def local(route):  # nothing is loaded from elsewhere: formulas are set by MathJax of npm
        url = route.request.url
        path = MODULES/'mathjax'/url.partition('mathjax@3/')[2]
        if url.startswith('http://127.0.0.1:'): return route.continue_()
        return route.fulfill(path=path) if 'mathjax@3/' in url and path.is_file() else route.fulfill(body='')
    page.route('**/*', local)
    page.goto(address)
    page.evaluate('async () => { if (window.MathJax?.startup) await MathJax.startup.promise }')
    page.evaluate(AXE)
    return page, said

@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda o: o.stem)
def test_page(chromium, site, notebook):
    "At 1280 and 390 wide, light and dark: nothing cut, no sideways scroll, no word on the console, nothing serious for axe."
    address,folder = site
    page,said = open_page(chromium, f'{address}/{page_of(notebook, folder)}')
    shots = os.environ.get('BROWSER_SHOTS')  # folder for pictures of all pages
    found = {}
    for width in (1280, 390):
        page.set_viewport_size(dict(width=width, height=900))
        page.wait_for_timeout(100)  # until it has heard of its width
        for scheme in ('light', 'dark'):
            page.emulate_media(color_scheme=scheme)
            if scheme == 'light': found[width] = page.evaluate(CUT)
            rules = None if (width, scheme) == (1280, 'light') else ['color-contrast', 'scrollable-region-focusable', 'target-size']
            found[f'{width} {scheme}'] = page.evaluate(WEIGHTY, rules)
            if shots: page.screenshot(path=f'{shots}/{notebook.stem}-{width}-{scheme}.png', full_page=True)
    page.close()
    wrong = {k: v for k,v in found.items() if v and v != dict(cut=[], sideways=0)}
    assert not wrong and not said, json.dumps(dict(wrong, console=said), indent=1)

def test_a_fault_is_found(chromium, site):
    "The checks are able to fail."
    page,said = open_page(chromium, f'{site[0]}/index.html')
    page.evaluate('''() => { document.querySelector('main').insertAdjacentHTML('beforeend',
        '<p style="width:3000px;white-space:nowrap">wide</p><img src="data:," ><p style="color:#ccc;background:#fff">pale</p>'); console.error('a word') }''')
    cut,faults = page.evaluate(CUT),'\n'.join(page.evaluate(WEIGHTY, None))
    assert cut['sideways'] > 1000 and 'wide' in cut['cut'][0] and 'image-alt' in faults and 'color-contrast' in faults and 'a word' in said
    page.close()
