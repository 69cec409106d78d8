"""Which cell proves it? Each sentence of a `>` line and of a summary is a claim, and `tests/claims.toml` says which cells of the same notebook assert it.

Usage: python tools/claims.py [NOTEBOOK …]     (prints the table as Markdown)
"""
import re, sys, tomllib
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT/'nbs'
NOTEBOOKS = sorted(o for o in NBS.rglob('*.ipynb') if '.ipynb_checkpoints' not in o.parts and not o.relative_to(NBS).parts[0].startswith('_'))
TABLE = ROOT/'tests'/'claims.toml'
ASSERTS = re.compile(r'\bassert\b|\b(test_\w+|expect_fail|assert_\w+|raises)\(')

def notebooks(names=()):
    "Each by its name, as the table calls it; some, or all."
    named = {str(o.relative_to(NBS).with_suffix('')): o for o in NOTEBOOKS}
    return {k: nbformat.read(named[k], 4) for k in names or named}

def sentences(text):
    "Prose, sentence by sentence; a full stop within code, as in `a.b`, ends none."
    return [o for o in re.split(r'(?<=[.!?])[\'")]*\s+(?=[A-Z`*"\'\d])', ' '.join(text.split())) if o]

def summary(book):
    "What stands below the heading, down to what a reader is to try."
    told,inside = [],False
    for cell in book.cells:
        if cell.cell_type != 'markdown': continue
        for line in cell.source.splitlines():
            if line.startswith(('#', '**On ', '**Exercise')): inside = line.strip('# ') == 'Summary'
            elif inside: told.append(line)
    return '\n'.join(told)

def claims(book):
    "Every sentence that claims something: of the `>` line, then of the summary."
    lead = ' '.join(o.removeprefix('>') for o in book.cells[0].source.splitlines() if o.startswith('>'))
    return sentences(lead) + sentences(summary(book))

def table():
    "What the file says, by notebook."
    found = {}
    for o in tomllib.loads(TABLE.read_text(encoding='utf-8'))['claim']: found.setdefault(o['notebook'], []).append(o)
    return found

def faults(name, book, rows):
    "Claims without a row, rows without a claim, cells that assert nothing."
    said,cells = claims(book),{o.id: o.source for o in book.cells if o.cell_type == 'code'}
    for row in rows:
        if len([o for o in said if o.startswith(row['text'])]) != 1: yield f'{name}: no single claim begins {row["text"]!r}'
        for id in row.get('cells', []):
            if not ASSERTS.search(cells.get(id, '')): yield f'{name}: cell {id} asserts nothing, or is not there'
        if not row.get('cells') and not row.get('why'): yield f'{name}: no cell proves {row["text"]!r}, and no word says why'
    for claim in said:
        if not any(claim.startswith(o['text']) for o in rows): yield f'{name}: nothing is said of {claim!r}'

if __name__ == '__main__':
    rows = table()
    print('| notebook | claim | asserted in cell |\n|---|---|---|')
    for name,book in notebooks(sys.argv[1:]).items():
        for o in rows.get(name, []):
            claim, = [c for c in claims(book) if c.startswith(o['text'])]
            print(f'| {name} | {claim} | {", ".join(o.get("cells", [])) or o["why"]} |'.replace('\n', ' '))
