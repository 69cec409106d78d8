"""How long five epochs of distillation take on the CPU: ways side by side, in one process, on the same rows.

- `story`: the loop as published. Every text padded to 512 tokens, the teacher run in every step, `torch.optim.Adam`; after each
  epoch both models on the test split, padded too, and at the end both on the validation split.
- `trainer`: `transformers.Trainer`, dynamic padding, grouped by length, the teacher in every step, its default optimizer. Evaluation
  as lean as it can be: the student on test after each epoch and on validation at the end, the teacher once, at the speed of ours.
- `trainer_bf16`: the same in bfloat16, where ours trains in it (`--precision`).
- `ours`: `distil_nb`. Every text put to the teacher once, then batches of like length; the student on both held-out splits after
  each epoch; the best epoch kept on disk (`rest`, with the set-up).

Architectures are the story's (BERT base; DistilBERT, 4 layers), weights random, batches of 32. Nobody waits for all of it: some batches
of each pass are timed, evenly from the fewest tokens (with padding) to the most, in turns, so that a slow minute hits all alike; the
times of the others are interpolated between those next to them in tokens. Tokenizing is left out for all.

`peak_share` is useful work per second over that of the best float32 matrix product of this machine, same threads, timed in every
round between the steps; the median of the rounds counts, as the machine is not equally fast all the time. Useful are 6 operations
(2 forward, 4 backward) for each real token and weight of the layers' linear maps, and for each row and weight of the head's and of the
last layer's feed-forward half, of which only the first token is needed. Padding,
embeddings, attention scores and the optimizer count as no work, but their time counts.

Memory is measured in fresh processes on the same 64 rows, two epochs: the Trainer takes the longest batch first, before Adam has its
moments, so that only the second epoch shows its peak. After the release of our teacher, malloc is told to hand back what it keeps.

    python benchmarks/speed.py [--data SOURCE --tokenizer FOLDER] [--steps 16] [--json] [--out [FOLDER]]"""
import argparse, copy, ctypes, gc, json, os, subprocess, sys, tempfile, threading, time
from contextlib import contextmanager
from pathlib import Path
from typing import Callable

os.environ['ACCELERATE_USE_CPU'] = '1'  # all on the CPU, whatever else the machine has
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from datasets import Dataset, DatasetDict, concatenate_datasets, config
from torch import Tensor, nn
from transformers import AutoTokenizer, BertConfig, DataCollatorWithPadding, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler
from distil_nb.checkpoints import SAMPLE_TEACHER, load_checkpoint, save_checkpoint
from distil_nb.core import Settings, quiet, set_seed
from distil_nb.data import load_data
from distil_nb.evaluate import batched_logits, machine
from distil_nb.losses import distillation_loss
from distil_nb.models import new_student, story_config
from distil_nb.optimizer import chosen_precision, take_step
from distil_nb.reading import SPLITS
from distil_nb.runs import weights_fingerprint
from distil_nb.tasks import Classification
from distil_nb.teacher import add_teacher_logits
from distil_nb.tokens import LengthBuckets, tokenize
from distil_nb.train import run_batch, start_run, train
from distil_nb.writing import write_json

BATCH,EPOCHS,LONGEST = 32,5,512

def seconds(work:Callable, *args)->float:
    "Time of one call."
    start = time.perf_counter(); work(*args)
    return time.perf_counter() - start

def cut(rows)->list[list[int]]:
    "Row numbers in batches, in the order given; the last one may be smaller."
    rows = [int(o) for o in rows]
    return [rows[i:i+BATCH] for i in range(0, len(rows), BATCH)]

class Sample:
    "Some batches of a pass, timed one at a time, tell the time of them all."
    def __init__(self,
        batches:list[list[int]],  # Of the pass: row numbers
        lengths:np.ndarray,  # Tokens of each row
        work:Callable|None=None,  # Does one batch, given its row numbers; `None` where somebody else fills in `times`
        steps:int=16,  # Batches to time
        warmup:int=1,  # Batches before that
        pad_to:int|None=None,  # Tokens in each row with its padding; if not said, those of the longest in the batch
        small:bool=False,  # May the one smaller batch be timed? In our order it holds the longest rows
    ):
        self.batches,self.work,self.warmup,self.times = batches,work,warmup,[]
        self.tokens = np.array([len(o)*(pad_to or lengths[o].max()) for o in batches])
        ranked = [int(i) for i in np.argsort(self.tokens, kind='stable') if small or len(batches[i]) == BATCH]
        chosen = np.unique(np.linspace(0, len(ranked) - 1, steps).round().astype(int))
        self.order = [ranked[i] for i in [len(ranked)//2]*warmup + np.random.default_rng(0).permutation(chosen).tolist()]
    timed = property(lambda self: self.order[self.warmup:])
    def turn(self):
        "Time the next batch, if one is left."
        if len(self.times) < len(self.order): self.times.append(seconds(self.work, self.batches[self.order[len(self.times)]]))
    def project(self,
        which=slice(None),  # Batches that count; all if not said
    )->float:  # Seconds that they take together
        "Each takes as long as the timed ones next to it in tokens; where all are of one length, in proportion to its rows."
        tokens,group = np.unique(self.tokens[self.timed], return_inverse=True)
        means = np.bincount(group, self.times[self.warmup:])/np.bincount(group)
        return float((np.interp(self.tokens[which], tokens, means) if len(tokens) > 1 else means*self.tokens[which]/tokens).sum())
    def summary(self)->dict:
        "What was timed of the pass; `tokens_ratio` is a timed batch's mean tokens over any batch's."
        return dict(batches=len(self.batches), timed=len(self.timed), seconds_timed=float(np.sum(self.times[self.warmup:])), seconds=self.project(),
            tokens_ratio=float(self.tokens[self.timed].mean()/self.tokens.mean()))

def make_models(tiny:bool=False)->tuple[nn.Module,nn.Module]:
    "Teacher and student of the story, random weights; `tiny` ones are for trying this file out."
    set_seed(0)
    big,small = BertConfig(),story_config()
    if tiny:
        big.update(dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128))
        small.update(dict(dim=64, hidden_dim=128, n_layers=2))
    return new_student(big), new_student(small)

def story(
    teacher:nn.Module,  # Runs in every step
    student:nn.Module,  # Is trained
    batch:Callable,  # From row numbers to inputs, padded, and labels
)->tuple[Callable,Callable]:  # A step of training; the evaluation of both on a batch
    "The loop of the presentation."
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-4)
    def step(rows):
        student.train()
        inputs,labels = batch(rows)
        with torch.no_grad(): soft = teacher(**inputs).logits
        loss = distillation_loss(student(**inputs).logits, soft, labels)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    def evaluate(rows):
        student.eval()
        with torch.no_grad(): return [o(**batch(rows)[0]).logits.argmax(-1) for o in (teacher, student)]
    return step, evaluate

class Turn(threading.Thread):
    "Work that pauses where it says so, and goes on when it is its turn again: one of the two runs at any time."
    def __init__(self, work:Callable):  # Is given a function that pauses
        super().__init__(daemon=True)
        self.work,self.mine,self.theirs = work,threading.Semaphore(0),threading.Semaphore(0)
    def run(self):
        self.mine.acquire()
        try: self.work(self.pause)
        finally: self.theirs.release()
    def pause(self):
        self.theirs.release(); self.mine.acquire()
    def take(self):
        "Let it go on to its next pause, or to its end."
        if self.is_alive(): self.mine.release(); self.theirs.acquire()

class TeacherTrainer(Trainer):
    "A Trainer that asks its teacher in every step."
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop('labels')
        with torch.no_grad(): soft = self.teacher(**inputs).logits
        outputs = model(**inputs)
        loss = distillation_loss(outputs.logits, soft, labels)
        return (loss, outputs) if return_outputs else loss

class Turns(TrainerCallback):
    "Times the Trainer's steps, fetching the batch included; the others take their turns in between."
    def __init__(self, times:list[float], between:Callable): self.times,self.between = times,between
    def on_train_begin(self, *_, **__): self.start = time.perf_counter()
    def on_step_end(self, *_, **__):
        self.times.append(time.perf_counter() - self.start)
        self.between()
        self.start = time.perf_counter()

def run_trainer(
    teacher:nn.Module,  # Runs in every step
    student:nn.Module,  # Is trained
    rows:Dataset,  # `input_ids`, `length`, `labels`
    tokenizer,  # Pads
    *callbacks:TrainerCallback,  # Told of each step
    strategy:str='group_by_length',  # How it deals batches
    epochs:int=1,  # Passes over the rows
    bf16:bool=False,  # In bfloat16?
):
    "`transformers.Trainer` with its defaults, in silence."
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(folder, per_device_train_batch_size=BATCH, learning_rate=1e-4, num_train_epochs=epochs, use_cpu=True, disable_tqdm=True,
            train_sampling_strategy=strategy, dataloader_pin_memory=False, logging_strategy='no', save_strategy='no', report_to='none', bf16=bf16)
        trainer = TeacherTrainer(student, args, DataCollatorWithPadding(tokenizer), rows, processing_class=tokenizer, callbacks=[*callbacks])
        trainer.remove_callback(PrinterCallback)
        trainer.teacher = teacher
        trainer.train()

def best_gflops(sizes=(1024, 2048, 3072), repeats:int=4)->float:
    "Billion operations per second in the fastest product of square float32 matrices."
    def rate(n):
        a,b = torch.randn(2, n, n)
        return 2*n**3/min(seconds(torch.matmul, a, b) for _ in range(repeats))/1e9
    return max(map(rate, sizes))

class Bench:
    "All passes over the rows, as samples that take turns."
    def __init__(self,
        data:DatasetDict,  # Three splits
        tokenizer,  # The same for all
        steps:int,  # To be timed of each pass; of the story's two
        precision:str='no',  # Of our training and labelling; scores are computed in float32
        tiny:bool=False,  # For trying this file out
    ):
        self.precision = precision
        (self.teacher,self.student),self.tokenizer,self.steps,self.gflops = make_models(tiny),tokenizer,steps,[]
        self.rows = concatenate_datasets([tokenize(data[o], tokenizer, LONGEST) for o in SPLITS])
        self.ids,self.lengths = self.rows['input_ids'][:],np.array(self.rows['length'][:])
        ends = np.cumsum([len(data[o]) for o in SPLITS])
        self.split = dict(zip(SPLITS, np.split(np.arange(ends[-1]), ends[:-1])))
        dealt = cut(LengthGroupedSampler(BATCH, lengths=self.lengths[self.split['train']].tolist()))  # the Trainer's own sampler
        ways = ['trainer'] + ['trainer_bf16']*(chosen_precision(precision) == 'bf16')
        self.samples = self.story_passes() | {o: Sample(dealt, self.lengths, None, steps) for o in ways} | self.our_passes(data)

    def story_passes(self)->dict[str,Sample]:
        def padded(rows)->tuple[dict,Tensor]:
            inputs = self.tokenizer.pad(dict(input_ids=[self.ids[i] for i in rows]), 'max_length', LONGEST, return_attention_mask=True, return_tensors='pt')
            return dict(inputs), torch.tensor(self.rows[rows]['labels'])
        step,evaluate = story(self.teacher, copy.deepcopy(self.student), padded)
        shuffled,held = np.random.default_rng(0).permutation(self.split['train']),EPOCHS*cut(self.split['test']) + cut(self.split['validation'])
        return dict(story=Sample(cut(shuffled), self.lengths, step, 2, pad_to=LONGEST), story_evaluation=Sample(held, self.lengths, evaluate, 1, 0, LONGEST))

    def our_passes(self, data:DatasetDict)->dict[str,Sample]:
        logits = np.zeros((len(data['train']), 2)).tolist()  # a step takes as long whatever the teacher says
        labelled = DatasetDict(data | dict(train=data['train'].add_column('teacher_logits', logits)))
        settings = Settings(batch_size=BATCH, epochs=EPOCHS, precision=self.precision)
        start = time.perf_counter()
        task = Classification(labelled, self.tokenizer, LONGEST, settings)
        run = start_run(self.student, task, settings)
        self.set_up = time.perf_counter() - start + seconds(weights_fingerprint, self.teacher)
        task.writes = True  # as if nobody could say which rows of the embeddings occur
        whole = start_run(self.student, task, settings)
        def stepping(run):
            run.model.train()
            def step(rows):
                run_batch(run, rows)
                take_step(run.model, run.optimizer, run.settings, .5, run.scaler)
            return step
        def ask(model, precision): return lambda rows: batched_logits(model, self.tokenizer, dict(input_ids=[self.ids[i] for i in rows]), BATCH, precision=precision)
        by_length = {k: cut(v[np.argsort(-self.lengths[v], kind='stable')]) for k,v in self.split.items()}  # as `batched_logits` sorts a split
        self.batches_of = {k: [o in by_length[k] for v in by_length.values() for o in v] for k in SPLITS}
        asked = sum(by_length.values(), [])
        dealt = list(LengthBuckets(task.lengths(), BATCH, settings.seed))
        return dict(ours=Sample(dealt, self.lengths, stepping(run), self.steps, small=True),
            all_rows=Sample(dealt, self.lengths, stepping(whole), self.steps, small=True),
            labelling=Sample(asked, self.lengths, ask(self.teacher, chosen_precision(self.precision)), self.steps),
            scoring=Sample(asked, self.lengths, ask(self.student, 'no'), self.steps))

    def run_trainer(self, name:str, between:Callable):
        "Time a Trainer on its sample; between its steps others take their turns."
        sample = self.samples[name]
        rows = self.rows.select([i for b in sample.order for i in sample.batches[b]])  # in this order it cuts the batches of the sample
        run_trainer(self.teacher, copy.deepcopy(self.student), rows, self.tokenizer, Turns(sample.times, between), strategy='sequential', bf16=name.endswith('bf16'))

    def measure(self):
        "Run the Trainer on its sample; between its steps the others do theirs."
        sample,third = self.samples['trainer'],-(-self.steps//3)
        second = Turn(lambda pause: self.run_trainer('trainer_bf16', pause)) if 'trainer_bf16' in self.samples else None
        if second: second.start()
        def between():
            done = len(sample.times)
            print(f'round {done} of {len(sample.order)}', file=sys.stderr)
            for name in ('ours', 'all_rows', 'labelling', 'scoring'): self.samples[name].turn()
            if second: second.take()
            if done%third == 1%third: self.samples['story'].turn()
            self.gflops.append(best_gflops())
        self.run_trainer('trainer', between)
        if second: second.take()  # to its end
        self.samples['story_evaluation'].turn()
        with tempfile.TemporaryDirectory() as tmp:
            self.keep = seconds(save_checkpoint, self.student, self.tokenizer, f'{tmp}/best')
            self.reload = seconds(load_checkpoint, f'{tmp}/best')

    def parts(self)->dict[str,dict]:
        "Seconds of five epochs, by way and part."
        story,evaluation,ours = (self.samples[o].project() for o in ('story', 'story_evaluation', 'ours'))
        teacher,student = ({k: self.samples[o].project(v) for k,v in self.batches_of.items()} for o in ('labelling', 'scoring'))
        lean = EPOCHS*student['test'] + student['validation'] + teacher['test'] + teacher['validation']
        trainers = {o: dict(training=EPOCHS*self.samples[o].project(), labelling=0., evaluation=lean, rest=0.) for o in self.samples if o.startswith('trainer')}
        return dict(story=dict(training=EPOCHS*story, labelling=0., evaluation=evaluation, rest=0.), **trainers,
            ours=dict(training=EPOCHS*ours, labelling=sum(teacher.values()), evaluation=EPOCHS*(student['test'] + student['validation']),
                      rest=self.set_up + EPOCHS*self.keep + self.reload))

    def useful_gflops(self)->float:
        "Billion operations per second on real tokens in our training steps (see the top of this file)."
        weights,rows = {k: o.weight.numel() for k,o in self.student.named_modules() if isinstance(o, nn.Linear)},self.split['train']
        last = f'.layer.{self.student.config.n_layers - 1}.ffn'  # computed for the first token alone
        each = sum(v for k,v in weights.items() if '.layer.' in k and last not in k)
        return 6*(each*int(self.lengths[rows].sum()) + (sum(weights.values()) - each)*len(rows))/self.samples['ours'].project()/1e9

def megabytes(
    key:str,  # `VmRSS` (now) or `VmHWM` (highest so far)
    reset:bool=False,  # Start anew with the highest?
)->float:  # Of 10**6 bytes
    "Resident memory of this process, as Linux counts it."
    line = next(o for o in Path('/proc/self/status').read_text().splitlines() if o.startswith(key))
    if reset: Path('/proc/self/clear_refs').write_text('5')
    return int(line.split()[1])*1024/1e6

def few_rows(rows:Dataset, n:int, tokenizer)->Dataset:
    "`n` rows evenly from the shortest to the longest."
    rows = tokenize(rows, tokenizer, LONGEST)
    return rows.select(np.argsort(rows['length'][:], kind='stable')[np.linspace(0, len(rows) - 1, min(n, len(rows))).round().astype(int)])

def memory(
    way:str,  # `ours` or `trainer`
    data:DatasetDict,  # Three splits
    tokenizer,  # For both
    tiny:bool=False,  # For trying this file out
)->dict:  # MB: `start`, `loaded` (both models), `labelling` and `training` (highest), `released` (the teacher is gone)
    "Memory of training, two steps in each of two epochs."
    start,(teacher,student) = megabytes('VmRSS'),make_models(tiny)
    found = dict(start=start, loaded=megabytes('VmRSS'))
    data = DatasetDict({k: few_rows(o, 2*BATCH if k == 'train' else BATCH, tokenizer) for k,o in data.items()})
    if way == 'trainer': run_trainer(teacher, student, data['train'], tokenizer, epochs=2)
    else:  # as `distil` does
        data = add_teacher_logits(data.select_columns(['text', 'labels']), teacher, tokenizer)
        del teacher; gc.collect(); ctypes.CDLL(None).malloc_trim(0)
        found |= dict(labelling=megabytes('VmHWM', reset=True), released=megabytes('VmRSS'))
        train(student, tokenizer, data, Settings(batch_size=BATCH, epochs=2))
    return found | dict(training=megabytes('VmHWM'))

def both_memories(options:argparse.Namespace)->dict[str,dict]:
    "`memory` of each way in a process of its own; nothing where there is no /proc."
    if not Path('/proc/self/clear_refs').exists(): return {}
    print('memory of ours and of the Trainer', file=sys.stderr)
    command = [sys.executable, __file__, '--data', options.data, '--tokenizer', options.tokenizer] + ['--tiny']*options.tiny
    return {o: json.loads(subprocess.run([*command, '--memory', o], check=True, stdout=subprocess.PIPE).stdout) for o in ('ours', 'trainer')}

def report(
    bench:Bench,  # Measured
    memories:dict,  # From `both_memories`
    options:argparse.Namespace,  # Of this process
)->dict:  # All that was found out
    "Figures, and what they were measured on."
    parts,peak,useful = bench.parts(),float(np.median(bench.gflops)),bench.useful_gflops()
    total = {k: sum(o.values()) for k,o in parts.items()}
    return dict(ratio_story=total['story']/total['ours'], ratio_trainer=total['trainer']/total['ours'], ratio_trainer_bf16=total['trainer_bf16']/total['ours'] if 'trainer_bf16' in total else None, peak_share=useful/peak,
        occurring_rows=bench.samples['all_rows'].project()/bench.samples['ours'].project(), precision=chosen_precision(bench.precision), seconds=total, parts=parts,
        peak_gflops=peak, peak_gflops_range=[min(bench.gflops), max(bench.gflops)], useful_gflops=useful, memory_mb=memories, samples={k: o.summary() for k,o in bench.samples.items()}, data=options.data,
        tokenizer=options.tokenizer, rows={k: len(o) for k,o in bench.split.items()}, epochs=EPOCHS, batch_size=BATCH, machine=machine())

def show(r:dict):
    "Print a report for people."
    table = pd.DataFrame(r['parts']).T.assign(total=pd.Series(r['seconds']))
    print(f'Seconds for {EPOCHS} epochs of {r["rows"]["train"]} rows, {r["machine"]["processor"]}, {r["machine"]["threads"]} threads:')
    print(table.assign(times_ours=table.total/table.total['ours']).to_string(float_format='{:.1f}'.format))
    print(f'\nOur training steps do {r["useful_gflops"]:.0f} GFLOP/s of useful work, {r["peak_share"]:.0%} of the best matrix product ({r["peak_gflops"]:.0f}).')
    low,high = r['peak_gflops_range']
    print(f'That product was timed in every round: {low:.0f} to {high:.0f}, median {r["peak_gflops"]:.0f}.{" Something else was running: measure again." if low < .8*high else ""}')
    print(f'Training the rows of the embeddings that occur is {r["occurring_rows"]:.2f} times as fast as training all; precision {r["precision"]}.')
    if r['memory_mb']: print('\nResident memory, MB:\n', pd.DataFrame(r['memory_mb']).T.to_string(na_rep='', float_format='{:.0f}'.format), sep='')
    print('\nTimed of each pass:\n', pd.DataFrame(r['samples']).T.astype(dict(batches=int, timed=int)).round(2).to_string(), sep='')

def chart(r:dict)->plt.Figure:
    "The times, on a logarithmic axis."
    names,values = zip(*r['seconds'].items())
    fig,ax = plt.subplots(figsize=(7, 2.2))
    ax.bar_label(ax.barh(names, values, color=[f'C{i}' for i in range(len(names))]), [f'{v:,.0f} s' for v in values], padding=4)
    ax.set(xscale='log', xlabel=f'seconds for {EPOCHS} epochs of {r["rows"]["train"]} rows, {r["machine"]["threads"]} threads', xlim=(min(values)/4, 4*max(values)))
    ax.invert_yaxis(); fig.tight_layout(); plt.close(fig)
    return fig

@contextmanager
def fresh_cache():
    "Caches go to a folder of their own, gone afterwards: nothing is known from an earlier run. No library speaks."
    kept = config.HF_DATASETS_CACHE
    with tempfile.TemporaryDirectory() as tmp, quiet():
        config.HF_DATASETS_CACHE = Path(tmp)
        try: yield
        finally: config.HF_DATASETS_CACHE = kept

def options()->argparse.Namespace:
    "The command line."
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--data', default='sample', help='as for distil-nb: sample, a file or a folder')
    p.add_argument('--tokenizer', default=str(SAMPLE_TEACHER), help='folder of a tokenizer with at most 30,522 tokens')
    p.add_argument('--steps', type=int, default=16, help='batches of each pass to time (two in the story, where all cost the same)')
    p.add_argument('--precision', default='no', choices=('no', 'bf16', 'auto'), help='of our training and labelling')
    p.add_argument('--json', action='store_true', help='the last line is one JSON object')
    p.add_argument('--out', nargs='?', const=Path(__file__).parent/'out', type=Path, help='folder for speed.json and speed.png (benchmarks/out)')
    p.add_argument('--memory', choices=('ours', 'trainer'), help='only the memory of one way, as JSON')
    p.add_argument('--tiny', action='store_true', help=argparse.SUPPRESS)
    return p.parse_args()

def main(o:argparse.Namespace):
    "Measure, tell, write."
    with fresh_cache():
        data,tokenizer = load_data(o.data),AutoTokenizer.from_pretrained(o.tokenizer)
        if o.memory: return print(json.dumps(memory(o.memory, data, tokenizer, o.tiny)))
        memories,bench = both_memories(o),Bench(data, tokenizer, o.steps, o.precision, o.tiny)
        bench.measure()
    found = report(bench, memories, o)
    show(found)
    if o.out:
        write_json(found, o.out/'speed.json', overwrite=True)
        chart(found).savefig(o.out/'speed.png', dpi=150)
    if o.json: print(json.dumps(found))

if __name__ == '__main__': main(options())
