"Language models: a new process reads what was written, to the bit; interrupted generation goes on to the same file; the command line; mistakes are told."
import json, signal, subprocess, sys, time

import pytest
import torch
from conftest import clean_env, last_json

from distil_nb.core import Settings
from distil_nb.llm import docstrings, generate_responses, held_out
from distil_nb.lm import Sampling, lm_rows, load_lm, small_lm, train_lm, train_tokenizer
from distil_nb.models import keep_layers, save_checkpoint
from distil_nb.prune import prune_parts
from distil_nb.qat import fake_quantize
from distil_nb.quantize import SCHEMES, quantize
from test_bad_input import refused

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

def test_tied_head_is_stored_once_and_trained_as_it_will_be(tmp_path, folders):
    model,tokenizer = load_lm(folders/'teacher')
    ids = torch.arange(3, 30)[None]
    with torch.inference_mode(): torch.testing.assert_close(fake_quantize(model, SCHEMES['weight-int4'])(ids).logits, quantize(model, SCHEMES['weight-int4'])(ids).logits)
    save_checkpoint(quantize(model, SCHEMES['weight-int8']), tokenizer, tmp_path/'int8')
    assert (tmp_path/'int8'/'compressed.safetensors').stat().st_size < .32*(folders/'teacher'/'model.safetensors').stat().st_size

KILLED = """
import sys
from distil_nb.lm import Sampling, load_lm
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
    assert record == json.loads((tmp_path/'out'/'record.json').read_text()) | dict(out=str(tmp_path/'out'))
    assert record['method'] == method and len(record['history']) == 2 and 0 < record['held_out'] <= sum(held_out(o['prompt']) for o in PAIRS)
    assert record['rows'] + record['held_out'] + sum(n for k,n in record['trouble'].items() if k != 'cut') == len(PAIRS)
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
    with pytest.raises(CompressionError, match='no file of JSON lines'): generate_responses(model, tokenizer, ['a'], tmp_path/'o.jsonl', HOW)
    assert (tmp_path/'o.jsonl').read_text() == 'not json\n'

MEMORY = """
import resource, sys
from distil_nb.core import quiet
import torch
from transformers import AutoModelForCausalLM, LlamaConfig
from distil_nb.llm import keep_top_k
with quiet(): model = AutoModelForCausalLM.from_config(LlamaConfig(vocab_size=8000, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1, max_position_embeddings=64)).eval()
rows = [dict(input_ids=[3]*41, labels=[3]*41) for _ in range(int(sys.argv[2]))]
keep_top_k(model, rows, sys.argv[1], 4)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""

def test_kept_logits_are_never_in_memory_together(tmp_path):
    "1,500 rows would be 1.9 GB of logits in full; the peak is that of 64 rows."
    few,many = (int(subprocess.run([sys.executable, '-c', MEMORY, tmp_path/n, n], check=True, capture_output=True, text=True, env=clean_env()).stdout) for n in ('64', '1500'))
    assert many - few < 200_000  # kB
