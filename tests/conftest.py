"Things that more than one test file needs."
import json, os, signal, subprocess, sys
from pathlib import Path

import pytest

from distil_nb.cli import main
from distil_nb.sample import generate_urls

ROOT = Path(__file__).resolve().parent.parent

def quickly(*quick, of):
    "Parameters of which `make test` runs a few; `make slow` runs the others."
    return [pytest.param(o, marks=[] if o in quick else pytest.mark.slow) for o in of]

def clean_env(**more):
    "The environment without settings that steer the Hub."
    return {k: v for k,v in os.environ.items() if not k.startswith(('HF_', 'TRANSFORMERS_', 'HUGGING'))} | more

def start(*words, **env):
    "Start `distil-nb` as a process of its own, which hears Ctrl-C also where the tests run in the background of a script (there it would be ignored)."
    return subprocess.Popen([Path(sys.executable).with_name('distil-nb'), *map(str, words)], env=clean_env(**env), text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

def finish(process, timeout=240):
    "Exit status, standard output, standard error."
    out,err = process.communicate(timeout=timeout)
    return process.returncode, out, err

def on_two_processes(script, *words):
    "Run a script as torchrun does, on two processes; standard output."
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--local-addr', '127.0.0.1', '--nproc_per_node', '2', script, *words]
    done = subprocess.run([str(o) for o in command], env=clean_env(OMP_NUM_THREADS='1'), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout

@pytest.fixture
def run(capsys):
    "Run `distil-nb` in this process: exit status, standard output, standard error."
    def _run(*words):
        status = main([str(o) for o in words])
        return status, *capsys.readouterr()
    return _run

@pytest.fixture
def urls(tmp_path):
    "A folder of three small CSV splits."
    import pandas as pd
    folder = tmp_path/'urls'
    folder.mkdir()
    rows = pd.DataFrame(generate_urls(256, seed=7))
    for split,part in dict(train=rows[:128], validation=rows[128:192], test=rows[192:]).items(): part.to_csv(folder/f'{split}.csv', index=False)
    return folder

def last_json(text):
    "The JSON object in the last line."
    return json.loads(text.strip().splitlines()[-1])
