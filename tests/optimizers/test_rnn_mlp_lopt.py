"""RNN-MLP: against float64 NumPy over steps, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarl.core.errors import ConfigError
from metarl.optimizers.parameters import describe
from metarl.optimizers.rnn_mlp.rnn_mlp_lopt import rnn_mlp_lopt, rnn_mlp_lopt_inner
from metarl.optimizers.rnn_mlp.rnn_mlp_network import RNNMLPConfig, norm, rnn_mlp_init
from tests.optimizers.numpy_lopt import TIMES, Tensor, layers_of, mlp, normalize
from tests.optimizers.numpy_velo import linear, lstm
from tests.optimizers.uneven import LOSSES, SHAPES, assert_close, float64, gradients, uneven_tree

CONFIG = RNNMLPConfig(hidden=6, recurrent=5, to_network=3, to_tensors=2, from_network=4)
DECAYS = (0.5, 0.9, 0.99, 0.999, 0.9999)


def random_theta(seed=0):
    """Weights of which none is zero."""
    rng = np.random.default_rng(seed)
    theta = jax.eval_shape(lambda key: rnn_mlp_init(CONFIG, key), jax.random.key(0))
    return jax.tree.map(lambda x: np.float32(rng.normal(size=x.shape) * 0.5), theta)


THETA = random_theta()


def compressed(x):
    return np.clip(np.log(1e-8 + abs(x)), -5, 5)


class Oracle:
    """All tensors, spelt from the published features."""

    def __init__(self, theta, shapes):
        self.theta, self.t = theta, 0
        self.tensors = {name: Tensor(shape, DECAYS, DECAYS) for name, shape in shapes.items()}
        self.h, self.c = (
            np.tile(np.float64(theta["lstm"][x]), (len(shapes), 1)) for x in ("hidden", "cell")
        )
        self.from_tensors = np.float64(theta["from_tensors"])
        self.from_network = {name: np.float64(theta["from_network"]) for name in shapes}
        self.size, self.mean, self.variance = 0.01, 0.0, 0.0

    def clipped(self, gradient):
        limit = 10 * self.size / (1 - 0.99 ** (self.t + 1))
        gradient = {name: np.clip(g, -limit, limit) for name, g in gradient.items()}
        square = np.mean([np.mean(g * g) for g in gradient.values()])
        self.size = 0.99 * self.size + 0.01 * np.sqrt(1e-8 + square)
        return gradient

    def row(self, name, p, g, losses):
        tensor = self.tensors[name]
        shape = np.array([*p.shape, *[1] * (4 - p.ndim)], np.float64)
        parts = {
            **{"from_lstm": self.from_tensors, "from_mlp": self.from_network[name]},
            **{"g_norm": compressed(np.sqrt(np.sum(g * g))), "is_scalar": [-1, 1][p.ndim == 0]},
            **{f"shape_{i}": np.log(shape[i]) - 1 for i in range(4)},
            **{"train_loss_feat": losses[0], "valid_loss_feat": losses[1]},
            "norm_weight": compressed(np.sqrt(np.sum(p * p))),
        }
        signs = {"ms": "mean_ms_sign", "rms": "mean_sign", "v": "mean_v_sign"}
        sizes = {"ms": "mean_ms_mag", "rms": "mean_rms", "v": "mean_v_mag"}
        for kind, values in (("ms", tensor.m), ("rms", tensor.v), ("v", p)):
            parts[sizes[kind]] = compressed(np.mean(values))
            parts[signs[kind]] = np.sign(np.mean(values))
            parts[f"var_{kind}"] = compressed(np.var(values))
        return np.concatenate([np.atleast_1d(parts[key]) for key in sorted(parts)])

    def network(self, name, p, g, message):
        tensor = self.tensors[name]
        inverse = [1 / np.sqrt(v + 1e-6) for v in tensor.v]
        scaled = [m * i for m, i in zip(tensor.m, inverse, strict=True)]
        flat = [g, p, np.log(abs(p) + 1e-8), *tensor.m, *tensor.v, *scaled, *inverse]
        x = normalize([channel.reshape(-1) for channel in flat])
        constants = [
            *np.sin(self.t / (TIMES * np.pi)),
            np.log(len(self.tensors)) - 1,
            np.log(np.sqrt(np.sum(p * p)) + 1e-8),
            np.log(p.size),
            *message,
        ]
        x = np.concatenate([x, np.tile(constants, (p.size, 1))], 1)
        out = mlp(layers_of(self.theta["network"]), x)
        self.from_network[name] = out[:, 2:].mean(0)
        return (1e-3 * out[:, 0] * np.exp(1e-3 * out[:, 1])).reshape(p.shape)

    def updates(self, params, gradient, loss):
        """What is to be added to the parameters."""
        self.mean = 0.9 * self.mean + 0.1 * loss
        self.variance = 0.9 * self.variance + 0.1 * (self.mean - loss) ** 2
        share = 1 - 0.9 ** (self.t + 1)
        deviation = np.sqrt(self.variance / share + 1e-8)
        losses = [np.clip((x - self.mean / share) / deviation, -5, 5) for x in (loss, 0)]
        gradient = self.clipped(gradient)
        for name, tensor in self.tensors.items():
            tensor.see(gradient[name])
        rows = [self.row(name, params[name], gradient[name], losses) for name in self.tensors]
        self.h, self.c = lstm(self.theta["lstm"], np.stack(rows), self.h, self.c)
        message = linear(self.theta["to_network"], self.h)
        made = {
            name: -self.network(name, params[name], gradient[name], message[i])
            for i, name in enumerate(self.tensors)
        }
        self.from_tensors = linear(self.theta["to_tensors"], self.h).mean(0)
        self.t += 1
        return made


@pytest.fixture(scope="module")
def update():
    """One compiled update: `(gradient, state, params, loss) -> (updates, state)`."""
    tx = rnn_mlp_lopt(THETA)
    return tx, jax.jit(lambda g, s, p, loss: tx.update(g, s, p, value=loss))


def test_updates_against_numpy_over_steps(update):
    tx, step = update
    params = uneven_tree(0)
    state = tx.init(params)
    oracle = Oracle(THETA, SHAPES)
    for gradient, loss in zip(gradients(), LOSSES, strict=True):
        expected = oracle.updates(float64(params), float64(gradient), loss)
        updates, state = step(gradient, state, params, loss)
        assert_close(updates, expected)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(state.from_tensors, oracle.from_tensors, atol=1e-4)
    message = np.stack(list(oracle.from_network.values()))
    np.testing.assert_allclose(state.from_network, message, rtol=1e-3, atol=1e-3)


def test_tensors_exchange_messages(update):
    """One update later, and not before."""
    tx, step = update
    params, gradient = uneven_tree(0), uneven_tree(1)
    other = {**gradient, "d_cube": -gradient["d_cube"]}
    state = tx.init(params)
    first, one = step(gradient, state, params, 1.0)
    changed, two = step(other, state, params, 1.0)
    np.testing.assert_array_equal(first["c_matrix"], changed["c_matrix"])
    second, _ = step(gradient, one, params, 1.0)
    later, _ = step(gradient, two, params, 1.0)
    assert not np.allclose(second["c_matrix"], later["c_matrix"], rtol=1e-5)


def test_numbers_that_are_not_finite_leave_no_trace(update):
    tx, step = update
    params, gradient = uneven_tree(0), uneven_tree(1)
    gradient["c_matrix"][1, 1], gradient["d_cube"][0, 0, 0] = np.nan, np.inf
    for leaf in jax.tree.leaves(step(gradient, tx.init(params), params, np.nan)):
        assert np.all(np.isfinite(leaf))


def test_tensors_without_elements_are_not_seen():
    tx = rnn_mlp_lopt(THETA)
    assert tx.update({}, tx.init({}), {}, value=1.0)[0] == {}
    params = {"nothing": jnp.zeros((0, 3)), "w": jnp.ones(2, jnp.bfloat16)}
    state = tx.init(params)
    assert state.from_network.shape == (1, CONFIG.from_network)
    updates, new = jax.eval_shape(lambda p: tx.update(p, state, p, value=1.0), params)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), updates) == jax.tree.map(
        lambda x: (x.shape, x.dtype), params
    )
    assert jax.tree.map(jnp.shape, new) == jax.tree.map(jnp.shape, state)


def test_the_norm_has_a_derivative_at_zero():
    assert norm(jnp.array([3.0, 4.0])) == 5
    np.testing.assert_array_equal(jax.grad(norm)(jnp.zeros(3)), 0)


def test_missing_arguments_are_refused(key):
    params = {"w": jnp.ones(2)}
    tx = rnn_mlp_lopt_inner(CONFIG).transformation(THETA, describe(params), 3)
    state = tx.init(params)
    with pytest.raises(ConfigError, match="rnn_mlp_lopt lacks the argument value"):
        tx.update(params, state, params)
    with pytest.raises(ConfigError, match="scalar loss"):
        tx.update(params, state, params, value=jnp.ones(2))
    with pytest.raises(ConfigError, match="lacks the argument params"):
        tx.update(params, state, value=1.0)
    with pytest.raises(ConfigError, match="hidden must be positive"):
        RNNMLPConfig(hidden=0)
    shapes = jax.tree.map(jnp.shape, rnn_mlp_lopt_inner(CONFIG).init(key))
    assert shapes == jax.tree.map(jnp.shape, THETA)
