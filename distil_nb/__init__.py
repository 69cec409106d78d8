"""Modules:

- `distil_nb.files`: Texts are read as they are written: what a file leaves open is found out from all of it and said; what does not fit is named with its line."""

__version__ = "0.1.0"
_PLACES = dict(Settings='core', CompressionError='core', load_data='data',
    load_checkpoint='checkpoints', save_checkpoint='checkpoints', distil='distillation',
    train_teacher='distillation', quantize_model='commands', prune_model='commands',
    sparsify_model='commands', export_onnx='export', measure_model='commands',
    predict_texts='commands')
__all__ = [*_PLACES]

def __getattr__(name):
    if name not in _PLACES: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from importlib import import_module
    return getattr(import_module(f'{__name__}.{_PLACES[name]}'), name)

def __dir__(): return sorted([*globals(), *__all__])
