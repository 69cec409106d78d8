"What can be checked before the work is checked before it: a place that is taken is refused before anything is read."
import pytest

from distil_nb.commands import prune_model, quantize_model, report_models, sparsify_model
from distil_nb.compress import Target, compress
from distil_nb.core import CompressionError
from distil_nb.distillation import distil, train_teacher
from distil_nb.export import export_onnx
from distil_nb.lm_distillation import distil_lm
from distil_nb.qat import train_quantized
from distil_nb.sparsify import train_sparse

NOWHERE = './nowhere'  # reading it would be another refusal
STEPS = dict(
    distil=lambda out: distil(NOWHERE, NOWHERE, out),
    teacher=lambda out: train_teacher(NOWHERE, NOWHERE, out),
    quantize=lambda out: quantize_model(NOWHERE, out=out),
    prune=lambda out: prune_model(NOWHERE, NOWHERE, out, layers=1),
    sparsify=lambda out: sparsify_model(NOWHERE, out=out),
    quantized=lambda out: train_quantized(NOWHERE, NOWHERE, out),
    sparse=lambda out: train_sparse(NOWHERE, NOWHERE, out),
    language=lambda out: distil_lm(NOWHERE, NOWHERE, NOWHERE, out),
    export=lambda out: export_onnx(NOWHERE, out=out),
    report=lambda out: report_models([NOWHERE], NOWHERE, out),
    recipe=lambda out: compress(NOWHERE, NOWHERE, out),
    target=lambda out: compress(NOWHERE, NOWHERE, out, target=Target(max_mb=3)))

@pytest.mark.parametrize('step', STEPS)
@pytest.mark.parametrize('ending', ['', '/'])
def test_a_place_that_is_taken(tmp_path, step, ending):
    "Also with a slash behind it, as the shell completes it."
    (tmp_path/'out').mkdir()
    (tmp_path/'out'/'diary.txt').write_text('mine')
    with pytest.raises(CompressionError, match='exists already'): STEPS[step](f'{tmp_path}/out{ending}')
    assert (tmp_path/'out'/'diary.txt').read_text() == 'mine'
