"""The learned update against the naive formula in float64, for all kinds of calls."""

from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metarl.kernels.lopt_update import (
    Rates,
    arg_specs,
    factored_axes,
    implementations,
    init_moments,
    lopt_apply,
    lopt_update,
    tiles,
)

from metarl.optimizers.lopt.adafac_mlp_lopt import FEATURES
from metarl.optimizers.velo.velo_network import VELO_FEATURES
from tests.optimizers import numpy_lopt

pytestmark = pytest.mark.kernel

DECAYS = (0.9, 0.99, 0.999)
RATES = Rates(*(np.float32([1 - d for d in ds]) for ds in (DECAYS, (0.999,), DECAYS)))
CELO2 = replace(VELO_FEATURES, rms_eps=1e-8, normalizer_eps=1e-9, normalizer_axes=2)

EVERYWHERE = (*implementations(), "unfolded")
"""The last one runs on every machine, but is not chosen automatically."""


def adafac(tensor, p, g):
    return numpy_lopt.normalize(numpy_lopt.adafac_channels(tensor, p, g))


def velo(tensor, p, g):
    return numpy_lopt.normalize(numpy_lopt.velo_channels(tensor, p, g))


def celo2(tensor, p, g):
    channels = numpy_lopt.velo_channels(tensor, p, g, eps=1e-8)
    return numpy_lopt.normalize(channels, 1e-9, axes=2)


# feature set, its channels in float64, limit of gradients, units of each layer, exponent
CASES = {
    "adafac, 4 wide": (FEATURES, adafac, np.inf, (28, 4, 4, 2), 0.3),
    "adafac, 32 wide": (FEATURES, adafac, np.inf, (28, 32, 32, 2), 0.3),
    "velo": (VELO_FEATURES, velo, 1000.0, (30, 4, 4, 3), 0.001),
    "celo2": (CELO2, celo2, 1000.0, (30, 8, 8, 3), 0.0),
    "celo2, wide": (CELO2, celo2, 1000.0, (30, 12, 2), 0.0),
}


def draw(spec, case, seed=0):
    """Draws weights, parameters and gradients of two steps; row scales differ by magnitudes."""
    rng = np.random.default_rng(seed)
    units = CASES[case][3]
    layers = [
        (rng.normal(size=(*spec.batch, a, b)) * a**-0.5, rng.normal(size=(*spec.batch, b)))
        for a, b in pairwise(units)
    ]
    lead = spec.shape[:1]
    rows = np.geomspace(1e-4, 1e3, lead[0]).reshape(-1, *[1] * (len(spec.shape) - 1)) if lead else 1
    p = rng.normal(size=(*spec.batch, *spec.shape))
    g = rng.normal(size=(2, *spec.batch, *spec.shape)) * rows
    to = jnp.dtype(spec.dtype)
    return jax.tree.map(np.float32, layers), jnp.asarray(p, to), jnp.asarray(g, to)


def one_step(case, spec, implementation):
    """Returns `(layers, p, g, moments) -> (step, moments)`, vmapped over the batch."""
    feature_set, _, _, _, exponent = CASES[case]

    def run(layers, p, g, moments):
        return lopt_update(feature_set, layers, 0.5, p, g, moments, RATES, exponent, implementation)

    for _ in spec.batch:
        run = jax.vmap(run)
    return run


def start(spec):
    moments = init_moments(spec.shape, 3, 1, 3)
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (*spec.batch, *x.shape)), moments)


def expected(case, layers, p, g):
    """Returns steps and moments of one batch member in float64."""
    _, channels, limit, _, exponent = CASES[case]
    tensor = numpy_lopt.Tensor(p.shape, DECAYS, (0.999,), DECAYS)
    steps = []
    for gradient in g:
        gradient = np.clip(np.float64(gradient), -limit, limit)
        tensor.see(gradient)
        pairs = [(np.float64(kernel), np.float64(bias)) for kernel, bias in layers]
        out = numpy_lopt.mlp(pairs, channels(tensor, np.float64(p), gradient))
        steps.append(0.5 * out[..., 0] * np.exp(exponent * out[..., 1]))
    return np.stack(steps), tensor


def check(case, spec, implementation):
    compare(case, spec, jax.jit(one_step(case, spec, implementation)))


def compare(case, spec, run):
    """Compares two steps of `run`, see `one_step`, with float64."""
    layers, p, g = draw(spec, case)
    first, moments = run(layers, p, g[0], start(spec))
    second, moments = run(layers, p, g[1], moments)
    assert first.dtype == moments.momenta.dtype == jnp.float32
    steps = np.stack([first, second])
    for member in np.ndindex(*spec.batch):
        own = jax.tree.map(lambda x, member=member: x[member], layers)
        want, tensor = expected(case, own, p[member], g[(slice(None), *member)])
        # 3e-6 is fifty roundings of float32, for 30 channels, two layers and an exponential
        size = max(np.abs(want).max(), 1.0)
        np.testing.assert_allclose(steps[(slice(None), *member)], want, atol=3e-6 * size, rtol=0)
        close = {"rtol": 2e-6, "atol": 0}
        largest = np.abs(g[(slice(None), *member)]).max()  # momenta of both signs cancel
        np.testing.assert_allclose(moments.momenta[member], tensor.m, atol=2e-7 * largest)
        np.testing.assert_allclose(moments.rms[member], tensor.v, **close)
        if len(spec.shape) > 1:
            np.testing.assert_allclose(moments.row[member], tensor.row, **close)
            np.testing.assert_allclose(moments.col[member], tensor.col, **close)
        else:
            np.testing.assert_allclose(moments.row[member], tensor.full, **close)


@pytest.mark.parametrize("implementation", EVERYWHERE)
@pytest.mark.parametrize("spec", arg_specs.SMALL, ids=lambda spec: spec.name)
@pytest.mark.sampled(9)
def test_every_kind_of_call(spec, implementation):
    check("adafac, 4 wide", spec, implementation)


@pytest.mark.parametrize("implementation", EVERYWHERE)
@pytest.mark.parametrize("case", [name for name in CASES if name != "adafac, 4 wide"])
@pytest.mark.parametrize("shape", [(5,), (6, 4), (3, 4, 2, 3)], ids=str)
@pytest.mark.sampled(10)
def test_every_feature_set(case, shape, implementation):
    check(case, arg_specs.ArgSpec("", shape), implementation)


@pytest.mark.parametrize("spec", arg_specs.TILED, ids=lambda spec: spec.name)
@pytest.mark.sampled(2)
def test_the_reference_on_tiles(spec):
    check("adafac, 32 wide", spec, "reference")


@pytest.mark.slow
@pytest.mark.parametrize("implementation", EVERYWHERE)
def test_a_million_elements(implementation):
    check("adafac, 4 wide", arg_specs.ArgSpec("", (1021, 1031)), implementation)


def test_normalizers_on_tiles():
    check("celo2", arg_specs.ArgSpec("", (2, 83, 64)), "reference")


def test_of_equal_axes_the_later_is_larger():
    assert factored_axes(()) is factored_axes((5,)) is None
    assert factored_axes((4, 4)) == (0, 1)
    assert factored_axes((7, 3)) == (1, 0)
    assert factored_axes((3, 3, 3)) == (1, 2)
    assert factored_axes((8, 2, 8, 1)) == (0, 2)


def test_parameters_are_updated():
    case, spec = "velo", arg_specs.ArgSpec("", (4, 3), dtype="bfloat16")
    layers, p, g = draw(spec, case)
    given = (VELO_FEATURES, layers, 0.5, p, g[0], start(spec), RATES, CASES[case][-1])
    new, moments = jax.jit(lambda: lopt_apply(*given))()
    want, tensor = expected(case, layers, p, g[:1])
    assert new.dtype == p.dtype
    # one rounding to bfloat16, of eight bits: half a unit is 2^-8; and those of `compare`
    size = max(np.abs(want).max(), 1.0)
    np.testing.assert_allclose(
        np.float64(new), np.float64(p) - want[0], rtol=2**-8, atol=3e-6 * size
    )
    np.testing.assert_allclose(moments.rms, tensor.v, rtol=2e-6)  # as there


@pytest.mark.parametrize(("implementation", "made"), [("unfolded", True), ("reference", False)])
def test_only_the_naive_one_makes_an_array_of_all_channels(implementation, made):
    case, spec = "adafac, 4 wide", arg_specs.ArgSpec("", (6, 4))
    layers, p, g = draw(spec, case)
    program = jax.make_jaxpr(one_step(case, spec, implementation))(layers, p, g[0], start(spec))
    assert ("f32[6,4,28]" in str(program)) == made


def test_a_network_of_other_inputs_is_an_error():
    layers, p, g = draw(arg_specs.ArgSpec("", (2, 2)), "velo")
    moments = init_moments((2, 2), 3, 1, 3)
    with pytest.raises(ValueError, match="30 rows, there are 28 channels"):
        lopt_update(FEATURES, layers, 1.0, p, g[0], moments, RATES, 0.1)


@pytest.mark.parametrize("case", ["adafac, 32 wide", "adafac, 4 wide"])
def test_gradients_reach_the_weights_as_finite_differences_say(monkeypatch, case):
    """Truncated backpropagation goes through the update; in float64 differences are sharp."""
    monkeypatch.setattr(tiles, "CPU", tiles.Tiling(most=8, row=128, untiled=8, slack=8))
    spec = arg_specs.ArgSpec("", (12, 4))
    assert tiles.tile_shape(spec.shape, tiles.tiling()) == (2, 4)
    (layers, p, g), run = draw(spec, case), one_step(case, spec, "reference")
    (kernel, bias), *rest = layers

    def loss(shift):
        return jnp.sum(jnp.sin(run([(kernel + shift, bias), *rest], p, g[0], start(spec))[0]))

    def oracle(shift):
        moved = [(np.float64(kernel) + shift, bias), *rest]
        return np.sum(np.sin(expected(case, moved, p, g[:1])[0]))

    difference = (oracle(1e-6) - oracle(-1e-6)) / 2e-6
    assert abs(difference) > 0.1
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(jnp.float32(0)), difference, rtol=1e-4)


@pytest.mark.parametrize(
    "spec",
    [arg_specs.ArgSpec("", (384, 512)), arg_specs.ArgSpec("", (48, 64), (64,))],
    ids=["one tensor", "population"],
)
@pytest.mark.parametrize("case", ["adafac, 4 wide", "adafac, 32 wide"])
@pytest.mark.sampled(1)
def test_no_array_of_all_channels_exists(case, spec):
    """Temporaries of the compiled program stay below ten floats an element; channels are 28."""
    layers, p, g = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, draw(spec, case)))
    moments = jax.eval_shape(lambda: start(spec))
    given = layers, p, jax.eval_shape(lambda x: x[0], g), moments
    program = jax.jit(one_step(case, spec, "reference")).lower(*given).compile()
    assert program.memory_analysis().temp_size_in_bytes <= 10 * 4 * p.size
