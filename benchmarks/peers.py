"""Ours beside what a user would take instead, in one run: the same rows, lengths and threads.

Usage: python benchmarks/peers.py --data DATA --teacher FOLDER --ours FOLDER[,FOLDER...] [--base FOLDER] [--student FOLDER]
    [--only NAME,...] [--again NAME,...] [--work FOLDER] [--threads 1] [--rows N] [--epochs 5] [--json] [--out FILE]

What peers need stands in benchmarks/requirements-peers.txt. `--base` is what the teacher was trained from, `--student` the float student
that ours was rounded from (made by the default recipe if not given); `--ours` are results of `distil-nb compress`.

Each peer is made in a process of its own and written as it would be shipped; one that is there is not made again. A second new process
loads what was written, and answers the held-out rows: what it says of the first 64 has to be what the first one said. (New processes come from one that has
imported PyTorch and transformers and done nothing else.) One that cannot be made or loaded is in the record with its reason. At the end one process loads all and times them in turns, each call after one that warms up: one text, and 32
tokenizing included; peers pad to the longest, ours cuts a batch into parts of like length itself. Times are those of the processor, what a clock would show if nothing else ran; the
clock's stand beside them. Memory is what loading and answering add to a process that has imported all it needs.

A peer whose making looks at validation rows is compared on test alone, others on validation and test together; `not_run` names those that were left for another day. It lies beyond ours where
it is smaller (or faster) than any of ours that is not told to be worse, and not told to be worse than all of ours: `beyond` names it."""
import importlib, json, multiprocessing, os, re, shutil, tempfile, time, traceback
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Callable

from distil_nb.core import quiet, set_seed
import numpy as np
import torch
from common import earlier, interval, parser, with_models
from distil_nb.checkpoints import load_checkpoint
from distil_nb.commands import load_rows
from distil_nb.compress import compress, default_recipe
from distil_nb.data import texts_of
from distil_nb.evaluate import classifier, machine, peak_growth
from distil_nb.export import export_onnx
from distil_nb.files import column
from distil_nb.models import keep_layers, spread_layers
from distil_nb.recipes import bytes_to_serve
from distil_nb.writing import write_json
from torch.nn import functional as F
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, TorchAoConfig, Trainer, TrainingArguments

HELD,LONGEST = ('validation', 'test'), 512
Answer = Callable[[list[str]], np.ndarray]  # texts to numbers of classes

@dataclass(frozen=True)
class Peer:
    "Something that answers texts."
    make:Callable  # Job and folder to fill; what it made, or nothing where only the file can answer
    load:Callable  # Folder to `Answer`
    imports:str  # What has to be there before it is loaded
    chosen:bool  # Did its making look at validation rows?

PEERS = {}
def peer(name:str, load:Callable, imports:str='transformers', chosen:bool=False):
    "Add one to those that are compared."
    def keep(make):
        PEERS[name] = Peer(make, load, imports, chosen)
        return make
    return keep

# How each is loaded: what its own documentation says, and the tokenizer of transformers.

def encoded(tokenizer, texts:list[str], kind:str)->dict:
    "One batch, padded to its longest."
    return tokenizer(texts, padding=True, truncation=True, max_length=min(tokenizer.model_max_length, LONGEST), return_tensors=kind)

def tokenizer_at(folder:Path): return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)

def asked(model, tokenizer)->Answer:
    "A classifier of transformers."
    model.eval()
    def answer(texts):
        with torch.inference_mode(): return model(**encoded(tokenizer, texts, 'pt')).logits.argmax(-1).numpy()
    return answer

def from_transformers(folder:Path)->Answer:
    return asked(AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=False), tokenizer_at(folder))

def from_onnx(folder:Path)->Answer:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session,tokenizer = onnxruntime.InferenceSession(folder/'model.onnx', options, providers=['CPUExecutionProvider']), tokenizer_at(folder)
    names = [o.name for o in session.get_inputs()]
    def answer(texts):
        batch = encoded(tokenizer, texts, 'np')
        return session.run(None, {k: batch[k] for k in names})[0].argmax(-1)
    return answer

def from_openvino(folder:Path)->Answer:
    import openvino
    compiled = openvino.compile_model(folder/'model.xml', 'CPU', dict(INFERENCE_NUM_THREADS=torch.get_num_threads(), PERFORMANCE_HINT='LATENCY'))
    tokenizer,names = tokenizer_at(folder),[o.any_name for o in compiled.inputs]
    def answer(texts):
        batch = encoded(tokenizer, texts, 'np')
        return compiled({k: batch[k] for k in names})[0].argmax(-1)
    return answer

def from_pickle(folder:Path)->Answer:
    "Torch-Pruning's own way: the whole model as Python objects. Only what this script wrote is read."
    return asked(torch.load(folder/'model.pth', weights_only=False), tokenizer_at(folder))

def from_scikit(folder:Path)->Answer:
    import joblib
    return joblib.load(folder/'model.joblib').predict

def from_vectors(folder:Path)->Answer:
    import joblib
    base,tokenizer,head = AutoModel.from_pretrained(folder, trust_remote_code=False), tokenizer_at(folder), joblib.load(folder/'head.joblib')
    return lambda texts: head.predict(vectors(base, tokenizer, texts))

def from_model2vec(folder:Path)->Answer:
    from model2vec.inference import StaticModelPipeline
    found = StaticModelPipeline.from_pretrained(folder)
    names = found.head.classes_.astype(int)
    return lambda texts: names[found.predict_proba(texts).argmax(-1)]  # its `predict` answers the same; neither is what it had learned

def from_setfit(folder:Path)->Answer:
    from setfit import SetFitModel
    found = SetFitModel.from_pretrained(str(folder))
    return lambda texts: np.array(found.predict(texts, batch_size=32, show_progress_bar=False)).astype(int)

def from_ours(folder:Path)->Answer:
    classify = classifier(*load_checkpoint(folder))
    return lambda texts: classify(texts).argmax(-1)

# How each is made.

def teacher_of(job)->tuple:
    "Model in 32-bit floats, and tokenizer."
    return AutoModelForSequenceClassification.from_pretrained(job.teacher, dtype=torch.float32, trust_remote_code=False), tokenizer_at(job.teacher)

def written(model, tokenizer, out:Path)->Answer:
    "Both, as transformers writes them."
    model.save_pretrained(out); tokenizer.save_pretrained(out)
    return asked(model, tokenizer)

@peer('teacher, PyTorch', from_transformers)
def _(job, out): return written(*teacher_of(job), out)

def tokens_of(rows, tokenizer):
    "Rows that the Trainer takes."
    limit = min(tokenizer.model_max_length, LONGEST)
    return rows.map(lambda o: tokenizer(o['text'], truncation=True, max_length=limit), batched=True).select_columns(['labels', 'input_ids', 'attention_mask'])

class DistillationTrainer(Trainer):
    "Natural Language Processing with Transformers, chapter 8: half labels, half soft targets at a temperature of 2."
    def __init__(self, *args, teacher, **how):
        super().__init__(*args, **how)
        self.teacher = teacher.eval()
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        found = model(**inputs)
        with torch.no_grad(): soft = self.teacher(**inputs).logits
        both = F.log_softmax(found.logits/2, -1), F.softmax(soft/2, -1)
        loss = .5*found.loss + .5*4*F.kl_div(*both, reduction='batchmean')
        return (loss, found) if return_outputs else loss

def trained(job, model, tokenizer, lr:float, epochs:int, kind=Trainer, **more):
    "Batches of 48, weight decay 0.01, the Trainer's own schedule: the chapter's. Batches of like length, which save time alone."
    with tempfile.TemporaryDirectory() as tmp:
        how = TrainingArguments(tmp, num_train_epochs=epochs, learning_rate=lr, per_device_train_batch_size=48, weight_decay=.01, train_sampling_strategy='group_by_length',
            save_strategy='no', report_to='none', use_cpu=True, disable_tqdm=True, seed=0)
        kind(model, how, train_dataset=tokens_of(job.rows['train'], tokenizer), data_collator=DataCollatorWithPadding(tokenizer), **more).train()
    return model.eval()

def to_onnx(model, tokenizer, path:Path):
    "A graph for any batch and length."
    free = {0: torch.export.Dim('batch'), 1: torch.export.Dim('tokens')}
    batch = dict(encoded(tokenizer, ['one text', 'another text, longer'], 'pt'))
    model.eval().config.return_dict = True
    with quiet(): torch.onnx.export(model, (), path, kwargs=batch, input_names=[*batch], output_names=['logits'], dynamic_shapes={k: free for k in batch}, dynamo=True, external_data=False, verbose=False)

def rounded(folder:Path):
    "ONNX Runtime's dynamic int8, in place; on processors whose products of 8 bits saturate with 7 bits, as its documentation advises."
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    path,graph = folder/'model.onnx',onnx.load(folder/'model.onnx')
    del graph.graph.value_info[:]  # else quantize_dynamic stumbles over what the exporter inferred
    onnx.save(graph, folder/'floats.onnx')
    quantize_dynamic(folder/'floats.onnx', path, weight_type=QuantType.QInt8, reduce_range=machine()['int8'] == 'none')
    (folder/'floats.onnx').unlink()

def chapter_8(job, out, lr:float):
    "Half of the teacher's layers, the Trainer, ONNX, dynamic int8."
    teacher,tokenizer = teacher_of(job)
    student = keep_layers(teacher, spread_layers(teacher.config.num_hidden_layers))
    trained(job, student, tokenizer, lr, job.epochs, DistillationTrainer, teacher=teacher)
    student.config.save_pretrained(out); tokenizer.save_pretrained(out)
    to_onnx(student, tokenizer, out/'model.onnx')
    rounded(out)

@peer('chapter 8', from_onnx, 'onnxruntime')
def _(job, out): chapter_8(job, out, 2e-5)  # the chapter's learning rate

@peer('chapter 8, higher rate', from_onnx, 'onnxruntime')
def _(job, out): chapter_8(job, out, 1e-4)

def student_of(job)->tuple:
    "Ours before it was rounded, and its tokenizer."
    folder = Path(job.student) if job.student else job.work/'student'
    if not folder.exists():
        steps = [o for o in default_recipe(*load_checkpoint(job.teacher), job.rows) if type(o).__name__ not in ('Quantize', 'Export')]
        compress(job.teacher, job.rows, folder, steps=steps)
    return load_checkpoint(folder)

@peer('same student, ONNX Runtime int8', from_onnx, 'onnxruntime')
def _(job, out):
    made = Path(tempfile.mkdtemp())/'onnx'
    export_onnx(*student_of(job), made)
    shutil.copytree(made, out, dirs_exist_ok=True)
    rounded(out)

def to_openvino(model, tokenizer, out:Path, change:Callable):
    "Through ONNX; `change` rounds it."
    import openvino
    with tempfile.TemporaryDirectory() as tmp:
        if isinstance(model, Path): graph = model/'model.onnx'
        else: to_onnx(model, tokenizer, graph := Path(tmp)/'model.onnx')
        openvino.save_model(change(openvino.convert_model(graph)), out/'model.xml')
    tokenizer.save_pretrained(out)

def calibration(job, tokenizer, rows, names:list[str]):
    "Rows for NNCF, one at a time."
    import nncf
    return nncf.Dataset(rows, lambda o: one_of(o, tokenizer, names))

def one_of(row:dict, tokenizer, names:list[str])->dict:
    "Inputs of a graph for one row."
    return {k: encoded(tokenizer, [row['text']], 'np')[k] for k in names}

def static_int8(job, tokenizer):
    "NNCF, 300 training texts."
    import nncf
    def change(model):
        names = [o.any_name for o in model.inputs]
        return nncf.quantize(model, calibration(job, tokenizer, job.rows['train'].select(range(min(300, len(job.rows['train'])))), names), model_type=nncf.ModelType.TRANSFORMER)
    return change

@peer('teacher, OpenVINO int8', from_openvino, 'openvino')
def _(job, out):
    model,tokenizer = teacher_of(job)
    to_openvino(model, tokenizer, out, static_int8(job, tokenizer))

@peer('teacher, OpenVINO int8, accuracy control', from_openvino, 'openvino', chosen=True)
def _(job, out):
    import nncf
    model,tokenizer = teacher_of(job)
    few,held = job.rows['train'].select(range(min(300, len(job.rows['train'])))),job.rows['validation']
    def change(graph):
        names = [o.any_name for o in graph.inputs]
        def accuracy(compiled, rows): return float(np.mean([compiled(one_of(o, tokenizer, names))[0].argmax(-1)[0] == o['labels'] for o in rows]))  # rows as they are: NNCF gives them so
        return nncf.quantize_with_accuracy_control(graph, calibration(job, tokenizer, few, names), calibration(job, tokenizer, held, names), accuracy, max_drop=.005, model_type=nncf.ModelType.TRANSFORMER)
    to_openvino(model, tokenizer, out, change)

@peer('same student, OpenVINO int8', from_openvino, 'openvino')
def _(job, out):
    model,tokenizer = student_of(job)
    made = Path(tempfile.mkdtemp())/'onnx'
    export_onnx(model, tokenizer, made)
    to_openvino(made, tokenizer, out, static_int8(job, tokenizer))

@peer('teacher, torchao int8', from_transformers, 'transformers,torchao.quantization')
def _(job, out):
    from torchao.quantization import Int8WeightOnlyConfig
    how = TorchAoConfig(Int8WeightOnlyConfig())  # with rounded activations it takes 20 times as long on a CPU
    return written(AutoModelForSequenceClassification.from_pretrained(job.teacher, dtype=torch.float32, quantization_config=how, trust_remote_code=False), tokenizer_at(job.teacher), out)

@peer('teacher, Torch-Pruning', from_pickle, 'transformers')
def _(job, out):
    import torch_pruning
    model,tokenizer = teacher_of(job)
    attention = [o for o in model.modules() if hasattr(o, 'num_attention_heads') and hasattr(o, 'query')]
    heads = {part: o.num_attention_heads for o in attention for part in (o.query, o.key, o.value)}
    pruner = torch_pruning.pruner.BasePruner(model, dict(encoded(tokenizer, ['one text', 'another text, longer'], 'pt')),
        importance=torch_pruning.importance.GroupMagnitudeImportance(), pruning_ratio=.5, num_heads=heads, ignored_layers=[model.classifier], output_transform=lambda o: o.logits.sum())
    pruner.step()
    for o in attention:  # what BERT computes with
        o.all_head_size = o.query.out_features
        o.attention_head_size = o.all_head_size//o.num_attention_heads
        o.scaling = o.attention_head_size**-.5
    trained(job, model, tokenizer, 1e-4, min(3, job.epochs))  # as many epochs as ours has after pruning
    job.note = 'reloads as a pickle of the whole model alone; ' + plainly(model)
    torch.save(model, out/'model.pth'); tokenizer.save_pretrained(out)
    return asked(model, tokenizer)

def plainly(model)->str:
    "What comes of save_pretrained and from_pretrained."
    with tempfile.TemporaryDirectory() as tmp:
        model.save_pretrained(tmp)
        try: AutoModelForSequenceClassification.from_pretrained(tmp, trust_remote_code=False)
        except Exception as e: return f'from_pretrained says {type(e).__name__}: {" ".join(str(e).split())[:150]}'
        return 'from_pretrained loads it too'

@peer('model2vec', from_model2vec, 'model2vec.inference')
def _(job, out):
    from model2vec.distill import distill
    from model2vec.train import StaticModelForClassification
    made = StaticModelForClassification.from_static_model(model=distill(str(job.base)))
    made.fit(texts_of(job.rows['train']), [str(o) for o in column(job.rows['train'], 'labels')])
    made.to_pipeline().save_pretrained(out)
    return lambda texts: np.array(made.predict(texts)).astype(int)

@peer('setfit', from_setfit, 'setfit')
def _(job, out):
    from setfit import SetFitModel, Trainer, TrainingArguments
    model = SetFitModel.from_pretrained(str(job.base))
    rows = job.rows['train'].select_columns(['text', 'labels']).rename_column('labels', 'label')
    Trainer(model=model, args=TrainingArguments(output_dir=tempfile.mkdtemp(), max_steps=40, batch_size=16, report_to='none', seed=0), train_dataset=rows).train()
    model.save_pretrained(str(out))
    return lambda texts: np.array(model.predict(texts, batch_size=32, show_progress_bar=False)).astype(int)

def vectors(base, tokenizer, texts:list[str])->np.ndarray:
    "Mean of the tokens' last states."
    batch = encoded(tokenizer, texts, 'pt')
    with torch.inference_mode(): states,there = base(**batch).last_hidden_state,batch['attention_mask'][..., None]
    return ((states*there).sum(1)/there.sum(1)).numpy()

@peer('frozen base, logistic regression', from_vectors, 'transformers,joblib,sklearn.linear_model')
def _(job, out):
    import joblib
    from sklearn.linear_model import LogisticRegression
    base,tokenizer = AutoModel.from_pretrained(job.base, dtype=torch.float32, trust_remote_code=False).eval(),tokenizer_at(job.base)
    seen = in_batches(lambda o: vectors(base, tokenizer, o), texts_of(job.rows['train']))
    head = LogisticRegression(max_iter=1000).fit(seen, column(job.rows['train'], 'labels'))
    base.save_pretrained(out); tokenizer.save_pretrained(out); joblib.dump(head, out/'head.joblib')
    return lambda texts: head.predict(vectors(base, tokenizer, texts))

@peer('TF-IDF, logistic regression', from_scikit, 'joblib,sklearn.pipeline,sklearn.feature_extraction.text,sklearn.linear_model')
def _(job, out):
    import joblib
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    grams = TfidfVectorizer(analyzer='char', ngram_range=(2, 5), sublinear_tf=True, min_df=2)
    made = make_pipeline(grams, LogisticRegression(C=10, max_iter=1000)).fit(texts_of(job.rows['train']), column(job.rows['train'], 'labels'))
    joblib.dump(made, out/'model.joblib', compress=3)
    return made.predict

# Each in a process of its own.

def in_batches(work:Callable, texts:list[str], size:int=32)->np.ndarray:
    "In batches of like length; what comes out is in the order given."
    order = np.argsort([len(o) for o in texts], kind='stable')
    found = np.concatenate([work([texts[j] for j in order[i:i + size]]) for i in range(0, len(texts), size)])
    return found[np.argsort(order)]

def slug(name:str)->str: return re.sub(r'\W+', '-', name.lower())

def held_texts(rows)->list[str]: return [t for o in HELD for t in texts_of(rows[o])]

def make(job, name:str)->dict:
    "A folder, with what the model that was just made says beside it."
    out,start,spent = job.work/slug(name),time.perf_counter(),time.process_time()
    part = out.with_suffix('.part')
    shutil.rmtree(part, ignore_errors=True); part.mkdir(parents=True)
    set_seed(0)
    answer = PEERS[name].make(job, part)
    told = dict(seconds=time.perf_counter() - start, processor_seconds=time.process_time() - spent)
    if getattr(job, 'note', ''): told['note'] = job.note
    if answer: told['said'] = in_batches(answer, held_texts(job.rows)[:64]).tolist()
    write_json(told, out.with_suffix('.json'), overwrite=True)
    part.rename(out)
    return told

def forms(job)->dict[str,tuple]:
    "Folder and `Peer` of all that lie there."
    found = {name: (job.work/slug(name), o) for name,o in PEERS.items()}
    ours = {f'ours, {o.name}': (o, Peer(None, from_ours, 'onnxruntime,distil_nb.export', 'tried' in json.loads((o/'record.json').read_text()))) for o in job.ours}
    return {k: v for k,v in (found | ours).items() if v[0].exists()}

def ask(job, name:str)->dict:
    "What a new process reads and says."
    folder,form = forms(job)[name]
    for o in form.imports.split(','): importlib.import_module(o)
    texts,said = held_texts(job.rows),[]
    memory = peak_growth(lambda: said.extend(in_batches(form.load(folder), texts).tolist()))
    return dict(said=said, memory_mb=memory, bytes=bytes_to_serve(folder))

def in_turns(answers:dict[str,Answer], texts:list[str], size:int, rounds:int)->dict[str,dict]:
    "Milliseconds, medians and 95th percentiles: of the processor, and of the clock."
    times = {k: [] for k in answers}
    for i in range(rounds):
        batch = [texts[(size*i + j)%len(texts)] for j in range(size)]
        for name,answer in answers.items():
            answer(batch)
            starts = time.process_time(),time.perf_counter()
            answer(batch)
            times[name].append((1000*(time.process_time() - starts[0]), 1000*(time.perf_counter() - starts[1])))
    def told(o): return dict(ms=float(np.median(o[0])), p95=float(np.quantile(o[0], .95)), clock_ms=float(np.median(o[1])), clock_p95=float(np.quantile(o[1], .95)))
    return {k: told(np.array(o).T) for k,o in times.items()}

def time_all(job)->dict[str,dict]:
    "Everything that answers, in one process."
    answers,texts = {name: form.load(folder) for name,(folder,form) in forms(job).items() if name in job.timed},texts_of(job.rows['test'])
    one,many = in_turns(answers, texts, 1, job.singles),in_turns(answers, texts, 32, job.batches)
    def rate(answer):
        start = time.process_time()
        in_batches(answer, texts)
        return len(texts)/(time.process_time() - start)
    return {k: {'1': one[k], '32': many[k], 'texts_per_second': rate(o)} for k,o in answers.items()}

VERBS = dict(make=make, ask=ask, time=lambda job,_: time_all(job))

def work(pipe, job, verb:str, name:str):
    "What a new process does; what it prints goes to a file."
    with (job.work/f'{slug(name or verb)}.log').open('a') as log:
        for o in (1, 2): os.dup2(log.fileno(), o)
        torch.set_num_threads(job.threads)
        try: pipe.send((VERBS[verb](job, name), ''))
        except BaseException as e:
            traceback.print_exc()
            pipe.send((None, f'{verb}: {type(e).__name__}: {" ".join(str(e).split())[:300]}'))

PROCESSES = multiprocessing.get_context('forkserver')

def child(job, verb:str, name:str='')->dict:
    "Do one of the above in a new process; `RuntimeError` with the reason if it fails."
    here,there = PROCESSES.Pipe()
    process = PROCESSES.Process(target=work, args=(there, job, verb, name))
    process.start(); there.close()
    try: found,reason = here.recv()
    except EOFError: found,reason = None,f'{verb}: the process ended'
    process.join()
    if process.exitcode: reason = f'{verb}: exit status {process.exitcode}'
    if reason: raise RuntimeError(reason)
    return found

def measured(job, name:str)->dict:
    "Made and asked; the reason if that fails."
    folder = job.work/slug(name)
    try:
        if name in PEERS and not folder.exists(): child(job, 'make', name)
        found = child(job, 'ask', name)
    except RuntimeError as e: return dict(failed=str(e))
    said,labels = found.pop('said'),np.concatenate([column(job.rows[o], 'labels') for o in HELD])
    hits = np.array(said) == labels
    found |= dict(accuracy=float(hits.mean()), hits=''.join(map(str, hits.astype(int))), chosen=forms(job)[name][1].chosen)
    if name not in PEERS: return found | dict(seconds=sum(o['seconds'] for o in json.loads((forms(job)[name][0]/'record.json').read_text())['steps']))
    made = json.loads(folder.with_suffix('.json').read_text())
    if 'said' in made: found['same_answers'] = float(np.mean(np.array(made.pop('said')) == said[:64]))
    return found | made

# What the record says of them.

def against(found:dict, one:str, two:str)->dict:
    "Points by which one is better than the other, with the paired interval; on test alone where a choice was made on validation."
    forms,first = found['forms'],found['rows']['validation']
    skip = first if forms[one]['chosen'] or forms[two]['chosen'] else 0
    return interval(*(np.array([*map(int, forms[o]['hits'])])[skip:] for o in (one, two)))

def beyond(found:dict, cost:Callable)->list[dict]:
    "Peers that none of ours covers and that are not worse than all of ours."
    forms = {k: o for k,o in found['forms'].items() if 'failed' not in o}
    ours,lie = [k for k in forms if k.startswith('ours')],[]
    for name in forms.keys() - {*ours}:
        gaps = {o: against(found, name, o) | dict(cost=cost(forms[name])/cost(forms[o])) for o in ours}
        covered = any(o['cost'] >= 1 and o['low'] <= 0 for o in gaps.values())
        worse = all(o['high'] < 0 for o in gaps.values())
        if not covered and not worse: lie.append(dict(peer=name, against=gaps))
    return sorted(lie, key=lambda o: o['peer'])

COSTS = dict(bytes=lambda o: o['bytes'], ms_1=lambda o: o['latency']['1']['ms'], ms_32=lambda o: o['latency']['32']['ms'])

def summed_up(found:dict):
    "Differences and fronts, anew from what was measured."
    there = [k for k,o in found['forms'].items() if 'failed' not in o]
    found['not_run'] = [k for k in PEERS if k not in found['forms']]
    ours = [k for k in there if k.startswith('ours')]
    found['against'] = {o: {k: against(found, k, o) for k in there if k != o} for o in ours}
    if all('latency' in found['forms'][k] for k in there): found['beyond'] = {k: beyond(found, o) for k,o in COSTS.items()}

def options()->SimpleNamespace:
    "The command line."
    p = with_models(parser(__doc__))
    p.add_argument('--ours', default='', help='results of distil-nb compress, with commas between them')
    p.add_argument('--base', help='folder of what the teacher was trained from')
    p.add_argument('--student', help='folder of the float student that ours was rounded from')
    p.add_argument('--unlabeled', help='file of more texts, for that student')
    p.add_argument('--only', default='', help='these peers alone, with semicolons between them')
    p.add_argument('--again', default='', help='measure these anew')
    p.add_argument('--work', type=Path, default='peers-work')
    p.add_argument('--threads', type=int, default=1)
    p.add_argument('--rows', type=int, help='so many of each split, to try things out')
    p.add_argument('--epochs', type=int, default=5, help='of what the Trainer trains')
    p.add_argument('--singles', type=int, default=60, help='timed calls with one text')
    p.add_argument('--batches', type=int, default=8, help='timed calls with 32 texts')
    p.add_argument('--untimed', action='store_true', help='stop before that')
    a = p.parse_args(namespace=SimpleNamespace(timed=[]))
    a.ours,a.base = [Path(o) for o in a.ours.split(',') if o],a.base and Path(a.base)
    a.only,a.again = ([o for o in text.split(';') if o] for text in (a.only, a.again))
    return a

def main(a):
    "Make, ask, time, sum up."
    found = earlier(a.out) or {}
    found |= dict(data=Path(a.data).name, teacher=Path(a.teacher).name, machine=machine(), rows={k: len(o) for k,o in a.rows.items()})
    kept = found.setdefault('forms', {})
    wanted = [*(f'ours, {o.name}' for o in a.ours), *(a.only or PEERS)]
    for name in wanted:
        if name in kept and name not in a.again: continue
        kept[name] = measured(a, name)
        print(name, {k: v for k,v in kept[name].items() if k != 'hits'}, flush=True)
        if a.out: write_json(found, a.out, overwrite=True)
    if a.untimed: return
    a.timed = [k for k,o in kept.items() if 'failed' not in o and k in forms(a)]
    for name,o in child(a, 'time').items(): kept[name]['latency'] = o
    summed_up(found)
    if a.out: write_json(found, a.out, overwrite=True)
    print(json.dumps(found if a.json else found.get('beyond')))

if __name__ == '__main__':
    a = options()
    os.environ |= dict(OMP_NUM_THREADS=str(a.threads), TOKENIZERS_PARALLELISM='false', HF_HUB_OFFLINE='1', CUDA_VISIBLE_DEVICES='', ACCELERATE_USE_CPU='1')
    PROCESSES.set_forkserver_preload(['distil_nb.compress', 'transformers.trainer', 'transformers.models.bert.modeling_bert'])
    torch.set_num_threads(a.threads)
    a.work.mkdir(parents=True, exist_ok=True)
    rows = load_rows(a.data, unlabeled=a.unlabeled)
    a.rows = rows if a.rows is None else type(rows)({k: o.select(range(min(a.rows, len(o)))) for k,o in rows.items()})
    main(a)
