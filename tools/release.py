"""May this tag be released? It names the version of the package, and the changelog has a section of that version.

Usage: python tools/release.py v1.2.3
"""
import re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

def trouble(tag):
    "What does not fit; empty if all does."
    version = re.search(r'__version__ = "(.+)"', (ROOT/'distil_nb'/'__init__.py').read_text(encoding='utf-8'))[1]
    if tag != f'v{version}': return f'tag {tag}, but distil_nb/__init__.py says {version}'
    if not re.search(rf'^## {re.escape(version)}\b', (ROOT/'CHANGELOG.md').read_text(encoding='utf-8'), re.M): return f'CHANGELOG.md has no section {version}'
    return ''

if __name__ == '__main__':
    found = trouble(*sys.argv[1:])
    print(found or 'ready')
    sys.exit(bool(found))
