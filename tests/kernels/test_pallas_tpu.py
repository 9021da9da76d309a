"""TPU kernels: results in interpret mode, and lowering for a v5e."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import pytest
from metarl.kernels.lopt_update import arg_specs, implementations, pallas_tpu
from metarl.kernels.lopt_update.api import choose
from metarl.kernels.lopt_update.arg_specs import ArgSpec
from metarl.kernels.lopt_update.config import KernelConfig, Tiles
from metarl.kernels.lopt_update.matrices import Matrices

from tests.kernels.cross_lowering import lowered_for_tpu
from tests.kernels.test_lopt_update import CASES, compare, start
from tests.kernels.test_pallas_gpu import one_step
from tests.quick_compilation import quick_jit

pytestmark = pytest.mark.kernel

SMALL = Tiles(32, 16, least=(1, 16))
TINY = KernelConfig(SMALL, SMALL, interpret=True)
"""Tiles of 2 x 16: small tensors have several, and they exceed the edges, into NaN."""

CALLS = [
    ("adafac, 4 wide", ArgSpec("odd", (5, 37))),
    ("adafac, 4 wide", ArgSpec("tasks in half precision", (3, 18), batch=(2,), dtype="bfloat16")),
    ("celo2", ArgSpec("normalised by matrix", (2, 3, 17))),
    ("celo2, wide", ArgSpec("wider than the reference spells out", (3, 19))),
]


@pytest.mark.parametrize(("case", "spec"), CALLS, ids=lambda x: getattr(x, "name", x))
def test_steps_and_moments(case, spec):
    update = partial(pallas_tpu.lopt_update, config=TINY)
    compare(case, spec, quick_jit(one_step(case, spec, update)))


def test_tiles_are_whole_registers():
    for blocks in (pallas_tpu.CONFIG.unrolled, pallas_tpu.CONFIG.products):
        for rows in (2, 9, 70, 50257):
            for columns in (2, 61, 1024):
                tall, wide = blocks.size(Matrices((rows, columns), (0, 1)))
                assert tall % 8 == wide % 128 == 0
                assert tall * wide <= blocks.elements


def test_without_a_tpu_the_kernel_is_an_error():
    with pytest.raises(ValueError, match=r"'pallas_tpu'.*cannot run here.*'tpu'.*'cpu'"):
        choose("pallas_tpu")


def test_with_a_tpu_the_kernel_runs_when_it_is_named(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert implementations() == ("reference",)
    assert choose("pallas_tpu") == "pallas_tpu"


LOWERED = [
    *(("adafac, 4 wide", spec) for spec in (*arg_specs.VIT_BASE[:2], *arg_specs.POPULATION)),
    *(("adafac, 32 wide", spec) for spec in (arg_specs.VIT_BASE[3], arg_specs.GPT2_MEDIUM[0])),
    ("velo", ArgSpec("odd batch of kernels", (3, 3, 70, 61), batch=(2,), dtype="bfloat16")),
    ("celo2", ArgSpec("odd batch of kernels", (3, 3, 70, 61), batch=(2,))),
]


@pytest.mark.skipif(
    jax.__version_info__ < (0, 11),
    reason='jax 0.9 asks for the chip: "Unsupported TPU device kind: cpu"',
)
@pytest.mark.parametrize(("case", "spec"), LOWERED, ids=lambda x: getattr(x, "name", x))
def test_real_calls_are_lowered(case, spec):
    shaped = jax.ShapeDtypeStruct
    layers = [
        (shaped((*spec.batch, a, b), jnp.float32), shaped((*spec.batch, b), jnp.float32))
        for a, b in pairwise(CASES[case][3])
    ]
    p = shaped((*spec.batch, *spec.shape), jnp.dtype(spec.dtype))
    moments = jax.eval_shape(partial(start, spec))
    run = one_step(case, spec, pallas_tpu.lopt_update)
    text = lowered_for_tpu(run, layers, p, p, moments)
    assert text.count("@tpu_custom_call") == 2
    assert text.count("output_operand_alias<") == 2
