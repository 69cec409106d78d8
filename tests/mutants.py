"""Lines that carry an idea are changed, one at a time, and a test of their chapter has to notice.

    python tests/mutants.py [chapter …]     (`make mutants` runs all)

A chapter runs cell by cell, as `nbdev-test` runs it. Before an exported cell that has mutants, the process forks once for each: the child goes
on with the changed cell, to the first cell that fails. Killed means an AssertionError in a test cell; an error while something is defined or
imported, or any other error, kills nothing. The unchanged chapter has to pass."""
import json, os, shutil, signal, sys, tempfile, time, tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 900  # seconds a mutant may take
SKIPPED = {'slow', 'notest'}

def directives(source):
    "Words behind `#|` at the head of a cell."
    found = {}
    for line in source.splitlines():
        if not line.startswith('#|'): break
        name,_,rest = line[2:].strip().partition(' ')
        found[name.rstrip(':')] = rest.strip()
    return found

def chapters():
    "Name to code cells, in the reader's order: `(source, exported?)`."
    found = {}
    for path in sorted((ROOT/'nbs').glob('*.ipynb')):
        cells = [''.join(o['source']) for o in json.loads(path.read_text(encoding='utf-8'))['cells'] if o['cell_type'] == 'code']
        name = next((d['default_exp'] for d in map(directives, cells) if 'default_exp' in d), None)
        if name is None: continue
        told = [(o, directives(o)) for o in cells]
        found[name] = [(o, bool({'export', 'exporti', 'exports'} & set(d))) for o,d in told
                       if not SKIPPED & set(d) and d.get('eval') != 'false']
    return found

def places(cells, mutants):
    "Number of the cell that each mutant changes; its old text must be there exactly once."
    found = {}
    for m in mutants:
        hits = [(i, o.count(m['old'])) for i,(o,exported) in enumerate(cells) if exported and m['old'] in o]
        if sum(n for _,n in hits) != 1: sys.exit(f"{m['module']}: {m['old']!r} stands {sum(n for _,n in hits)} times in the exported cells")
        if m['old'] == m['new']: sys.exit(f"{m['module']}: {m['old']!r} is not changed")
        found.setdefault(hits[0][0], []).append(m)
    return found

def new_shell():
    "IPython without history or threads, which a fork would not survive."
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config
    config = Config()
    config.HistoryManager.enabled = False
    config.HistoryManager.hist_file = ':memory:'
    return InteractiveShell.instance(config=config)

def failure(shell, source):
    "The error of a cell, if it fails."
    from IPython.utils.capture import capture_output
    with capture_output(): result = shell.run_cell(source, store_history=False)
    return result.error_before_exec or result.error_in_exec

def line_of(error, source):
    "Text of the line of the cell that failed."
    number,trace = None,error.__traceback__
    while trace:
        if trace.tb_frame.f_globals.get('__name__') == '__main__' and number is None and trace.tb_frame.f_code.co_name.startswith(('<module>', '<cell')): number = trace.tb_lineno
        trace = trace.tb_next
    lines = source.splitlines()
    return lines[number - 1].strip()[:90] if number and number <= len(lines) else ''

def judged(shell, cells, i, mutant):
    "Run a chapter from its changed cell on: `(killed?, what happened)`."
    for j in range(i, len(cells)):
        source,exported = cells[j]
        if j == i: source = source.replace(mutant['old'], mutant['new'])
        if (error := failure(shell, source)) is None: continue
        killed = isinstance(error, AssertionError) and not exported
        return killed, line_of(error, source) if killed else f'{type(error).__name__}: {error}'.splitlines()[0][:150]
    return False, 'survives'

def in_fork(work, kept, number):
    "A child's answer; what it wrote below `kept` is put back to what it was."
    backup,told = kept.with_name('backup'),kept.with_name(f'answer{number}')
    shutil.rmtree(backup, ignore_errors=True)
    shutil.copytree(kept, backup, symlinks=True)
    if not (child := os.fork()):
        signal.alarm(LIMIT)
        answer = False, 'the harness failed'
        try: answer = work()
        except BaseException as e: answer = False, f'harness: {e!r}'
        finally:
            told.write_text(json.dumps(answer))
            os._exit(0)
    os.waitpid(child, 0)
    shutil.rmtree(kept, ignore_errors=True)
    backup.rename(kept)
    return json.loads(told.read_text()) if told.exists() else [False, f'ended, or took more than {LIMIT} seconds']

def run_chapter(name, cells, mutants):
    "Print what becomes of each mutant; the number of those that live."
    lives,at = 0,places(cells, mutants)
    os.chdir(ROOT/'nbs')
    with tempfile.TemporaryDirectory() as tmp:
        kept = Path(tmp)/'kept'
        for o in (kept, kept/'datasets'): o.mkdir()
        os.environ |= dict(TMPDIR=str(kept), HF_DATASETS_CACHE=str(kept/'datasets'))
        tempfile.tempdir = None
        shell = new_shell()
        for i,(source,_) in enumerate(cells):
            for m in at.get(i, ()):
                start = time.time()
                killed,what = in_fork(lambda: judged(shell, cells, i, m), kept, f'{i}')
                kept.with_name(f'answer{i}').unlink(missing_ok=True)
                lives += not killed
                print(f"{'killed ' if killed else 'LIVES  '} {name}: {m['old'].strip()[:60]!r} -> {m['new'].strip()[:60]!r} | {what} | {time.time() - start:.0f} s", flush=True)
            if i > max(at) and os.environ.get('MUTANTS_QUICK'): break
            if (error := failure(shell, source)) is not None:
                print(f'FAILS   {name}: the unchanged chapter: {type(error).__name__}: {str(error)[:200]} | {source[:100]!r}', flush=True)
                return lives + 1
    return lives

def main(wanted):
    mutants = tomllib.loads((ROOT/'tests/mutants.toml').read_text(encoding='utf-8'))['mutant']
    found,lives = chapters(),0
    if unknown := {m['module'] for m in mutants} - set(found): sys.exit(f'no such chapters: {unknown}')
    for name,cells in found.items(): places(cells, [m for m in mutants if m['module'] == name])
    for name,cells in found.items():
        own = [m for m in mutants if m['module'] == name]
        if not own or wanted and name not in wanted: continue
        sys.stdout.flush()
        if not (child := os.fork()):  # a process of its own: chapters change settings of libraries
            count = 99
            try: count = run_chapter(name, cells, own)
            except BaseException as e: print(f'{name}: {e!r}', flush=True)
            finally: os._exit(min(count, 99))
        lives += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(f'{len(mutants)} mutants, {lives} live' if not wanted else f'{lives} live')
    return bool(lives)

if __name__ == '__main__':
    os.environ |= dict(IN_TEST="1", OMP_NUM_THREADS='1', OMP_WAIT_POLICY='passive', HF_HUB_OFFLINE='1', TOKENIZERS_PARALLELISM='false')
    sys.path.insert(0, str(ROOT))
    sys.exit(main(sys.argv[1:]))
