"""Hostile input from files: whatever stands in them, a command ends with status 0 or 2, a refusal is one line, and nothing is left behind.

Inputs are generated from a seed. All run in forks of one warm process with one thread; a fork that dies or hangs is a failure of its input."""
import contextlib, io, json, os, random, re, shutil, signal, struct, sys, time

import pytest

from distil_nb.core import Settings

pytestmark = pytest.mark.slow  # `make slow`: minutes, in processes of their own or with models that are trained

N = dict(data=110, config=70, tokenizer=50, weights=50, onnx=30, cache=20, kept=20)
LIMIT = 20  # seconds for one command
ROWS = [dict(text=f'http://{"ab"[i%2]}{i}.example/login', labels=i%2) for i in range(24)]
ODD = [None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 1e308, .5, '', ' ', '0', 'x', 'nan', [], [0], [[1, 2]], {}, dict(a=1), '\u2028', '\x00', '\x1b[31m', '\ufeff', 'a\nb']

def lines(rows): return '\n'.join(json.dumps(o) for o in rows).encode() + b'\n'

def damaged(draw, raw):
    "Bytes with something wrong."
    raw = bytearray(raw)
    how = draw.randrange(6)
    if how == 0: return bytes(raw[:draw.randrange(len(raw))])
    if how == 1:
        for _ in range(draw.choice([1, 8, 64])): raw[draw.randrange(len(raw))] = draw.randrange(256)
    if how == 2: return bytes(raw) + draw.randbytes(draw.choice([1, 1000]))
    if how == 3: return draw.randbytes(draw.choice([0, 1, 8, 1000]))
    if how == 4: raw[:16] = draw.randbytes(16)
    if how == 5: return draw.choice([b'', b'null', b'[]', b'{}', b'"x"', b'\xff\xfe', b'\x00'*64, b'[' * 5000, b'{"a":' * 3000])
    return bytes(raw)

def data(draw, folder):
    "A file of rows with odd values, names, bytes or lines."
    rows,ending = [dict(o) for o in ROWS],draw.choice(['jsonl', 'jsonl', 'json', 'csv', 'txt', 'parquet', 'tsv'])
    for _ in range(draw.choice([1, 1, 3, 24])):
        row,key = draw.choice(rows),draw.choice(['text', 'labels', 'labels', 'label', 'more'])
        if draw.random() < .1: row.pop(key, None)
        else: row[key] = draw.choice(ODD)
    if draw.random() < .1: rows = [o | {str(i): i for i in range(2000)} for o in rows[:6]]
    if draw.random() < .15: rows = [dict(o, labels=draw.choice(ODD)) for o in rows]
    path = folder/f'rows.{ending}'
    if ending in ('csv', 'tsv'):
        import pandas as pd
        pd.DataFrame(rows).to_csv(path, index=False, sep=',\t'[ending == 'tsv'])
    elif ending == 'parquet':
        import pandas as pd
        try: pd.DataFrame(rows).to_parquet(path)
        except Exception: pd.DataFrame(rows).astype(str).to_parquet(path)
    elif ending == 'json': path.write_text(json.dumps(rows))
    else: path.write_bytes(lines(rows))
    if draw.random() < .35: path.write_bytes(damaged(draw, path.read_bytes()))
    column = ['--text-column', draw.choice(['text', 'more', '', 'nothing'])] if draw.random() < .15 else []
    return draw.choice([['predict', 'sample', '--file', path], ['evaluate', 'sample', '--data', path]]) + column

def checkpoint(folder):
    from distil_nb.checkpoints import SAMPLE_TEACHER
    return shutil.copytree(SAMPLE_TEACHER, folder/'model')

def use(draw, model):
    "A command that reads a checkpoint."
    out = model.parent/'out'
    rare = [['quantize', model, '--out', out], ['prune', model, '--neurons', '.5', '--data', 'sample', '--out', out]]
    return draw.choice([['predict', model, 'http://a.example/x', 'b'], ['predict', model, 'http://a.example/x'], rare[draw.random() < .2]])

def change(draw, told):
    "An object with odd values in it."
    for _ in range(draw.choice([1, 1, 2])):
        place = told
        while (inner := [v for v in place.values() if isinstance(v, dict) and v]) and draw.random() < .4: place = draw.choice(inner)
        key = draw.choice(list(place))
        if draw.random() < .15: place.pop(key)
        else: place[key] = draw.choice(ODD + [10**9, -5, 'bert', 'gpt2', 3])
    return told

MORE = [dict(auto_map={'AutoConfig': 'evil.C', 'AutoModelForSequenceClassification': 'evil.M'}, model_type='unheard'), dict(return_dict=False), dict(torchscript=True),
    dict(num_labels=10**9), dict(num_hidden_layers=10**9), dict(chunk_size_feed_forward=7), dict(problem_type='regression'), dict(output_attentions=True),
    dict(quantization_config=dict(quant_method='gptq', bits=4)), dict(id2label={'0': 'a', '7': 'b'}), dict(dtype='float99'), dict(architectures=['os.system'])]

def config(draw, folder):
    "A configuration with odd values, or damaged."
    model = checkpoint(folder)
    path = model/'config.json'
    told = json.loads(path.read_text())
    told = told | draw.choice(MORE) if draw.random() < .3 else change(draw, told)
    path.write_text(json.dumps(told))
    (model/'evil.py').write_text(f'open({str(folder/"CODE_RAN")!r}, "w")')
    if draw.random() < .15: path.write_bytes(damaged(draw, path.read_bytes()))
    return use(draw, model)

def tokenizer(draw, folder):
    "A tokenizer with odd values, or damaged."
    model = checkpoint(folder)
    path = model/draw.choice(['tokenizer.json', 'tokenizer_config.json'])
    if draw.random() < .3: path.write_bytes(damaged(draw, path.read_bytes()))
    else: path.write_text(json.dumps(change(draw, json.loads(path.read_text()))))
    return use(draw, model)

def weights(draw, folder):
    "A weight file with odd numbers, names or shapes, or damaged."
    import torch
    from safetensors.torch import load_file, save_file
    model = checkpoint(folder)
    path = model/'model.safetensors'
    if draw.random() < .4: path.write_bytes(damaged(draw, path.read_bytes()))
    elif draw.random() < .3:  # the header
        raw = path.read_bytes()
        size = struct.unpack('<Q', raw[:8])[0]
        header = json.dumps(change(draw, json.loads(raw[8:8+size]))).encode()
        path.write_bytes(struct.pack('<Q', draw.choice([len(header), 2**40, 0])) + header + raw[8+size:])
    else:
        state = load_file(path)
        name = draw.choice(list(state))
        how = draw.randrange(6)
        if how == 0: state[name].view(-1)[0] = draw.choice([float('nan'), float('inf')])
        if how == 1: state[name] = state[name].flatten()[:-1].clone()
        if how == 2: state[name + 'x'] = state.pop(name)
        if how == 3: state[name] = state[name].to(draw.choice([torch.float16, torch.int8, torch.bool]))
        if how == 4: state[name] = state[name]*1e38
        if how == 5: state = {}
        save_file(state, path, metadata=dict(format='pt'))
    return use(draw, model)

def onnx(draw, folder):
    "An ONNX file that is damaged, or of another network."
    import onnx as o
    from onnx import TensorProto as T, helper as h
    model = checkpoint(folder)
    (model/'model.safetensors').unlink()
    kind,width = draw.choice([T.INT64, T.FLOAT, T.STRING]),draw.choice([1, 2, 3, 1000])
    names = draw.choice([['input_ids', 'attention_mask'], ['input_ids'], ['x'], ['input_ids', 'attention_mask', 'more']])
    inputs = [h.make_tensor_value_info(n, kind, draw.choice([['b', 't'], [1, 1], ['b']])) for n in names]
    value = h.make_tensor('v', T.FLOAT, [width], [draw.choice([0., float('nan'), 1e38])]*width)
    nodes = [h.make_node('Constant', [], ['row'], value=value), h.make_node('Unsqueeze', ['row', 'axis'], ['logits'])]
    out = h.make_tensor_value_info(draw.choice(['logits', 'y', '']), T.FLOAT, None)
    nodes[1].output[0] = out.name or 'z'
    graph = h.make_graph(nodes, 'g', inputs, [out], [h.make_tensor('axis', T.INT64, [1], [0])])
    raw = h.make_model(graph, opset_imports=[h.make_opsetid('', draw.choice([13, 17, 999]))]).SerializeToString()
    (model/'model.onnx').write_bytes(raw if draw.random() < .6 else damaged(draw, raw))
    return ['predict', model, 'http://a.example/x', 'b'][:draw.choice([3, 4])]

def cache(draw, folder):
    "What an earlier command kept, damaged."
    path = folder/'rows.jsonl'
    path.write_bytes(lines(ROWS))
    kept = os.environ['HF_DATASETS_CACHE']
    for base,_,names in os.walk(kept):
        for name in names:
            if draw.random() < .7:
                file = os.path.join(base, name)
                with open(file, 'rb') as f: raw = f.read()
                if raw:
                    os.unlink(file)  # mapped files of the parent stay as they are
                    with open(file, 'wb') as f: f.write(damaged(draw, raw))
    return distilled(path, folder/'out') if draw.random() < .25 else ['evaluate', 'sample', '--data', path]

def distilled(path, out): return ['distil', '--data', path, '--teacher', 'sample', '--epochs', 1, '--out', out]

def soft(folder): return ['distil-lm', '--teacher', folder/'teacher', '--student', folder/'student', '--prompts', folder/'pairs.jsonl', '--method', 'soft',
    '--top-k', 8, '--epochs', 1, '--out', folder/'out', '--resume']

def stopped_run(folder):
    "A distillation of a language model that was stopped when the teacher had been asked."
    from unittest.mock import patch
    from distil_nb import lm_distillation
    from distil_nb.checkpoints import save_checkpoint
    from distil_nb.lm import small_lm, train_tokenizer
    pairs = [dict(prompt=f'add {i} and {i+1}', response=f'that is {2*i+1}') for i in range(24)]
    tokenizer = train_tokenizer([o['prompt'] + o['response'] for o in pairs], 300)
    for name,width in dict(teacher=32, student=16).items(): save_checkpoint(small_lm(tokenizer, width, 1), tokenizer, folder/name)
    (folder/'pairs.jsonl').write_bytes(lines(pairs))
    with patch.object(lm_distillation, 'run_and_record', side_effect=KeyboardInterrupt), contextlib.suppress(KeyboardInterrupt):
        lm_distillation.distil_lm(folder/'teacher', folder/'student', folder/'pairs.jsonl', folder/'out', 'soft', top_k=8, settings=Settings(epochs=1, temperature=1.))
    assert (folder/'out.partial'/'kept').exists()

def kept(draw, folder):
    "Probabilities and notes that a stopped run left, damaged."
    shutil.copytree(STOPPED, folder, dirs_exist_ok=True)
    file = draw.choice(sorted(o for o in (folder/'out.partial').rglob('*') if o.is_file() and o.stat().st_size))
    if file.suffix == '.json' and draw.random() < .5: file.write_text(json.dumps(change(draw, json.loads(file.read_text()))))
    else: file.write_bytes(damaged(draw, file.read_bytes()))
    return soft(folder)

# lines that may stand before a refusal
NOTICES = 'columns that are not used', 'the teacher has to be asked again'

def listing(folder): return {str(o.relative_to(folder)): o.lstat().st_size for o in folder.rglob('*')}

def answer(words):
    "Status, standard output and standard error of one command in a fork; what passes by Python counts too."
    read,write = os.pipe()
    if not (child := os.fork()):
        status = 99
        try:
            os.close(read)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(LIMIT)
            err = os.fdopen(os.memfd_create('err'), 'w+')
            os.dup2(err.fileno(), 2)
            sys.stderr = os.fdopen(2, 'w', closefd=False)
            out = sys.stdout = io.StringIO()
            from distil_nb.cli import main
            try: status = main([str(o) for o in words])
            except BaseException as e: status = f'{type(e).__name__}: {str(e)[:300]}'
            sys.stderr.flush()
            err.seek(0)
            with os.fdopen(write, 'w') as f: f.write(json.dumps([status, out.getvalue()[:500], err.read()[:3000]]))
        finally: os._exit(0)
    os.close(write)
    with os.fdopen(read) as f: told = f.read()
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return json.loads(told) if told else [f'ended with {ended}', '', '']

def trouble(words, folder):
    "What is wrong with how a command ends; nothing if all is well."
    before = listing(folder)
    status,out,err = answer(words)
    left = sorted(listing(folder).keys() - before.keys())
    shown = [o for o in err.rstrip('\n').split('\n') if not (o.startswith('distil-nb: ') and any(n in o for n in NOTICES)) and not re.match(r'epoch \d', o)]
    if status not in (0, 2): return f'status {status} {err[-300:]!r}'
    if any('CODE_RAN' in o for o in left): return 'code of the checkpoint ran'
    if status == 2 and (out or len(shown) != 1 or not shown[0].startswith('distil-nb: ')): return f'not one line: {out[:200]!r} {err[:400]!r}'
    if status == 2 and any(not o.isprintable() for o in shown[0]): return f'control characters: {shown[0][:200]!r}'
    if status == 2 and left: return f'left behind: {left[:3]}'
    if status == 0 and 'NaN' in out: return f'no number: {out[:200]!r}'

@pytest.fixture(scope='module')
def warm(tmp_path_factory):
    "Everything is imported once, in one thread; a small cache is there to be damaged."
    import datasets, torch
    torch.set_num_threads(1)
    from distil_nb.cli import main
    kept = tmp_path_factory.mktemp('datasets')
    old = datasets.config.HF_DATASETS_CACHE,os.environ.get('HF_DATASETS_CACHE')
    datasets.config.HF_DATASETS_CACHE = kept
    os.environ['HF_DATASETS_CACHE'] = str(kept)
    rows = tmp_path_factory.mktemp('warm')/'rows.jsonl'
    rows.write_bytes(lines(ROWS))
    import distil_nb.prune, distil_nb.quantize, distil_nb.export, onnxruntime, onnx, pandas  # noqa
    answer(['evaluate', 'sample', '--data', rows])
    answer(distilled(rows, rows.with_name('student')))
    global STOPPED
    STOPPED = tmp_path_factory.mktemp('stopped')
    stopped_run(STOPPED)
    whole = shutil.copytree(STOPPED, rows.with_name('whole'))
    status,_,said = answer(soft(whole))
    assert status == 0 and 'asked again' not in said  # what is whole is gone on with
    answer(['prune', 'sample', '--neurons', '.5', '--data', 'sample', '--out', rows.with_name('out')])
    with contextlib.redirect_stdout(io.StringIO()): assert main(['predict', 'sample', 'http://a.example/x']) == 0
    yield kept
    datasets.config.HF_DATASETS_CACHE = old[0]
    if old[1] is None: os.environ.pop('HF_DATASETS_CACHE')
    else: os.environ['HF_DATASETS_CACHE'] = old[1]

@pytest.mark.parametrize('kind', N)
def test_hostile(warm, tmp_path, kind):
    found,start = [],time.time()
    for i in range(N[kind]):
        folder = tmp_path/str(i)
        folder.mkdir()
        draw = random.Random(f'{kind} {i}')
        words = globals()[kind](draw, folder)
        if wrong := trouble(words, folder): found.append(f'{kind} {i}: {" ".join(map(str, words))[-150:]}: {wrong}')
        shutil.rmtree(folder)
    print(f'{kind}: {N[kind]} in {time.time() - start:.0f} s')
    assert not found, f'{len(found)} of {N[kind]}:\n' + '\n'.join(found)

def test_enough(): assert sum(N.values()) >= 300
