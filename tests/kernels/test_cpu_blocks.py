"""The update on CPU in blocks: against float64, in memory, and through transformations."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metarl.kernels.lopt_update import arg_specs, cpu_blocks, cpu_loops, lopt_apply, lopt_update
from metarl.kernels.lopt_update.block_specs import block_specs

from metarl.optimizers.lopt.adafac_mlp_lopt import FEATURES
from tests.kernels.rounding import assert_rounded_once
from tests.kernels.test_lopt_update import (
    CASES,
    CELO2,
    RATES,
    compare,
    draw,
    expected,
    one_step,
    start,
)

pytestmark = pytest.mark.kernel

SMALL = cpu_loops.Sizes(whole=8, summed=12, unrolled=10, products=6, least=1)
"""Every tensor of the tests is split into several blocks along several axes."""

SPECS = (
    arg_specs.ArgSpec("equal blocks", (8, 12)),
    arg_specs.ArgSpec("odd", (9, 7)),
    arg_specs.ArgSpec("primes", (13, 11)),
    arg_specs.ArgSpec("one prime row", (1, 37)),
    arg_specs.ArgSpec("one prime column", (37, 1)),
    arg_specs.ArgSpec("rank 3", (5, 3, 4)),
    arg_specs.ArgSpec("rank 4", (3, 2, 5, 7)),
    arg_specs.ArgSpec("half precision", (7, 5), dtype="bfloat16"),
    arg_specs.ArgSpec("tasks", (7, 5), batch=(3,)),
    arg_specs.ArgSpec("population of tasks", (7, 5), batch=(2, 3)),
)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(cpu_loops, "SIZES", SMALL)


def one_step_in_place(case, spec):
    """Like `one_step`, with the step as the difference of parameters."""
    features, exponent = CASES[case][0], CASES[case][-1]

    def run(layers, p, g, moments):
        given = (features, layers, 0.5, p, g, moments, RATES, exponent, "cpu_blocks")
        new, moments = lopt_apply(*given)
        return p - new, moments

    for _ in spec.batch:
        run = jax.vmap(run)
    return run


@pytest.mark.parametrize("shape", [(1,), (7,), (37,), (4, 6), (13, 11), (5, 1, 6), (3, 2, 5, 7)])
@pytest.mark.parametrize("most", [1, 4, 6, 10, 1000])
def test_first_visit_masks_cover_every_element_once(shape, most):
    blocks = block_specs(shape, most)
    assert np.prod(blocks.block) <= most
    assert np.prod(blocks.block) >= min(np.prod(shape), (most + 1) // 2) / 2
    visits, places = np.zeros(shape, int), np.arange(np.prod(shape)).reshape(shape)
    for index in range(blocks.number):
        starts, first_visit = (
            blocks.starts(jnp.int32(index)),
            blocks.first_visit_mask(jnp.int32(index)),
        )
        own = np.asarray(blocks.read(jnp.asarray(places), starts))
        assert own.shape == blocks.block
        visits.reshape(-1)[
            own[np.ones(own.shape, bool) if first_visit is None else first_visit]
        ] += 1
    np.testing.assert_array_equal(visits, 1)


def test_blocks_of_prime_sizes_are_of_moderate_size():
    assert block_specs((4099, 64), 4096).block == (64, 64)
    assert block_specs((8, 4099), 1024).block == (1, 820)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("case", ["adafac, 32 wide", "velo"])
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
@pytest.mark.sampled(5)
def test_blocks_against_float64(spec, case):
    assert cpu_blocks.is_blocked(CASES[case][0], spec.shape)
    compare(case, spec, jax.jit(one_step(case, spec, "cpu_blocks")))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("case", ["adafac, 4 wide", "adafac, 32 wide"])
@pytest.mark.parametrize(
    "spec", [spec for spec in SPECS if spec.dtype == "float32"], ids=lambda spec: spec.name
)
@pytest.mark.sampled(5)
def test_blocks_in_place_against_float64(spec, case):
    compare(case, spec, jax.jit(one_step_in_place(case, spec)))


@pytest.mark.parametrize("spec", arg_specs.TILED, ids=lambda spec: spec.name)
@pytest.mark.sampled(2)
def test_blocks_of_their_own_size(spec):
    compare("adafac, 32 wide", spec, jax.jit(one_step_in_place("adafac, 32 wide", spec)))


@pytest.mark.usefixtures("small")
def test_a_parameter_is_rounded_once():
    case, spec = "velo", arg_specs.ArgSpec("", (13, 7), dtype="bfloat16")
    layers, p, g = draw(spec, case)
    given = (CASES[case][0], layers, 0.5, p, g[0], start(spec), RATES, CASES[case][-1])
    new, _ = jax.jit(lambda: lopt_apply(*given, "cpu_blocks"))()
    want, _ = expected(case, layers, p, g[:1])
    assert new.dtype == p.dtype
    # 3e-6 as in `compare`
    assert_rounded_once(new, np.float64(p) - want[0], 3e-6 * max(np.abs(want).max(), 1.0))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("update", "batch"),
    [(lopt_update, ()), (lopt_apply, (2,))],
    ids=["alone", "in place, vmapped"],
)
@pytest.mark.sampled(1)
def test_derivatives_are_the_reference_s(update, batch):
    case, spec = "adafac, 4 wide", arg_specs.ArgSpec("", (7, 5), batch)
    layers, p, g = draw(spec, case)

    def loss(implementation, layers, p, g, moments):
        def run(layers, p, g, moments):
            given = (FEATURES, layers, 0.5, p, g, moments, RATES, 0.3, implementation)
            return update(*given)

        for _ in batch:
            run = jax.vmap(run)
        end, moments = run(layers, p, g, moments)
        return jnp.sum(jnp.sin(end)) + sum(jnp.sum(jnp.tanh(x)) for x in moments)

    given = (layers, p, g[0] / jnp.abs(g[0]).max(), start(spec))
    got, want = (
        jax.jit(jax.grad(lambda *x, way=way: loss(way, *x), (0, 1, 2, 3)))(*given)
        for way in ("cpu_blocks", "reference")
    )
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert np.abs(y).max() > 0
        # the backward pass is the same, of results that differ by the 3e-6 of `compare`
        np.testing.assert_allclose(x, y, rtol=0, atol=3e-6 * np.abs(y).max())


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("implementation", ["cpu_blocks", "reference"])
def test_non_finite_gradients_count_as_zero_and_large_ones_are_clipped(implementation):
    case, spec = "adafac, 4 wide", arg_specs.ArgSpec("", (7, 5))
    layers, p, g = draw(spec, case)
    run = jax.jit(one_step(case, spec, implementation))
    bad = g[0].at[0, :4].set(jnp.asarray([jnp.nan, jnp.inf, -jnp.inf, -1e30]))
    good = g[0].at[0, :4].set(jnp.asarray([0.0, 0.0, 0.0, -1e6]))
    made, want = run(layers, p, bad, start(spec)), run(layers, p, good, start(spec))
    assert np.isfinite(want[0]).all()
    jax.tree.map(np.testing.assert_array_equal, made, want)


def test_which_tensors_are_blocked():
    assert cpu_blocks.is_blocked(FEATURES, (64, 65))
    assert not cpu_blocks.is_blocked(FEATURES, (64, 64))
    assert not cpu_blocks.is_blocked(FEATURES, (10_000,))
    assert cpu_blocks.is_blocked(CELO2, (64, 65))
    assert not cpu_blocks.is_blocked(CELO2, (2, 64, 65))  # its normalizers are of each matrix
    assert cpu_blocks.is_blocked(replace(CELO2, normalizer_axes=3), (2, 64, 65))


def memory_of(case, spec, in_place):
    """Returns bytes per parameter of an update, and those of temporaries."""
    features, exponent = CASES[case][0], CASES[case][-1]
    update = lopt_apply if in_place else lopt_update

    def run(moving, layers, g):
        p, moments = moving
        return update(features, layers, 0.5, p, g, moments, RATES, exponent, "cpu_blocks")

    for _ in spec.batch:
        run = jax.vmap(run)
    layers, p, g = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, draw(spec, case)))
    given = ((p, jax.eval_shape(lambda: start(spec))), layers, jax.ShapeDtypeStruct(*like(g)))
    program = jax.jit(run, donate_argnums=(0,) if in_place else ()).lower(*given).compile()
    memory = program.memory_analysis()
    needed = memory.argument_size_in_bytes + memory.output_size_in_bytes
    needed += memory.temp_size_in_bytes - memory.alias_size_in_bytes
    return needed / p.size, memory.temp_size_in_bytes / p.size


def like(g):
    return g.shape[1:], g.dtype


@pytest.mark.parametrize("case", ["adafac, 4 wide", "adafac, 32 wide"])
@pytest.mark.parametrize("shape", [(512, 512), (509, 521), (3, 3, 160, 181)], ids=str)
@pytest.mark.sampled(2)
def test_in_place_updates_make_no_copy(shape, case):
    """Parameters, gradients, four moments: 24 bytes; the claim has room for an update, 4 more."""
    needed, temporary = memory_of(case, arg_specs.ArgSpec("", shape), in_place=True)
    assert 24 <= needed <= 28.3
    assert temporary <= 4.3  # of 28 channels all would be 112


def test_a_population_in_place_is_not_copied():
    spec = arg_specs.ArgSpec("", (128, 128), batch=(16,))
    needed, _ = memory_of("adafac, 4 wide", spec, in_place=True)
    # row and column averages are a fifth of a byte here, weights of each less, a member 20 / 16
    assert 24 <= needed <= 28.3


@pytest.mark.parametrize(("case", "floats"), [("adafac, 4 wide", 2), ("adafac, 32 wide", 1)])
def test_other_updates_allocate_only_results(case, floats):
    """Except for the root of the mean square where the network is unrolled, and blocks."""
    needed, temporary = memory_of(case, arg_specs.ArgSpec("", (512, 512)), in_place=False)
    assert temporary <= 4 * floats + 0.3
    assert needed <= 24 + 20 + 4 * floats + 0.6  # averages over rows and columns, twice
