"""Batched calls against the formula of each tensor in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metarl.kernels.lopt_update import (
    ONE_BY_ONE,
    Call,
    Grouping,
    init_moments,
    lopt_apply_many,
    lopt_update_many,
)
from metarl.kernels.lopt_update.arg_specs import ArgSpec
from metarl.kernels.lopt_update.rows import Rows

from tests.kernels.programs import equations
from tests.kernels.rounding import assert_rounded_once
from tests.kernels.test_lopt_update import CASES, RATES, draw, expected

pytestmark = pytest.mark.kernel

SHAPES = ((), (5, 6), (19,), (5, 6))
"""Vectors shorter and longer than a row; a stacked shape of the minimum rank."""

ROWS_OF_EIGHT = Grouping(row=8)


def drawn(case, own_networks, batch=()):
    """Draws layers, scale, parameter and two gradients of each tensor."""
    tensors = [draw(ArgSpec("", shape, batch), case, seed) for seed, shape in enumerate(SHAPES)]
    layers = [tensor[0] for tensor in tensors] if own_networks else [tensors[0][0]] * len(SHAPES)
    scales = np.float32(np.geomspace(0.1, 2.0, len(SHAPES)))
    return layers, scales, [t[1] for t in tensors], [t[2] * 10.0**-i for i, t in enumerate(tensors)]


def updated(case, grouping, own_networks, many=lopt_update_many):
    """`(layers, scales, parameters, gradients, moments) -> [(step or parameter, moments)]`."""

    def run(layers, scales, ps, gs, moments):
        features, *_, exponent = CASES[case]
        layers = layers if own_networks else layers[:1] * len(ps)
        calls = map(Call, layers, scales, ps, gs, moments)
        return many(features, list(calls), RATES, exponent, None, grouping)

    return run


@pytest.mark.parametrize(
    ("case", "own_networks"),
    [("adafac, 4 wide", False), ("velo", True), ("celo2, wide", False)],
)
def test_each_tensor_is_updated_independently(case, own_networks):
    layers, scales, ps, gs = drawn(case, own_networks)
    run = jax.jit(updated(case, ROWS_OF_EIGHT, own_networks))
    moments = [init_moments(shape, 3, 1, 3) for shape in SHAPES]
    steps = []
    for i in range(2):
        made = run(layers, scales, ps, [g[i] for g in gs], moments)
        steps.append([step for step, _ in made])
        moments = [m for _, m in made]
    for i, shape in enumerate(SHAPES):
        want, tensor = expected(case, layers[i], ps[i], gs[i])
        want = want * scales[i] / 0.5
        got = np.stack([steps[0][i], steps[1][i]])
        assert got.shape == (2, *shape)
        # as in test_lopt_update: fifty roundings
        np.testing.assert_allclose(got, want, atol=3e-6 * max(np.abs(want).max(), scales[i]))
        largest = np.abs(gs[i]).max()
        np.testing.assert_allclose(moments[i].momenta, tensor.m, atol=2e-7 * largest)
        np.testing.assert_allclose(moments[i].rms, tensor.v, rtol=2e-6)
        rows = tensor.row if len(shape) > 1 else tensor.full
        np.testing.assert_allclose(moments[i].row, rows, rtol=2e-6)
        assert moments[i].row.shape == init_moments(shape, 3, 1, 3).row.shape


def test_each_tensor_is_updated_in_its_own_dtype():
    """Packed vectors may have several dtypes; stacked tensors have one."""
    dtypes = (jnp.float32, jnp.bfloat16, jnp.bfloat16, jnp.bfloat16)
    layers, scales, ps, gs = drawn("velo", own_networks=True)
    ps = [p.astype(dtype) for p, dtype in zip(ps, dtypes, strict=True)]
    run = jax.jit(updated("velo", ROWS_OF_EIGHT, True, lopt_apply_many))
    moments = [init_moments(shape, 3, 1, 3) for shape in SHAPES]
    made = run(layers, scales, ps, [g[0] for g in gs], moments)
    for i, (new, moved) in enumerate(made):
        (step,), tensor = expected("velo", layers[i], ps[i], gs[i][:1])
        step = step * scales[i] / 0.5
        assert new.dtype == dtypes[i]
        rounding = np.abs(np.float64(ps[i])) * jnp.finfo(dtypes[i]).eps
        assert np.max(np.abs(step) / rounding) > 10
        # fifty roundings, as above
        atol = 3e-6 * max(np.abs(step).max(), scales[i])
        assert_rounded_once(new, np.float64(ps[i]) - step, atol)
        np.testing.assert_allclose(moved.rms, tensor.v, rtol=2e-6)


def test_two_roundings_would_fail():
    """Otherwise the test above would not detect a step that was rounded first."""
    rng = np.random.default_rng(0)
    p, step = (np.float64(jnp.bfloat16(x)) for x in rng.normal(size=(2, 100)))
    step = step * 0.3
    assert_rounded_once(jnp.bfloat16(p - step), p - step, 0.0)
    with pytest.raises(AssertionError, match="beyond a rounding"):
        assert_rounded_once(jnp.bfloat16(p - np.float64(jnp.bfloat16(step))), p - step, 1e-5)


def test_a_vmapped_population_and_its_gradients():
    """In the backward pass, the padding of rows must not turn into NaN."""
    case = "celo2, wide"  # its channels of an element without gradient are infinite
    layers, scales, ps, gs = drawn(case, own_networks=False, batch=(2,))
    layers, gs = layers[:1], [g[0] for g in gs]
    moments = jax.tree.map(
        lambda x: jnp.broadcast_to(x, (2, *x.shape)), [init_moments(s, 3, 1, 3) for s in SHAPES]
    )

    def losses(grouping):
        run = jax.vmap(updated(case, grouping, False), (0, None, 0, 0, 0))

        def loss(layers):
            made = run(layers, scales, ps, gs, moments)
            return sum(jnp.sum(jnp.sin(step)) for step, _ in made)

        program = jax.jit(jax.value_and_grad(loss))
        return program(layers)

    together, alone = losses(ROWS_OF_EIGHT), losses(ONE_BY_ONE)
    for x, y in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        size = np.abs(y).max()
        assert size > 0
        # summed over elements in another order, some of which cancel: 2e-6 of the largest
        np.testing.assert_allclose(x, y, atol=5e-6 * size, rtol=0)


def test_calls_are_shared():
    """The number of equations counts the calls."""

    def size(grouping, many=lopt_update_many):
        layers, scales, ps, gs = drawn("velo", own_networks=True)
        moments = [init_moments(shape, 3, 1, 3) for shape in SHAPES]
        arguments = layers, scales, ps, [g[0] for g in gs], moments
        program = jax.make_jaxpr(updated("velo", grouping, True, many))(*arguments)
        return sum(eqn.primitive.name == "exp" for eqn in equations(program))

    assert size(ONE_BY_ONE) == len(SHAPES)
    assert size(Grouping()) == size(Grouping(), lopt_apply_many) == 2
    assert size(Grouping(vector=18)) == 3
    assert size(Grouping(stacked=29)) == 3


@pytest.mark.parametrize("many", [lopt_update_many, lopt_apply_many])
def test_no_tensors_are_no_updates(many):
    assert many(CASES["velo"][0], [], RATES, 0.1) == []
    with pytest.raises(ValueError, match="Unknown implementation 'palas'"):
        many(CASES["velo"][0], [], RATES, 0.1, "palas")


@pytest.mark.parametrize("many", [lopt_update_many, lopt_apply_many])
def test_a_network_of_other_inputs_is_an_error(many):
    layers, scales, ps, gs = drawn("velo", own_networks=False)
    call = Call(layers[0], scales[0], ps[0], gs[0][0], init_moments((), 3, 1, 3))
    with pytest.raises(ValueError, match="30 rows, there are 28 channels"):
        many(CASES["adafac, 4 wide"][0], [call, call], RATES, 0.1)


@pytest.mark.parametrize(("name", "least"), [("vector", 0), ("stacked", 0), ("row", 1)])
def test_sizes_below_the_least_are_errors(name, least):
    Grouping(**{name: least})
    with pytest.raises(ValueError, match=f"{name} is {least - 1}. Permitted: {least} and more"):
        Grouping(**{name: least - 1})


@pytest.mark.parametrize(
    ("sizes", "widest"), [([3], 8), ([1, 8, 19, 2, 16], 8), ([3, 1, 4], 1), ([9, 2], 4)]
)
def test_vectors_packed_into_rows_and_back(sizes, widest):
    rows = Rows(tuple(sizes), widest)
    vectors = [np.float32(np.arange(2 * n).reshape(2, n) + 100 * i) for i, n in enumerate(sizes)]
    packed = np.asarray(rows.pack(vectors))
    assert packed.shape == (len(rows.segment_ids), 2, rows.width)
    assert rows.inside.sum() == sum(sizes)
    for segment, inside, row in zip(rows.segment_ids, rows.inside, packed, strict=True):
        assert np.all(row[:, ~inside] == 1)
        assert np.isin(row[:, inside], vectors[segment]).all()
    for x, y in zip(vectors, rows.unpack(packed), strict=True):
        np.testing.assert_array_equal(x, y)
    sums = np.where(rows.inside[:, None], packed, 0).sum(-1)
    want = [x.mean(-1) for x in vectors]
    # small whole numbers, whose sums are exact; then a division
    np.testing.assert_allclose(rows.means(sums), want, rtol=2e-7)
