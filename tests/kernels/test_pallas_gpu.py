"""GPU kernels: results in interpret mode, and lowering for an H200."""

from dataclasses import replace
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl
from metarl.kernels.lopt_update import (
    Call,
    arg_specs,
    implementations,
    init_moments,
    lopt_apply_many,
    lopt_update,
    pallas_gpu,
    reference,
)
from metarl.kernels.lopt_update.api import choose
from metarl.kernels.lopt_update.arg_specs import ArgSpec
from metarl.kernels.lopt_update.config import KernelConfig, Strips, Tiles
from metarl.kernels.lopt_update.matrices import Matrices, matrices
from metarl.kernels.lopt_update.network import Layer

from tests.kernels.cross_lowering import lowered_for_gpu
from tests.kernels.programs import equations
from tests.kernels.rounding import assert_rounded_once
from tests.kernels.test_lopt_update import CASES, RATES, compare, draw, expected, start
from tests.quick_compilation import quick_jit

pytestmark = pytest.mark.kernel

SMALL = Strips(16, rows=(2, 2))
TINY = KernelConfig(SMALL, SMALL, interpret=True)
"""Strips of 2 x 16: small tensors have several, and they exceed the edges."""

CALLS = {
    "adafac, 4 wide": [
        ArgSpec("odd", (5, 37)),
        ArgSpec("full tiles", (4, 32)),
        ArgSpec("half precision", (17, 3), dtype="bfloat16"),
        ArgSpec("population of tasks", (3, 18), batch=(2, 2)),
        ArgSpec("one element", (1, 1)),
    ],
    "adafac, 32 wide": [
        ArgSpec("odd", (5, 19)),
        ArgSpec("tasks", (3, 17), batch=(3,)),
    ],
    "velo": [ArgSpec("rows and columns apart", (5, 2, 18))],
    "celo2": [
        ArgSpec("normalised by matrix", (2, 2, 3, 17)),
        ArgSpec("normalised across matrices", (5, 2, 18)),
    ],
    "celo2, wide": [ArgSpec("batch of matrices", (2, 3, 19))],
}


def one_step(case, spec, update):
    """Returns `(layers, p, g, moments) -> (step, moments)`, vmapped over the batch."""
    features, _, _, _, exponent = CASES[case]

    def run(layers, p, g, moments):
        layers = [Layer(*layer) for layer in layers]
        return update(features, layers, 0.5, p, g, moments, RATES, exponent)

    for _ in spec.batch:
        run = jax.vmap(run)
    return run


@pytest.mark.parametrize(
    ("case", "spec"),
    [(case, spec) for case, specs in CALLS.items() for spec in specs],
    ids=lambda x: getattr(x, "name", x),
)
@pytest.mark.sampled(4)
def test_steps_and_moments(case, spec):
    update = partial(pallas_gpu.lopt_update, config=TINY)
    compare(case, spec, quick_jit(one_step(case, spec, update)))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["adafac, 4 wide", "adafac, 32 wide"])
def test_a_million_elements_in_strips_of_real_size(case):
    spec = ArgSpec("", (1021, 1031))
    config = KernelConfig(interpret=True)
    layout = Matrices(spec.shape, (0, 1))
    assert config.unrolled.size(layout) != config.products.size(layout)
    compare(
        case, spec, jax.jit(one_step(case, spec, partial(pallas_gpu.lopt_update, config=config)))
    )


def test_unwritten_and_nonexistent_elements_are_nan():
    """Otherwise the test above would not detect a missing element or a read beyond the edge."""

    def kernel(x, seen, forgotten):
        seen[...] = jnp.full(4, jnp.sum(x[...]))

    shapes = [jax.ShapeDtypeStruct((4,), jnp.float32)] * 2
    specs = {"in_specs": [pl.BlockSpec((4,), lambda i: 0)]}
    made = pl.pallas_call(kernel, shapes, grid=1, **specs, interpret=True)(jnp.ones(3))
    assert np.isnan(made).all()


@pytest.mark.parametrize("case", ["adafac, 4 wide", "adafac, 32 wide"])
def test_nothing_is_touched_beyond_the_edge(case):
    """Harmless in interpret mode; on a GPU it would access memory of other arrays."""
    spec = ArgSpec("", (5, 37))
    layers, p, g = draw(spec, case)
    update = partial(pallas_gpu.lopt_update, config=TINY)
    program = jax.make_jaxpr(one_step(case, spec, update))(layers, p, g[0], start(spec))
    kernels = [eqn.params["jaxpr"] for eqn in equations(program) if "grid_mapping" in eqn.params]
    assert len(kernels) == 2
    masks, unmasked = {"masked_load": [], "masked_swap": []}, set()
    for eqn in (eqn for kernel in kernels for eqn in equations(kernel)):
        if eqn.primitive.name == "masked_load":
            _, _, mask, _ = jax.tree.unflatten(eqn.params["args_tree"], eqn.invars)
            masks["masked_load"].append(mask)
        elif eqn.primitive.name == "masked_swap":
            _, _, _, mask = jax.tree.unflatten(eqn.params["args_tree"], eqn.invars)
            masks["masked_swap"].append(mask)
        elif eqn.primitive.name == "get":
            unmasked.add(eqn.outvars[0].aval.shape)
    assert unmasked
    assert (1, 1, 16) not in unmasked
    assert len(masks["masked_swap"]) == 5  # three momenta, a mean square, a step
    assert len(masks["masked_load"]) > 2 * 6  # those, p and g, in both kernels, and factors
    assert None not in masks["masked_load"] + masks["masked_swap"]


def test_rows_beyond_the_edge_are_not_visited():
    layout = Matrices((5, 16), (0, 1))

    def kernel(visits):
        strip = pallas_gpu.Strip(layout, (2, 16))
        visits[0] = strip.over(lambda _, count: count + 1, 0)

    out = {"out_specs": pl.BlockSpec((1,), lambda j, i: i)}
    shape = jax.ShapeDtypeStruct((3,), jnp.int32)
    visits = pl.pallas_call(kernel, shape, grid=(1, 3), interpret=True, **out)()
    assert visits.tolist() == [2, 2, 1]


def test_moments_are_written_in_place():
    spec = ArgSpec("", (8, 32))
    text = lowered(spec, "adafac, 4 wide", KernelConfig())
    assert text.count("output_operand_alias<") == 2


def test_parameters_are_updated_in_place():
    case, spec = "adafac, 4 wide", ArgSpec("", (5, 37), dtype="bfloat16")
    layers, p, g = draw(spec, case)
    config = replace(TINY, in_place=True)
    run = one_step(case, spec, partial(pallas_gpu.lopt_update, config=config))
    new, moments = quick_jit(run)(layers, p, g[0], start(spec))
    want, tensor = expected(case, layers, p, g[:1])
    assert new.dtype == p.dtype
    moved = np.float64(p) - want[0]
    # one rounding to bfloat16, of eight bits: half a unit is 2^-8; and those of `compare`
    size = max(np.abs(want).max(), 1.0)
    np.testing.assert_allclose(np.float64(new), moved, rtol=2**-8, atol=3e-6 * size)
    assert np.abs(want).max() > 0.1
    np.testing.assert_allclose(moments.rms, tensor.v, rtol=2e-6)
    config = KernelConfig(in_place=True)
    assert lowered(ArgSpec("", (8, 32)), case, config).count("output_operand_alias<") == 3


def test_tensors_of_one_shape_share_one_call(monkeypatch):
    """Through the public API, with kernels in interpret mode."""
    real, case, shape = pallas_gpu.lopt_update, "adafac, 4 wide", (3, 18)

    def interpreted(*arguments, config):
        return real(*arguments, config=replace(TINY, in_place=config.in_place))

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(pallas_gpu, "lopt_update", interpreted)
    spec = ArgSpec("", shape, dtype="bfloat16")
    layers = draw(spec, case)[0]
    tensors = [draw(spec, case, seed)[1:] for seed in (1, 2)]

    def run(layers, tensors, moments):
        calls = [Call(layers, 0.5, p, g[0], moments) for p, g in tensors]
        return lopt_apply_many(CASES[case][0], calls, RATES, CASES[case][-1], "pallas_gpu")

    program = quick_jit(run).trace(layers, tensors, start(spec))
    kernels = [eqn for eqn in equations(program.jaxpr) if "grid_mapping" in eqn.params]
    assert len(kernels) == 2
    assert len(kernels[-1].params["input_output_aliases"]) == 3
    made = program.lower().compile()(layers, tensors, start(spec))
    for (p, g), (new, moments) in zip(tensors, made, strict=True):
        want, tensor = expected(case, layers, p, g[:1])
        assert new.dtype == jnp.bfloat16
        # 3e-6 as in `compare`
        atol = 3e-6 * max(np.abs(want).max(), 1.0)
        assert_rounded_once(new, np.float64(p) - want[0], atol)
        np.testing.assert_allclose(moments.rms, tensor.v, rtol=2e-6)


def test_gradients_are_those_of_the_reference():
    case, spec = "adafac, 32 wide", ArgSpec("", (3, 17), batch=(2,))
    layers, p, g = draw(spec, case)
    arguments = (layers, p, g[0], start(spec))
    rng = np.random.default_rng(1)

    def gradients(update):
        run = one_step(case, spec, update)
        made = jax.eval_shape(run, *arguments)
        given = jax.tree.map(lambda x: np.float32(rng.normal(size=x.shape)), made)
        pull = quick_jit(lambda x, y: jax.vjp(run, *x)[1](y))
        return pull(arguments, given)

    got = gradients(partial(pallas_gpu.lopt_update, config=TINY))
    rng = np.random.default_rng(1)
    want = gradients(reference.lopt_update)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        size = np.abs(y).max()
        assert size > 0
        np.testing.assert_allclose(x, y, atol=1e-6 * size, rtol=0)


def test_which_tensors_are_tiled():
    adafac, celo2 = CASES["adafac, 4 wide"][0], CASES["celo2"][0]
    for shape in [(), (5,), (1, 1), (6, 1), (1, 7, 1)]:
        assert not pallas_gpu.tiled(adafac, shape)
    for shape in [(2, 2), (3, 3, 8, 9), (9, 2, 8)]:
        assert pallas_gpu.tiled(adafac, shape)
    assert pallas_gpu.tiled(celo2, (3, 3, 8, 9))
    assert not pallas_gpu.tiled(celo2, (9, 2, 8))
    assert not pallas_gpu.tiled(replace(adafac, rms=2), (2, 2))


def test_a_tensor_packed_as_matrices_and_back():
    shape = (5, 2, 7, 3)
    layout = matrices(shape)
    x = np.arange(2 * 5 * 2 * 7 * 3).reshape(2, *shape)
    packed = layout.pack(x)
    assert packed.shape == (2, layout.batch, layout.rows, layout.columns) == (2, 6, 5, 7)
    for place in np.ndindex(2, 6, 5, 7):
        k, b, i, j = place
        assert packed[place] == x[k, i, b // 3, j, b % 3]
    np.testing.assert_array_equal(layout.unpack(packed), x)


@pytest.mark.parametrize("batch", [1, 40])
def test_strips_are_powers_of_two_that_cover_a_matrix_and_hardly_more(batch):
    strips = Strips(512)
    for rows in (2, 5, 64, 1000, 70_000, 1_000_000):
        for columns in (2, 16, 17, 300, 768, 2304):
            tall, wide = strips.size(Matrices((batch, rows, columns), (0, 1, 2)))
            assert tall & (tall - 1) == wide & (wide - 1) == 0
            assert 16 <= wide <= 512
            assert tall < 2 * rows
            assert -(-rows // tall) <= 65535  # programs along the second axis of a grid
            across = -(-columns // wide)
            assert across * wide < max(columns / (1 - strips.waste), columns + 64)
            assert 1 <= strips.warps_of(wide) * 32 <= max(wide // 4, 32)


def test_a_large_matrix_has_long_strips_and_a_small_one_fills_the_gpu():
    strips = Strips(512)
    assert strips.size(Matrices((50257, 1024), (0, 1))) == (32, 512)
    tall, wide = strips.size(Matrices((768, 768), (0, 1)))
    assert tall == 4
    assert 768 // tall * 768 // wide * strips.warps_of(wide) > 132 * 4


@pytest.mark.parametrize("size", [0, 8, 24])
def test_other_sizes_of_strips_are_errors(size):
    with pytest.raises(ValueError, match=f"columns is {size}. Permitted: powers of two from 16"):
        Strips(size)
    with pytest.raises(ValueError, match=f"elements is {size}. Permitted: powers of two from 16"):
        Tiles(size, 16)


def test_strips_of_other_heights_are_errors():
    with pytest.raises(ValueError, match=r"fewest is 3\. Permitted: powers of two from 1"):
        Strips(16, rows=(3, 8))


def test_without_a_gpu_blocks_run_and_a_kernel_is_an_error():
    layers, p, g = draw(ArgSpec("", (2, 2)), "velo")
    moments = init_moments((2, 2), 3, 1, 3)
    assert choose(None) == "cpu_blocks"
    assert implementations() == ("cpu_blocks", "reference")
    with pytest.raises(ValueError, match=r"'pallas_gpu'.*cannot run here.*'gpu'.*'cpu'"):
        lopt_update(CASES["velo"][0], layers, 1.0, p, g[0], moments, RATES, 0.1, "pallas_gpu")


def test_with_a_gpu_a_kernel_runs_when_it_is_named(monkeypatch):
    """It becomes automatic once a GPU has compared it with the reference."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert implementations() == ("reference",)
    assert choose(None) == "reference"
    assert choose("pallas_gpu") == "pallas_gpu"
    assert choose("pallas_gpu_tf32") == "pallas_gpu_tf32"


def lowered(spec, case, config):
    """Returns the program of one call for a GPU."""
    shaped = jax.ShapeDtypeStruct
    layers = [
        (shaped((*spec.batch, a, b), jnp.float32), shaped((*spec.batch, b), jnp.float32))
        for a, b in pairwise(CASES[case][3])
    ]
    p = shaped((*spec.batch, *spec.shape), jnp.dtype(spec.dtype))
    update = partial(pallas_gpu.lopt_update, config=config)
    moments = jax.eval_shape(partial(start, spec))
    return lowered_for_gpu(one_step(case, spec, update), layers, p, p, moments)


LOWERED = {
    "adafac, 4 wide": (*arg_specs.VIT_BASE[:2], arg_specs.GPT2_MEDIUM[0], *arg_specs.POPULATION),
    "adafac, 32 wide": (*arg_specs.VIT_BASE, *arg_specs.GPT2_MEDIUM, arg_specs.POPULATION[-1]),
    "velo": (ArgSpec("odd batch of kernels", (3, 3, 70, 61), batch=(2,), dtype="bfloat16"),),
    "celo2": (ArgSpec("odd batch of kernels", (3, 3, 70, 61), batch=(2,)),),
    "celo2, wide": (ArgSpec("odd", (1, 70, 61)),),
}
"""Matrices of real networks."""


@pytest.mark.parametrize(
    ("case", "spec"),
    [(case, spec) for case, specs in LOWERED.items() for spec in specs if len(spec.shape) > 1],
    ids=lambda x: getattr(x, "name", x),
)
@pytest.mark.sampled(4)
def test_real_calls_are_lowered(case, spec):
    assert lowered(spec, case, KernelConfig()).count("@__gpu$xla.gpu.triton") == 2


@pytest.mark.parametrize(
    ("passes", "bits"), [("BF16_BF16_F32", 8), ("BF16_BF16_F32_X3", 16)], ids=lambda x: str(x)
)
@pytest.mark.sampled(1)
def test_products_of_bfloat16_are_as_exact_as_their_bits(passes, bits):
    case, spec = "adafac, 32 wide", ArgSpec("", (5, 19))
    layers, p, g = draw(spec, case)
    config = replace(TINY, precision=jax.lax.DotAlgorithmPreset[passes])
    run = one_step(case, spec, partial(pallas_gpu.lopt_update, config=config))
    step, _ = quick_jit(run)(layers, p, g[0], start(spec))
    want = expected(case, layers, p, g[:1])[0][0]
    error = np.abs(step - want).max() / np.abs(want).max()
    # Two layers and an exponential of 0.3 times the output: a few times the rounding of one product
    assert 2.0**-bits / 16 < error < 4 * 2.0**-bits


def test_every_precision_is_lowered_to_a_program_of_its_own():
    presets = jax.lax.DotAlgorithmPreset
    precisions = [
        jax.lax.Precision.HIGHEST,
        presets.TF32_TF32_F32_X3,
        presets.TF32_TF32_F32,
        presets.BF16_BF16_F32_X3,
        presets.BF16_BF16_F32,
    ]
    spec, case = ArgSpec("", (64, 64)), "adafac, 32 wide"
    texts = {lowered(spec, case, KernelConfig(precision=precision)) for precision in precisions}
    assert len(texts) == 5
