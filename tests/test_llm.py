"Language models: a new process reads what was written, to the bit; interrupted generation goes on to the same file; the command line; mistakes are told."
import json, signal, subprocess, sys, time

import pytest
import torch
from datasets import Dataset
from conftest import clean_env, last_json, on_two_processes

import distil_nb.kept_logits as kept_logits
import distil_nb.llm as llm
import distil_nb.lm_distillation as lm_distillation
from distil_nb.calibrate import gptq
from distil_nb.checkpoints import save_checkpoint
from distil_nb.core import Settings
from distil_nb.generation import Sampling
from distil_nb.llm import docstrings, generate_responses, held_out
from distil_nb.lm import lm_rows, load_lm, perplexity, small_lm, train_lm, train_tokenizer
from distil_nb.lm_distillation import METHODS, distil_lm
from distil_nb.models import keep_layers
from distil_nb.prune import prune_parts
from distil_nb.qat import fake_quantize
from distil_nb.quantize import SCHEMES, Scheme, quantize
from test_bad_input import refused

pytestmark = pytest.mark.slow  # `make slow`: minutes, in processes of their own or with models that are trained

PAIRS = docstrings(['bisect', 'heapq', 'textwrap', 'string', 'shutil', 'random', 'statistics'])
HOW = Sampling(10, 1., top_k=40)

@pytest.fixture(scope='module')
def tokenizer(): return train_tokenizer([o['prompt'] + o['response'] for o in PAIRS], 400)

@pytest.fixture(scope='module')
def folders(tmp_path_factory, tokenizer):
    "A teacher that has learned a little, and a fresh student."
    folder = tmp_path_factory.mktemp('lm')
    teacher,_ = train_lm(small_lm(tokenizer, 64, 2), lm_rows(PAIRS, tokenizer, 160), Settings(epochs=2, lr=3e-3))
    save_checkpoint(teacher, tokenizer, folder/'teacher')
    save_checkpoint(small_lm(tokenizer, 32, 1), tokenizer, folder/'student')
    (folder/'pairs.jsonl').write_text('\n'.join(map(json.dumps, PAIRS)))
    (folder/'prompts.txt').write_text('\n'.join(o['prompt'] for o in PAIRS))
    return folder

CHANGES = dict(layers=lambda m: keep_layers(m, [1]), neurons=lambda m: prune_parts(m, neurons=[[*range(9)], [*range(20)]]), int8=lambda m: quantize(m, SCHEMES['weight-int8']),
    int4=lambda m: quantize(m, SCHEMES['weight-int4']), both=lambda m: quantize(prune_parts(m, neurons=[[*range(32)], [*range(64)]]), SCHEMES['weight-int4']))

@pytest.mark.parametrize('change', CHANGES)
def test_reloads_to_the_bit_in_a_new_process(tmp_path, folders, change):
    model,tokenizer = load_lm(folders/'teacher')
    small = CHANGES[change](model)
    save_checkpoint(small, tokenizer, tmp_path/'small')
    code = f"import torch; from distil_nb.lm import load_lm; m,t = load_lm({str(tmp_path/'small')!r}); torch.save(m(torch.arange(3, 30)[None]).logits.detach(), {str(tmp_path/'logits')!r})"
    subprocess.run([sys.executable, '-c', code], check=True, env=clean_env())
    with torch.inference_mode(): assert torch.equal(torch.load(tmp_path/'logits'), small(torch.arange(3, 30)[None]).logits)

@pytest.mark.parametrize('change', CHANGES)
def test_stop_tokens_stay(tmp_path, folders, change):
    "What the model was told to stop at, it is still told after any change, a saving and a loading."
    model,tokenizer = load_lm(folders/'teacher')
    model.generation_config.eos_token_id = [1, 5]
    save_checkpoint(CHANGES[change](model), tokenizer, tmp_path/'small')
    assert load_lm(tmp_path/'small')[0].generation_config.eos_token_id == [1, 5]

def test_tied_head_is_stored_once_and_trained_as_it_will_be(tmp_path, folders):
    model,tokenizer = load_lm(folders/'teacher')
    ids = torch.arange(3, 30)[None]
    with torch.inference_mode(): torch.testing.assert_close(fake_quantize(model, SCHEMES['weight-int4'])(ids).logits, quantize(model, SCHEMES['weight-int4'])(ids).logits)
    save_checkpoint(quantize(model, SCHEMES['weight-int8']), tokenizer, tmp_path/'int8')
    assert (tmp_path/'int8'/'compressed.safetensors').stat().st_size < .32*(folders/'teacher'/'model.safetensors').stat().st_size

def test_rounding_that_looks_at_data_keeps_perplexity(tmp_path, folders):
    "Three bits a row, looking at rows as they are trained on; a saved model is the same."
    model,tokenizer = load_lm(folders/'teacher')
    rows = lm_rows(PAIRS, tokenizer, 160)
    small = gptq(model, tokenizer, Dataset.from_list(rows), Scheme(3))
    whole,nearest,looked = (perplexity(o, rows) for o in (model, quantize(model, Scheme(3)), small))
    assert abs(looked - whole) < .5*(nearest - whole)
    save_checkpoint(small, tokenizer, tmp_path/'small')
    assert perplexity(load_lm(tmp_path/'small')[0], rows) == looked

KILLED = """
import sys
from distil_nb.generation import Sampling
from distil_nb.lm import load_lm
from distil_nb.llm import generate_responses
from pathlib import Path
folder,out = sys.argv[1:]
model,tokenizer = load_lm(f'{folder}/teacher')
generate_responses(model, tokenizer, Path(f'{folder}/prompts.txt').read_text().splitlines(), out, Sampling(10, 1., top_k=40), 2, 'teacher')
"""

def test_killed_generation_goes_on_to_the_same_file(tmp_path, folders):
    model,tokenizer = load_lm(folders/'teacher')
    prompts = (folders/'prompts.txt').read_text().splitlines()
    whole = generate_responses(model, tokenizer, prompts, tmp_path/'whole.jsonl', HOW, 2, 'teacher')
    out = tmp_path/'killed.jsonl'
    process = subprocess.Popen([sys.executable, '-c', KILLED, folders, out], env=clean_env())
    while not out.exists() or not out.stat().st_size: time.sleep(.01); assert process.poll() is None
    process.send_signal(signal.SIGKILL); process.wait()
    written = out.read_bytes()
    assert written and (tmp_path/'whole.jsonl').read_bytes().startswith(written) and len(written) < (tmp_path/'whole.jsonl').stat().st_size
    with out.open('ab') as f: f.write(b'{"prompt": "def half')
    assert generate_responses(model, tokenizer, prompts, out, HOW, 2, 'teacher') == whole
    assert out.read_bytes() == (tmp_path/'whole.jsonl').read_bytes()

@pytest.mark.parametrize('method', ['sequence', 'soft', 'on-policy'])
def test_command(run, tmp_path, folders, method):
    file = 'pairs.jsonl' if method == 'soft' else 'prompts.txt'
    status,out,err = run('distil-lm', '--teacher', folders/'teacher', '--student', folders/'student', '--prompts', folders/file, '--out', tmp_path/'out', '--method', method,
        '--loss', 'js', '--max-new-tokens', 8, '--sampling-temperature', 1, '--epochs', 2, '--lr', .01, '--batch-size', 16, '--json')
    assert status == 0, err
    record = last_json(out)
    stored = json.loads((tmp_path/'out'/'record.json').read_text())
    assert {k: v for k,v in stored.items() if k != 'files'} | dict(out=str(tmp_path/'out')) == record
    assert record['method'] == method and len(record['history']) == 2 and 0 < record['held_out'] <= sum(held_out(o['prompt']) for o in PAIRS)
    assert record['rows'] + record['validation'] + record['held_out'] + sum(n for k,n in record['trouble'].items() if k != 'cut') == len(PAIRS)
    if method != 'on-policy': assert record['after']['perplexity'] < record['before']['perplexity']
    model,_ = load_lm(tmp_path/'out')
    assert model.num_parameters() == record['parameters'] < record['teacher_parameters'] and not list(tmp_path.glob('*partial*'))

def test_bad_pairs(run, tmp_path, folders, tokenizer):
    def words(**o):
        o = dict(teacher=folders/'teacher', student=folders/'student', prompts=folders/'prompts.txt', out=tmp_path/'out') | o
        return ['distil-lm', *(w for k,v in o.items() for w in (f'--{k.replace("_", "-")}', v))]
    other = train_tokenizer([o['response'] for o in PAIRS], 300)
    save_checkpoint(small_lm(other, 32, 1), other, tmp_path/'other')
    save_checkpoint(quantize(load_lm(folders/'student')[0], SCHEMES['weight-int8']), tokenizer, tmp_path/'int8')
    for name,text in {'empty.txt': '\n\n', 'half.jsonl': '{"prompt": "a"', 'other.jsonl': '{"text": "a"}', 'mixed.jsonl': '{"prompt": "a", "response": "b"}\n{"prompt": "c"}', 'few.txt': 'a\nb', 'long.txt': '\n'.join(o['prompt'] for o in PAIRS) + '\n' + 'x y '*400}.items():
        (tmp_path/name).write_text(text)
    for more,said in ((dict(teacher='sample'), ['no language-model head', 'sample']), (dict(student=tmp_path/'other'), ['different vocabularies', '--method sequence']), (dict(student=tmp_path/'int8'), ['quantized already']),
        (dict(method='hard'), ["'hard'", 'sequence']), (dict(loss='kl'), ["'kl'", 'reverse']), (dict(top_k=-1), ['-1']), (dict(top_k=4000), ['4000']), (dict(max_new_tokens=0), ['max_new_tokens']),
        (dict(sampling_temperature=-1), ['-1']), (dict(temperature=0), ['temperature']), (dict(prompts=tmp_path/'none.txt'), ['no file']), (dict(prompts=tmp_path/'empty.txt'), ['no prompts']),
        (dict(prompts=tmp_path/'half.jsonl'), ['cannot read']), (dict(prompts=tmp_path/'other.jsonl'), ['row 1']), (dict(prompts=tmp_path/'mixed.jsonl'), ['row 2']),
        (dict(prompts=tmp_path/'few.txt', max_new_tokens=4), ['too few']), (dict(prompts=tmp_path/'long.txt'), ["'x y", 'context'])):
        refused(run, tmp_path, words(**more), *said)

def test_damaged_responses(tmp_path, folders):
    from distil_nb.core import CompressionError
    model,tokenizer = load_lm(folders/'teacher')
    (tmp_path/'o.jsonl').write_text('not json\n')
    with pytest.raises(CompressionError, match='no file of responses'): generate_responses(model, tokenizer, ['a'], tmp_path/'o.jsonl', HOW)
    assert (tmp_path/'o.jsonl').read_text() == 'not json\n'

MEMORY = """
import resource, sys
from distil_nb.core import quiet
import torch
from transformers import AutoModelForCausalLM, LlamaConfig
from distil_nb.kept_logits import keep_top_k
with quiet(): model = AutoModelForCausalLM.from_config(LlamaConfig(vocab_size=8000, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1, max_position_embeddings=64)).eval()
rows = [dict(input_ids=[3]*41, labels=[3]*41) for _ in range(int(sys.argv[2]))]
keep_top_k(model, rows, sys.argv[1], 4)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""

def test_kept_logits_are_never_in_memory_together(tmp_path):
    "1,500 rows would be 1.9 GB of logits in full; the peak is that of 64 rows."
    few,many = (int(subprocess.run([sys.executable, '-c', MEMORY, tmp_path/n, n], check=True, capture_output=True, text=True, env=clean_env()).stdout) for n in ('64', '1500'))
    assert many - few < 200_000  # kB

class Killed(BaseException): "Stands for whatever ends a process."

def kill(*_, **__): raise Killed

def after(function):
    "Do what it does, then end."
    def both(*args, **how):
        function(*args, **how)
        raise Killed
    return both

PHASES = {'responses': (llm, '_append', after(llm._append)), 'asking': (kept_logits, 'label_logits', kill),
    'kept': (lm_distillation, 'run_and_record', kill), 'epoch': None, 'saving': (lm_distillation, 'save_checkpoint', kill)}

def parts(folder):
    "What must be the same: the weights to the byte, and all that the record says but times."
    record = json.loads((folder/'record.json').read_text())
    for o in record['history']: o.pop('seconds')
    return (folder/'model.safetensors').read_bytes(), record

@pytest.mark.parametrize('method', [pytest.param(o, marks=[] if o == 'soft' else pytest.mark.slow) for o in METHODS])
def test_goes_on_after_every_phase(tmp_path, folders, monkeypatch, method):
    "Killed while the teacher writes, while it is asked, before the training, after an epoch, and while the result is written."
    def run(out, **how):
        return distil_lm(folders/'teacher', folders/'student', folders/'prompts.txt', out, method, top_k=8, sampling=Sampling(8, 1.),
            settings=Settings(epochs=2, lr=1e-2, batch_size=16, temperature=1., accumulate=2), **how)
    run(tmp_path/'whole')
    whole = parts(tmp_path/'whole')
    for phase,where in PHASES.items():
        if phase == 'asking' and method != 'soft': continue
        out = tmp_path/phase
        with monkeypatch.context() as patched, pytest.raises(Killed):
            if where: patched.setattr(*where)
            run(out, report=None if where else kill)
        assert (tmp_path/f'{phase}.partial'/'responses.jsonl').exists() and not out.exists()
        epochs,asked = [],[]
        with monkeypatch.context() as patched:
            honest = kept_logits._reserve
            patched.setattr(kept_logits, '_reserve', lambda *args: asked.append(args) or honest(*args))
            run(out, resume=True, report=lambda record: epochs.append(record['epoch']))
        assert parts(out) == whole, phase
        assert epochs == {'epoch': [2], 'saving': []}.get(phase, [1, 2])
        assert bool(asked) == (method == 'soft' and phase in ('responses', 'asking')), phase  # what is whole is not asked for again
        assert not list(tmp_path.glob('*partial*'))

def test_damaged_kept_logits_are_made_again(tmp_path, folders, monkeypatch, capsys):
    def run(out, **how):
        return distil_lm(folders/'teacher', folders/'student', folders/'pairs.jsonl', out, 'soft', top_k=8, settings=Settings(epochs=1, temperature=1.), **how)
    run(tmp_path/'whole')
    for damage in ('cut', 'flipped', 'gone', 'other temperature'):
        out = tmp_path/damage
        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(lm_distillation, 'run_and_record', kill)
            run(out)
        folder = tmp_path/f'{damage}.partial'/'kept'
        assert folder.exists()  # also where no response was asked for
        file,note = folder/'log_p.npy',folder/'kept.json'
        whole = file.read_bytes()
        if damage == 'cut': file.write_bytes(whole[:len(whole)//2])
        if damage == 'flipped': file.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        if damage == 'gone': file.unlink()
        if damage == 'other temperature': note.write_text(json.dumps(json.loads(note.read_text()) | dict(run='another')))
        capsys.readouterr()
        run(out, resume=True)
        said = capsys.readouterr().err.strip()
        assert 'the teacher has to be asked again' in said and '\n' not in said
        assert parts(out) == parts(tmp_path/'whole'), damage

def test_another_teacher_is_refused(tmp_path, folders, tokenizer, monkeypatch):
    "Its responses would be those of the first."
    save_checkpoint(load_lm(folders/'teacher')[0], tokenizer, tmp_path/'teacher')
    def run(**how): return distil_lm(tmp_path/'teacher', folders/'student', folders/'prompts.txt', tmp_path/'out', 'sequence', sampling=Sampling(8, 1.), settings=Settings(epochs=1), **how)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(lm_distillation, 'run_and_record', kill)
        run()
    save_checkpoint(small_lm(tokenizer, 64, 2, seed=9), tokenizer, tmp_path/'teacher', overwrite=True)
    with pytest.raises(ValueError, match='another teacher'): run(resume=True)

KILLED_RUN = """
import os, signal, sys
from distil_nb.core import Settings
from distil_nb.lm_distillation import distil_lm
folder,out = sys.argv[1:]
def kill(record): os.kill(os.getpid(), signal.SIGKILL)
distil_lm(f'{folder}/teacher', f'{folder}/student', f'{folder}/pairs.jsonl', out, 'soft', top_k=8, settings=Settings(epochs=2, temperature=1.), report=kill)
"""

def test_goes_on_after_a_real_kill(tmp_path, folders):
    how = dict(method='soft', top_k=8, settings=Settings(epochs=2, temperature=1.))
    distil_lm(folders/'teacher', folders/'student', folders/'pairs.jsonl', tmp_path/'whole', **how)
    done = subprocess.run([sys.executable, '-c', KILLED_RUN, folders, tmp_path/'out'], env=clean_env())
    assert done.returncode == -signal.SIGKILL and (tmp_path/'out.partial'/'state.safetensors').exists()
    epochs = []
    distil_lm(folders/'teacher', folders/'student', folders/'pairs.jsonl', tmp_path/'out', resume=True, report=lambda o: epochs.append(o['epoch']), **how)
    assert epochs == [2] and parts(tmp_path/'out') == parts(tmp_path/'whole')

TWO = """
import sys
from pathlib import Path
import distil_nb.lm_distillation as lm_distillation
from distil_nb.core import Settings
from distil_nb.generation import Sampling
from distil_nb.runs import processes, weights_fingerprint
if __name__ == '__main__':
    folder,out = sys.argv[1:]
    honest,said = lm_distillation.run_and_record,[]
    def watched(*args):
        model,record = honest(*args)
        said.append(weights_fingerprint(model))
        return model, record
    lm_distillation.run_and_record = watched
    for method in lm_distillation.METHODS:
        lm_distillation.distil_lm(f'{folder}/teacher', f'{folder}/student', f'{folder}/prompts.txt', f'{out}/{method}', method, top_k=8,
            settings=Settings(epochs=2, batch_size=8, accumulate=2, lr=1e-2, temperature=1.), sampling=Sampling(8, 1.))
    Path(f'{out}/said {processes().process_index}').write_text(' '.join(said))
"""

@pytest.mark.slow
def test_two_processes(tmp_path, folders):
    "Both end with one model; one of them writes responses and keeps logits, and the other reads them."
    (tmp_path/'go.py').write_text(TWO)
    on_two_processes(tmp_path/'go.py', folders, tmp_path)
    first,second = ((tmp_path/f'said {i}').read_text() for i in (0, 1))
    assert first == second and len(set(first.split())) == 3
    assert not list(tmp_path.glob('*partial*')) and all((tmp_path/o/'record.json').exists() for o in METHODS)
