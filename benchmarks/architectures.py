"""Every architecture by every step, held against plain transformers; what *Architectures* shows.

    python benchmarks/architectures.py     (writes benchmarks/architectures.json; tests/test_architectures.py runs the same cells)

Each model is tiny and random, stored in bfloat16, with a tokenizer of its own kind that has an added token, and a table padded to 64 rows. A cell is
`exact` (the same bits), `within 1e-4` (of the largest logit), or the reason why there is no such thing."""
import copy, json, tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from datasets import Dataset, DatasetDict
from torch import nn
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from distil_nb.core import CompressionError, Settings, quiet
from distil_nb.checkpoints import load_checkpoint, save_checkpoint
from distil_nb.distillation import distil
from distil_nb.evaluate import classifier
from distil_nb.export import export_onnx
from distil_nb.models import keep_layers
from distil_nb.prune import prune_parts
from distil_nb.quantize import SCHEMES, QuantizedMatrix, quantize
from distil_nb.sample import generate_urls
from distil_nb.sparsify import Sparsity, sparsify
from distil_nb.vocabulary import prune_vocabulary
import transformers as hf

URLS = [o['text'] for o in generate_urls(300, seed=5)]
TEXTS = [*(o[:60] for o in URLS[:6]), 'a', f'{URLS[6][:40]} {URLS[7][:40]}']

# --- tokenizers, each of its own kind

def trained(model, trainer, before, normalizer=None):
    "A tokenizer, trained on the spot."
    raw = Tokenizer(model)
    raw.pre_tokenizer = before
    if normalizer: raw.normalizer = normalizer
    raw.train_from_iterator(URLS, trainer)
    return json.loads(raw.to_str())['model']

def special(*tokens): return dict(special_tokens=list(tokens), show_progress=False, vocab_size=600)

@cache
def wordpiece():
    return trained(models.WordPiece(unk_token='[UNK]'), trainers.WordPieceTrainer(**special('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]')),
        pre_tokenizers.BertPreTokenizer(), normalizers.BertNormalizer(lowercase=True))['vocab']

def mpnet_vocab():
    "MPNet has special tokens of RoBERTa in front of BERT's words."
    first = ['<s>', '<pad>', '</s>', '<unk>', '[UNK]', '<mask>']
    return {o: i for i,o in enumerate([*first, *(o for o in wordpiece() if o[:1] != '[' or len(o) == 1)])}

@cache
def bytes_bpe(*tokens):
    found = trained(models.BPE(), trainers.BpeTrainer(**special(*tokens), initial_alphabet=pre_tokenizers.ByteLevel.alphabet()), pre_tokenizers.ByteLevel(add_prefix_space=False))
    return dict(vocab=found['vocab'], merges=[tuple(o) for o in found['merges']])

@cache
def unigram(*tokens):
    found = trained(models.Unigram(), trainers.UnigramTrainer(**special(*tokens), unk_token=next(o for o in tokens if 'unk' in o.lower()),
        initial_alphabet=list(map(chr, range(33, 127)))), pre_tokenizers.Metaspace())['vocab']
    return [tuple(o) for o in found]

def byte_level(*tokens, **named):
    "A tokenizer without a class of its own, as ModernBERT and Llama 3 have it."
    raw = Tokenizer(models.BPE(**bytes_bpe(*tokens)))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    from tokenizers.processors import TemplateProcessing
    before,after = named.get('cls_token') or named['bos_token'],named.get('sep_token')
    numbers = [(o, raw.token_to_id(o)) for o in (before, after) if o]
    end = [after] if after else []
    raw.post_processor = TemplateProcessing(single=[before, '$A', *end], pair=[before, '$A', *end, '$B', *end], special_tokens=numbers)
    return hf.PreTrainedTokenizerFast(tokenizer_object=raw, **named)

_ROBERTA = '<s>', '<pad>', '</s>', '<unk>', '<mask>'
_BERT = '[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'
_ALBERT = '<pad>', '<unk>', '[CLS]', '[SEP]', '[MASK]'
_END = '<|endoftext|>',

# --- models: tokenizer, class of the configuration, what it says beside sizes, and where heads and neurons are read (for the masks alone)

SIZES = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64, max_position_embeddings=130)
_USUAL = 'attention.output.dense', 'output.dense'
_LLAMA = 'self_attn.o_proj', 'mlp.down_proj'
_RELATIVE = dict(relative_attention=True, pos_att_type=['c2p', 'p2c'], position_buckets=8, position_biased_input=False)
_BLOCKS = dict(num_key_value_heads=2, eos_token_id=0, bos_token_id=0)

KINDS = {
    'BERT': (lambda: hf.BertTokenizer(vocab=wordpiece()), hf.BertConfig, {}, _USUAL),
    'DistilBERT': (lambda: hf.BertTokenizer(vocab=wordpiece()), hf.DistilBertConfig, {}, ('attention.out_lin', 'ffn.lin2')),
    'ELECTRA': (lambda: hf.BertTokenizer(vocab=wordpiece()), hf.ElectraConfig, dict(embedding_size=32), _USUAL),
    'MPNet': (lambda: hf.MPNetTokenizer(vocab=mpnet_vocab()), hf.MPNetConfig, dict(bos_token_id=0, eos_token_id=2), ('attention.attn.o', 'output.dense')),
    'RoBERTa': (lambda: hf.RobertaTokenizer(**bytes_bpe(*_ROBERTA)), hf.RobertaConfig, dict(bos_token_id=0, eos_token_id=2), _USUAL),
    'XLM-R': (lambda: hf.XLMRobertaTokenizer(vocab=unigram(*_ROBERTA)), hf.XLMRobertaConfig, dict(bos_token_id=0, eos_token_id=2), _USUAL),
    'CamemBERT': (lambda: hf.CamembertTokenizer(vocab=unigram(*_ROBERTA)), hf.CamembertConfig, dict(bos_token_id=0, eos_token_id=2), _USUAL),
    'ALBERT': (lambda: hf.AlbertTokenizer(vocab=unigram(*_ALBERT)), hf.AlbertConfig, dict(embedding_size=32, bos_token_id=2, eos_token_id=3), ('attention.dense', 'ffn_output')),
    'DeBERTa-v2': (lambda: hf.DebertaV2Tokenizer(vocab=unigram(*_BERT)), hf.DebertaV2Config, _RELATIVE, _USUAL),
    'DeBERTa-v3': (lambda: hf.DebertaV2Tokenizer(vocab=unigram(*_BERT)), hf.DebertaV2Config, _RELATIVE | dict(share_att_key=True), _USUAL),
    'ModernBERT': (lambda: byte_level('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', pad_token='[PAD]', unk_token='[UNK]', cls_token='[CLS]', sep_token='[SEP]', mask_token='[MASK]'),
        hf.ModernBertConfig, dict(local_attention=8, bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3), ('attn.Wo', 'mlp.Wo')),
    'GPT-2': (lambda: hf.GPT2Tokenizer(**bytes_bpe(*_END)), hf.GPT2Config, dict(bos_token_id=0, eos_token_id=0), ('attn.c_proj', 'mlp.c_proj')),
    'Llama': (lambda: byte_level('<|begin|>', '<|end|>', bos_token='<|begin|>', eos_token='<|end|>'), hf.LlamaConfig, _BLOCKS | dict(eos_token_id=1), _LLAMA),
    'Qwen2': (lambda: hf.Qwen2Tokenizer(**bytes_bpe(*_END)), hf.Qwen2Config, _BLOCKS, _LLAMA),
    'Qwen3': (lambda: hf.Qwen2Tokenizer(**bytes_bpe(*_END)), hf.Qwen3Config, _BLOCKS | dict(head_dim=16), _LLAMA),
}
_NAMES = dict(DistilBERT=dict(hidden_size='dim', num_hidden_layers='n_layers', num_attention_heads='n_heads', intermediate_size='hidden_dim'),
    **{'GPT-2': dict(hidden_size='n_embd', num_hidden_layers='n_layer', num_attention_heads='n_head', intermediate_size='n_inner', max_position_embeddings='n_positions')})

def make(kind:str, folder:Path, classes:int=3):
    "Write a random classifier in bfloat16, with its tokenizer."
    tokenizer,config,more,_ = KINDS[kind]
    tokenizer = tokenizer()
    tokenizer.add_tokens(['paypal.com'])
    names = _NAMES.get(kind, {})
    sizes = {names.get(k, k): v for k,v in SIZES.items()}
    vocab_size = -(-len(tokenizer)//64)*64
    told = config(**sizes, **more, vocab_size=vocab_size, pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else more.get('eos_token_id'), num_labels=classes)
    torch.manual_seed(0)
    with quiet(): model = hf.AutoModelForSequenceClassification.from_config(told)
    for p in model.parameters(): p.data += .2*torch.randn_like(p)
    with quiet(): model.bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)

# --- the oracle: plain transformers

def plain(folder:Path):
    "What `from_pretrained` alone makes of a folder."
    with quiet(): return hf.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()

@torch.inference_mode()
def logits(model, tokenizer):
    "Of some texts, in one batch, padded on the right."
    batch = tokenizer(TEXTS, padding=True, return_tensors='pt')
    names = [o for o in ('input_ids', 'attention_mask', 'token_type_ids') if o in batch]
    if 'token_type_ids' not in tokenizer.model_input_names: names = names[:2]
    return model(**{k: batch[k] for k in names}).logits

def layer_lists(model):
    "Layers by name, whatever they are called; ALBERT's one layer."
    lists = [o for o in model.base_model.modules() if isinstance(o, nn.ModuleList) and len(o) == model.config.num_hidden_layers]
    return lists[0] if lists else model.base_model.encoder.albert_layer_groups[0].albert_layers

@contextmanager
def hooked(*pairs):
    "Forward hooks, or hooks before, on modules."
    handles = [getattr(module, how)(hook, **more) for module,how,hook,more in pairs]
    try: yield
    finally:
        for o in handles: o.remove()

def passing(layer, args, kwargs, output):
    given = args[0] if args else kwargs['hidden_states']
    return (given, *output[1:]) if isinstance(output, tuple) else given

def first_uses(n:int):
    "A hook for a layer that is used again and again: after so many times it passes on."
    uses = []
    def hook(layer, args, kwargs, output):
        uses.append(1)
        return output if len(uses) <= n else passing(layer, args, kwargs, output)
    return hook

def without_layers(model, keep):
    layers = layer_lists(model)
    more = dict(with_kwargs=True)
    if len(layers) < model.config.num_hidden_layers: return hooked((layers[0], 'register_forward_hook', first_uses(len(keep)), more))
    return hooked(*((o, 'register_forward_hook', passing, more) for i,o in enumerate(layers) if i not in keep))

def gated(model, place:str, kept, parts:int):
    "What goes into a layer, without some parts."
    def hook(numbers):
        def gate(module, args):
            mask = torch.zeros(parts)
            mask[numbers] = 1
            return (args[0]*mask.repeat_interleave(args[0].shape[-1]//parts), *args[1:])
        return gate
    return hooked(*((layer.get_submodule(place), 'register_forward_pre_hook', hook(o), {}) for layer,o in zip(layer_lists(model), kept)))

def with_weights(whole, changed):
    "The plain model with the numbers that a changed one holds, codes multiplied out."
    twin = copy.deepcopy(whole)
    for name,part in changed.named_modules():
        weight,bias = getattr(part, 'weight', None),getattr(part, 'bias', None)
        if not isinstance(weight, torch.Tensor): continue
        theirs = twin.get_submodule(name)
        if isinstance(part, QuantizedMatrix) and isinstance(theirs, hf.pytorch_utils.Conv1D): weight = weight.T
        theirs.weight.data = weight.detach().clone()
        if bias is not None: theirs.bias.data = bias.detach().clone()
    return twin

# --- steps: each gives the logits that were read back, and those of the oracle

KEPT = [1, 2]  # of three layers: the first goes

def again(model, tokenizer, folder:Path):
    "Save, load."
    save_checkpoint(model, tokenizer, folder/'changed')
    return load_checkpoint(folder/'changed')

def depth(kind, model, tokenizer, whole, folder):
    read,own = again(keep_layers(model, KEPT), tokenizer, folder)
    with without_layers(whole, KEPT): return logits(read, own), logits(whole, tokenizer)

def heads(kind, model, tokenizer, whole, folder):
    parts = getattr(model.config, 'num_key_value_heads', None) or 4
    kept = [[parts - 1], [0, parts - 1], [0]] if parts > 2 else [[1], [0, 1], [0]]
    kept = kept[:len(layer_lists(whole))]
    read,own = again(prune_parts(model, heads=kept), tokenizer, folder)
    with gated(whole, KINDS[kind][3][0], kept, parts): return logits(read, own), logits(whole, tokenizer)

def neurons(kind, model, tokenizer, whole, folder):
    kept = [[*range(0, 64, 2)], [*range(40)], [*range(3, 60)]][:len(layer_lists(whole))]
    read,own = again(prune_parts(model, neurons=kept), tokenizer, folder)
    with gated(whole, KINDS[kind][3][1], kept, 64): return logits(read, own), logits(whole, tokenizer)

def zeros(kind, model, tokenizer, whole, folder):
    read,own = again(sparsify(model, Sparsity(.5)), tokenizer, folder)
    twin = with_weights(whole, read)
    inside = [o.weight for o in layer_lists(twin).modules() if isinstance(o, (nn.Linear, hf.pytorch_utils.Conv1D))]
    assert abs(sum((o == 0).sum().item() for o in inside)/sum(o.numel() for o in inside) - .5) < .02
    return logits(read, own), logits(twin, tokenizer)

def rounded(scheme):
    def step(kind, model, tokenizer, whole, folder):
        read,own = again(quantize(model, SCHEMES[scheme]), tokenizer, folder)
        inside = [o for o in layer_lists(read).modules() if isinstance(o, (nn.Linear, hf.pytorch_utils.Conv1D))]
        assert not inside  # none is left in floats
        twin = with_weights(whole, read)
        off = max((a - b).abs().max()/b.abs().max() for a,b in zip(twin.parameters(), whole.parameters()) if a.dim() == 2)
        assert 0 < off < (.3 if '4' in scheme else .02)
        return logits(read, own), logits(twin, tokenizer)
    return step

def vocabulary(kind, model, tokenizer, whole, folder):
    small,short = prune_vocabulary(model, tokenizer, TEXTS)
    assert len(short) < .8*len(tokenizer) and small.get_input_embeddings().num_embeddings == len(short)
    save_checkpoint(small, short, folder/'changed')
    own = hf.AutoTokenizer.from_pretrained(folder/'changed')
    own.padding_side = 'right'
    return logits(plain(folder/'changed'), own), logits(whole, tokenizer)

def reload(kind, model, tokenizer, whole, folder):
    read,own = again(model, tokenizer, folder)
    theirs = logits(plain(folder/'changed'), own)
    assert torch.equal(theirs, logits(read, own))
    # as it is evaluated, the last layer with its first token alone where the model allows that
    assert (torch.from_numpy(classifier(read, own)(TEXTS)) - theirs).abs().max() <= 1e-4*theirs.abs().max()
    return logits(read, own), logits(whole, tokenizer)

def onnx(kind, model, tokenizer, whole, folder):
    "The whole model, written as a graph and run by ONNX Runtime."
    export_onnx(model, tokenizer, folder/'onnx')
    return logits(*load_checkpoint(folder/'onnx')), logits(whole, tokenizer)

def distilled(kind, model, tokenizer, whole, folder):
    rows = Dataset.from_dict(dict(text=[o[:60] for o in URLS[:24]], labels=[i%3 for i in range(24)]))
    distil(folder/'base', DatasetDict({o: rows for o in ('train', 'validation', 'test')}), folder/'changed', keep=[0, 2], settings=Settings(epochs=1, batch_size=8))
    read,own = load_checkpoint(folder/'changed')
    return logits(read, own), logits(plain(folder/'changed'), own)

STEPS = dict(distil=distilled, depth=depth, heads=heads, neurons=neurons, zeros=zeros, int8=rounded('weight-int8'), **{'4-bit': rounded('weight-int4')},
    vocabulary=vocabulary, **{'save and reload': reload}, ONNX=onnx)

def said(step, *inputs)->str:
    "What a cell of the table says."
    try: ours,theirs = step(*inputs)
    except CompressionError as e: return str(e).partition(':')[0]
    assert ours.shape == theirs.shape and theirs.std() > 1e-3
    if torch.equal(ours, theirs): return 'exact'
    off = ((ours - theirs).abs().max()/theirs.abs().max()).item()
    assert off <= 1e-4, f'off by {off:.2g} of the largest logit'
    return 'within 1e-4'

def row(kind:str, steps=STEPS)->dict[str,str]:
    "All cells of one architecture."
    found = {}
    with tempfile.TemporaryDirectory() as tmp:
        make(kind, Path(tmp)/'base')
        model,tokenizer = load_checkpoint(Path(tmp)/'base')
        whole = plain(Path(tmp)/'base')
        for name,step in steps.items():
            with tempfile.TemporaryDirectory(dir=tmp) as folder:
                (Path(folder)/'base').symlink_to(Path(tmp)/'base')
                found[name] = said(step, kind, model, tokenizer, whole, Path(folder))
    return found

if __name__ == '__main__':
    found = {}
    for kind in KINDS:
        found[kind] = row(kind)
        print(kind, *found[kind].values(), sep='; ', flush=True)
    Path(__file__).with_suffix('.json').write_text(json.dumps(found, indent=2) + '\n')
