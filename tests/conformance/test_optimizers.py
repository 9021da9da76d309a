"""Every learned optimizer follows optax's conventions, and tolerates or rejects bad input.

One small tree of rank 0 to 4, of two precisions, and one row an architecture, whose update compiles
once; `tests/optimizers` compares its numbers with the formulas.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.training.train_state import TrainState

from metarl import optimizers
from metarl.core.errors import ConfigError
from metarl.io.checkpoints import Checkpoints
from metarl.optimizers import ARCHITECTURES

STEPS = 3
SHAPES = {"empty": (0, 3), "kernel": (1, 2, 1, 2), "matrix": (3, 2), "scalar": (), "vector": (2,)}
HALF = ("matrix", "scalar")
"""Tensors in bfloat16."""

CONFIGS = {
    "adafac_mlp_lopt": optimizers.AdafacMLPLoptConfig(hidden=3),
    "celo": optimizers.CeloConfig(hidden=3, width=2),
    "celo2": optimizers.Celo2Config(width=2, iterations=2),
    "celo_adam": optimizers.CeloAdamConfig(hidden=3),
    "learnable_adam": optimizers.LearnableAdamConfig(),
    "learnable_momentum": optimizers.LearnableMomentumConfig(),
    "learnable_sgd": optimizers.LearnableSGDConfig(),
    "mlp_lopt": optimizers.MLPLoptConfig(hidden=3),
    "rnn_mlp_lopt": optimizers.RNNMLPConfig(
        hidden=3, recurrent=2, to_network=2, to_tensors=2, from_network=2
    ),
    "velo": optimizers.VeLOConfig(hidden=3, networks=2, width=2),
}
GIVEN = {"value": np.float32(2.0), "unknown": np.float32(1.0)}
"""Keyword arguments, one of which is unknown."""


TOLERANCE = {"velo": 2e-4}
"""Where it is not 2e-5: VeLO mixes weights by a factor of 100, which magnifies rounding."""


def test_every_architecture_has_a_row():
    assert CONFIGS.keys() == ARCHITECTURES.keys()


def draw(seed):
    rng = np.random.default_rng(seed)
    return {
        name: jnp.asarray(rng.normal(size=shape), "bfloat16" if name in HALF else "float32")
        for name, shape in SHAPES.items()
    }


def random_theta(name, seed):
    """Theta around its start, none of it zero."""
    architecture, config = ARCHITECTURES[name], CONFIGS[name]
    theta = architecture.init(config, jax.random.key(seed))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: x + np.float32(0.1 * rng.normal(size=x.shape)), theta)


class Row(NamedTuple):
    name: str
    make: object
    theta: object
    step: object


@pytest.fixture(scope="module", params=list(CONFIGS))
def row(request):
    """An architecture with its one compiled update."""
    name = request.param

    def make(theta):
        return ARCHITECTURES[name].make(theta, CONFIGS[name], STEPS)

    @jax.jit
    def step(theta, gradient, state, params):
        return make(theta).update(gradient, state, params, **GIVEN)

    return Row(name, make, random_theta(name, 0), step)


def kinds(tree):
    return jax.tree.map(lambda x: (jnp.shape(x), jnp.result_type(x)), tree)


def assert_close(got, expected, rtol=2e-5):
    """Compares trees, each leaf relative to its largest number and to its precision."""
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        kinds = [x.dtype for x in (a, b) if jnp.issubdtype(x.dtype, jnp.floating)]
        exact = max([float(jnp.finfo(kind).eps) for kind in kinds], default=0)
        a, b = np.float64(a), np.float64(b)
        scale = np.abs(b).max(initial=0)
        np.testing.assert_allclose(a, b, atol=max(rtol, exact) * scale if exact else 0, rtol=0)


@pytest.mark.sampled(3)
def test_structure_and_dtypes_are_stable_beyond_the_last_step(row):
    params = draw(0)
    state = row.make(row.theta).init(params)
    at_first = kinds(state)
    # memory is float32 whatever the parameters are
    floats = [x.dtype for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert set(floats) <= {np.dtype(np.float32)}
    for seed in range(STEPS + 2):
        updates, state = row.step(row.theta, draw(1 + seed), state, params)
        assert kinds(updates) == kinds(params)
        assert kinds(state) == at_first
        params = optax.apply_updates(params, updates)
        for name, update in updates.items():
            assert np.all(np.isfinite(update)), name
            assert np.any(update != 0) or name == "empty"


@pytest.mark.sampled(5)
def test_numbers_that_are_not_finite_count_as_zero(row):
    params, gradient = draw(0), draw(1)
    state = row.make(row.theta).init(params)
    bad, zeroed = dict(gradient), dict(gradient)
    for name, value in (("matrix", np.nan), ("vector", np.inf), ("kernel", -np.inf)):
        place = (0,) * len(SHAPES[name])
        bad[name] = gradient[name].at[place].set(value)
        zeroed[name] = gradient[name].at[place].set(0.0)
    got = row.step(row.theta, bad, state, params)
    jax.tree.map(np.testing.assert_array_equal, got, row.step(row.theta, zeroed, state, params))
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(got))


@pytest.mark.sampled(2)
def test_populations_of_thetas_and_of_parameters_are_a_vmap(row):
    members = [(random_theta(row.name, i), draw(10 + i), draw(20 + i)) for i in range(2)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *members)

    def update(theta, gradient, params):
        tx = row.make(theta)
        return tx.update(gradient, tx.init(params), params, **GIVEN)

    together = jax.jit(jax.vmap(update))(*stacked)
    for i, (theta, gradient, params) in enumerate(members):
        alone = row.step(theta, gradient, row.make(theta).init(params), params)
        # batched products sum in another order
        assert_close(
            jax.tree.map(lambda x, i=i: x[i], together), alone, TOLERANCE.get(row.name, 2e-5)
        )


@pytest.mark.sampled(2)
def test_it_works_inside_optax(row):
    """Injected hyper-parameters, weight decay, a schedule and accumulated gradients, at once."""

    def scaled(size):
        return optax.chain(row.make(row.theta), optax.scale(size))

    tx = optax.MultiSteps(
        optax.chain(
            optax.inject_hyperparams(scaled)(size=0.5),
            optax.add_decayed_weights(-0.1),
            optax.scale_by_schedule(lambda count: 2.0 / (1.0 + count)),
        ),
        every_k_schedule=2,
    )
    params, gradient = draw(0), draw(1)
    step = jax.jit(lambda g, s, p: tx.update(g, s, p, **GIVEN))
    first, state = step(gradient, tx.init(params), params)
    assert all(np.all(np.asarray(x) == 0) for x in jax.tree.leaves(first))
    got, _ = step(gradient, state, params)
    plain, _ = row.step(row.theta, gradient, row.make(row.theta).init(params), params)
    assert_close(got, jax.tree.map(lambda u, p: 2 * (0.5 * u - 0.1 * p), plain, params))


def test_state_survives_a_checkpoint(row, tmp_path):
    params = draw(0)
    tx = row.make(row.theta)
    _, state = row.step(row.theta, draw(1), tx.init(params), params)
    store = Checkpoints(tmp_path)
    store.save(1, state, {})
    restored = store.latest(tx.init(params)).state
    got = row.step(row.theta, draw(2), restored, params)
    expected = row.step(row.theta, draw(2), state, params)
    jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_an_empty_tree_stays_empty(row):
    tx = row.make(row.theta)
    updates, state = jax.jit(lambda: tx.update({}, tx.init({}), {}, **GIVEN))()
    assert updates == {}
    assert kinds(state) == kinds(jax.eval_shape(lambda: tx.init({})))


def test_tensors_of_integers_are_refused(row):
    with pytest.raises(ConfigError, match=r"'steps' is of dtype int32.*optax.masked"):
        row.make(row.theta).init({"steps": jnp.zeros(3, jnp.int32)})


NEED_PARAMS = [name for name in CONFIGS if not name.startswith(("learnable", "celo_adam"))]


@pytest.mark.parametrize("name", NEED_PARAMS)
def test_missing_parameters_are_an_error(name):
    tx = ARCHITECTURES[name].make(random_theta(name, 0), CONFIGS[name], STEPS)
    params = {"w": jnp.ones(2)}
    with pytest.raises(ConfigError, match="params"):
        jax.eval_shape(lambda: tx.update(params, tx.init(params), **GIVEN))


def test_flax_train_states_take_one():
    theta = random_theta("mlp_lopt", 0)
    tx = optimizers.mlp_lopt(theta, CONFIGS["mlp_lopt"])
    params = {"w": jnp.ones(2)}
    state = TrainState.create(apply_fn=None, params=params, tx=tx)
    state = jax.jit(lambda s: s.apply_gradients(grads=params))(state)
    updates, _ = jax.jit(tx.update)(params, tx.init(params), params)
    np.testing.assert_array_equal(state.params["w"], 1 + updates["w"])
