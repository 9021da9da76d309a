"""Parameters and state overwritten: the formula's numbers, and no memory beside them."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarl import optimizers
from metarl.core.errors import ConfigError
from metarl.optimizers import TransformationWithApply, in_place
from metarl.optimizers.in_place import with_apply
from metarl.optimizers.lopt.adafac_mlp_lopt import (
    FACTORED,
    MOMENTA,
    RMS,
    AdafacMLPLoptConfig,
    adafac_mlp_lopt,
    adafac_mlp_lopt_init,
)
from tests.kernels.programs import equations
from tests.kernels.rounding import assert_rounded_once
from tests.optimizers import numpy_lopt, numpy_velo, test_celo, test_velo
from tests.optimizers.uneven import LOSSES, float64, uneven_tree

SHAPES = {"w": (96, 128), "b": (128,)}

CONFIG = AdafacMLPLoptConfig(step_mult=0.1)


@pytest.fixture(scope="module")
def theta():
    return adafac_mlp_lopt_init(CONFIG, jax.random.key(0))


@pytest.fixture(scope="module")
def tx(theta):
    return adafac_mlp_lopt(theta, CONFIG)


def formula(theta, p, g):
    """Step and moments of a tensor that saw nothing before, in float64."""
    tensor = numpy_lopt.Tensor(p.shape, MOMENTA, RMS, FACTORED)
    arguments = np.float64(p), np.float64(g), 0, CONFIG.step_mult, CONFIG.exp_mult
    return numpy_lopt.adafac_step(tensor, theta["network"], *arguments), tensor


def drawn(seed):
    rng = np.random.default_rng(seed)
    return {name: jnp.float32(rng.normal(size=shape)) for name, shape in SHAPES.items()}


@pytest.fixture(scope="module")
def compiled(tx):
    """The one program of this module, for an abstract state."""
    params = jax.eval_shape(lambda: drawn(0))
    return in_place(tx).lower(params, params, jax.eval_shape(tx.init, params)).compile()


def test_the_numbers_are_the_formula_s(theta, tx, compiled):
    params, grads = drawn(1), drawn(2)
    new, state = compiled(jax.tree.map(jnp.copy, params), grads, tx.init(params))
    for name in SHAPES:
        step, tensor = formula(theta, params[name], grads[name])
        p, g = np.float64(params[name]), np.float64(grads[name])
        assert np.abs(step).max() > 1e-2
        # fifty roundings of the step, as in the kernel's tests, and one of the sum
        roundings = 3e-6 * np.abs(step).max() + np.finfo(np.float32).eps * np.abs(p).max()
        np.testing.assert_allclose(new[name], p - step, atol=roundings, rtol=0)
        largest = np.abs(g).max()
        np.testing.assert_allclose(state.moments[name].momenta, tensor.m, atol=2e-7 * largest)
    assert state.iteration == 1


def test_half_precision_is_rounded_once_and_what_is_empty_stays(theta, tx):
    """A matrix, and two vectors that are joined."""
    half, single = jnp.bfloat16, jnp.float32
    kinds = {"b": ((50,), half), "c": ((3,), single), "w": ((4, 6), half)}
    rng = np.random.default_rng(0)
    params, grads = (
        {name: jnp.asarray(size * rng.normal(size=shape), t) for name, (shape, t) in kinds.items()}
        for size in (0.1, 1.0)
    )
    empty = {"none": jnp.zeros((0, 4), half)}
    given = jax.tree.map(jnp.copy, params)
    new, state = in_place(tx)(given | empty, grads | empty, tx.init(params | empty))
    assert (new["none"].shape, new["none"].dtype) == ((0, 4), half)
    assert state.moments["none"] is None
    for name, (_, dtype) in kinds.items():
        step, _ = formula(theta, params[name], grads[name])
        want = np.float64(params[name]) - step
        assert new[name].dtype == dtype
        # fifty roundings of the step, as above
        atol = 3e-6 * np.abs(step).max()
        assert_rounded_once(new[name], want, atol)
        twice = jnp.asarray(params[name] - jnp.asarray(step, half), dtype)
        with pytest.raises(AssertionError, match="beyond a rounding"):
            assert_rounded_once(twice, want, atol)
        assert given[name].is_deleted()


@pytest.mark.parametrize("kind", ["velo", "celo"])
def test_what_knows_the_loss_moves_parameters_too(kind):
    shapes = {"c_matrix": (5, 2)}
    made, oracle = test_velo, numpy_velo.VeLO
    rest = (test_velo.CONFIG, shapes, test_velo.NUM_STEPS)
    if kind == "celo":
        made, oracle, rest = test_celo, numpy_velo.Celo, (shapes, test_celo.NUM_STEPS)
    tx = getattr(optimizers, kind)(made.THETA, made.CONFIG, made.NUM_STEPS)
    params, grads = uneven_tree(0, shapes=shapes), uneven_tree(1, shapes=shapes)
    apply = jax.jit(tx.apply)
    with pytest.raises(ConfigError, match="lacks the argument value"):
        apply(params, grads, tx.init(params))
    new, state = apply(params, grads, tx.init(params), value=jnp.float32(LOSSES[0]))
    updates = oracle(made.THETA, *rest).updates(float64(params), float64(grads), LOSSES[0])
    for name, update in updates.items():
        size = np.abs(update).max()
        # that of the update is the one of `assert_close`; and a rounding of the sum
        tolerance = 2e-4 * size + np.finfo(np.float32).eps * np.abs(params[name]).max()
        assert size > 20 * tolerance
        want = np.float64(params[name]) + update
        np.testing.assert_allclose(new[name], want, atol=tolerance, rtol=0)
    assert jax.tree.structure(state) == jax.tree.structure(tx.init(params))


def learned(kind, implementation):
    """One of those whose kernel moves parameters."""
    config, init = {
        "adafac_mlp_lopt": (CONFIG, optimizers.adafac_mlp_lopt_init),
        "mlp_lopt": (optimizers.MLPLoptConfig(hidden=4), optimizers.mlp_lopt_init),
        "velo": (test_velo.CONFIG, optimizers.velo_init),
        "celo": (test_celo.CONFIG, optimizers.celo_init),
    }[kind]
    theta = init(config, jax.random.key(0))
    return getattr(optimizers, kind)(theta, config, 3, implementation=implementation)


@pytest.mark.parametrize("kind", ["adafac_mlp_lopt", "mlp_lopt", "velo", "celo"])
@pytest.mark.sampled(2)
def test_the_kernel_writes_into_the_parameter_s_place(monkeypatch, kind):
    """Its first output is what moves; of a chain it is a step, which is added afterwards."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    tx, params = learned(kind, "pallas_gpu"), {"w": jnp.ones((4, 32), jnp.bfloat16)}

    def outputs(tx):
        """Which outputs of kernels lie in places of inputs, and the dtype of the first."""
        program = jax.make_jaxpr(in_place(tx))(params, params, tx.init(params), value=1.0)
        (kernel,) = (eqn for eqn in equations(program) if eqn.params.get("input_output_aliases"))
        placed = {output for _, output in kernel.params["input_output_aliases"]}
        return placed, kernel.outvars[0].aval.dtype

    moved, dtype = outputs(tx)
    assert 0 in moved
    assert dtype == jnp.bfloat16
    stepped, dtype = outputs(optax.chain(tx, optax.add_decayed_weights(-1e-2)))
    assert stepped == moved - {0}
    assert dtype == jnp.float32


def test_what_was_given_is_gone(tx, compiled):
    params, grads = drawn(1), drawn(2)
    state = tx.init(params)
    compiled(params, grads, state)
    assert params["w"].is_deleted()
    assert state.moments["w"].momenta.is_deleted()
    assert not grads["w"].is_deleted()


def test_everything_is_aliased_and_nothing_of_all_channels_exists(compiled):
    """28 channels, and 39 inputs, would be as many floats an element."""
    count = sum(int(np.prod(shape)) for shape in SHAPES.values())
    memory = compiled.memory_analysis()
    kept = 4 * count * 5  # parameter, three momenta, mean square
    assert memory.alias_size_in_bytes >= kept
    assert memory.output_size_in_bytes - memory.alias_size_in_bytes < 0.01 * kept
    assert memory.temp_size_in_bytes <= 12 * 4 * count


def test_extra_arguments_are_passed_on():
    def update(updates, state, params=None, *, value, **unused):
        return jax.tree.map(lambda g: -value * g, updates), state

    tx = optax.GradientTransformationExtraArgs(lambda params: (), update)
    params, _ = in_place(tx)(jnp.ones(2), jnp.ones(2), (), value=jnp.float32(3))
    np.testing.assert_array_equal(params, [-2.0, -2.0])


def make(in_place, grads, state, params, *, value=0.0):
    """Subtracts the gradient; in place a hundred more, to identify the in-place form."""
    if in_place:
        return jax.tree.map(lambda p, g: p - g + 100 + value, params, grads), state
    return jax.tree.map(jnp.negative, grads), state


STUB = with_apply(lambda params: (), make)


@pytest.mark.parametrize(
    "rebuilt",
    [
        lambda tx: tx,
        optax.with_extra_args_support,
        copy.copy,
        lambda tx: jax.tree.map(lambda x: x, tx),
        lambda tx: tx._replace(init=tx.init),
        lambda tx: optax.GradientTransformationExtraArgs(*tx),
    ],
)
def test_however_the_pair_is_handed_on_it_moves_parameters(rebuilt):
    tx = rebuilt(STUB)
    init, update = tx
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    assert update(jnp.ones(2), init(jnp.ones(2)), jnp.ones(2))[0].tolist() == [-1.0, -1.0]
    params, _ = in_place(tx)(jnp.ones(2), jnp.ones(2), (), value=3.0)
    assert params.tolist() == [103.0, 103.0]


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda tx: optax.chain(tx, optax.scale(1.0)),
        lambda tx: optax.masked(tx, {"w": True}),
        lambda tx: optax.MultiSteps(tx, 1).gradient_transformation(),
        lambda tx: tx._replace(
            update=lambda *arguments, **extra_args: tx.update(*arguments, **extra_args)
        ),
    ],
)
def test_what_is_wrapped_adds_its_updates(wrapped):
    tx, params = wrapped(STUB), {"w": jnp.full(2, 5.0)}
    new, _ = in_place(tx)(params, {"w": jnp.ones(2)}, tx.init(params))
    assert new["w"].tolist() == [4.0, 4.0]


def test_parameters_wider_than_float32_lose_nothing():
    """Kernels subtract in float32, which cannot tell these numbers from one."""
    with jax.enable_x64(True):
        params = jnp.asarray([1 + 1e-12], jnp.float64)
        new, _ = STUB.apply(params, jnp.asarray([1e-13]), ())
        assert new.dtype == jnp.float64
        np.testing.assert_allclose(new - 1, [9e-13], atol=1e-15)


def test_loaded_weights_have_the_form():
    assert isinstance(optimizers.load("lopt-digits"), TransformationWithApply)
    chained = optimizers.load("mulo-digits", multipliers={"w": 1.0})
    assert not isinstance(chained, TransformationWithApply)


def test_it_is_public():
    assert optimizers.in_place is in_place
