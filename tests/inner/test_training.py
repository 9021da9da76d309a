"""Supervised training as a learner: optimizer, update context, logs and meta-losses."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metarl.core.contracts import Unroll
from metarl.core.errors import ConfigError
from metarl.core.keys import named
from metarl.estimators.truncated_backprop import TruncatedBackprop, TruncatedBackpropConfig
from metarl.inner.training import Training, lifetime
from metarl.inner.training_meta_loss import (
    end_meta_loss,
    final_meta_loss,
    fresh_loss,
    held_out_loss,
    last_loss,
    mean_loss,
    min_loss,
    training_truncation,
    window_meta_loss,
)
from metarl.optimizers.protocol import InnerOptimizer, from_optax
from metarl.tasks import families
from metarl.tasks.curricula import Uniform
from metarl.tasks.families.quadratic import sgd_iterate
from metarl.tasks.family import TaskFamily
from metarl.tasks.lifetimes import Lifetimes, TimedTask

STEPS = 6


def learnable_sgd():
    """Steepest descent whose theta is the logarithm of its step size."""

    def transformation(theta, info, num_steps):
        return optax.with_extra_args_support(optax.sgd(jnp.exp(theta)))

    return InnerOptimizer("sgd", lambda key: jnp.float32(0.0), transformation)


@pytest.fixture(scope="module")
def quadratic():
    return families.make("quadratic?dimension=3&condition=10")


@pytest.fixture(scope="module")
def quadratic_task(quadratic):
    return TimedTask(jax.jit(quadratic.sample)(jax.random.key(3)), jnp.int32(STEPS))


def unroll(learner, theta, task, loss=mean_loss):
    unroll = Unroll(Lifetimes(learner.family, STEPS, STEPS), learner, STEPS, loss)
    return jax.jit(lambda key: unroll.run(key, theta, task))(jax.random.key(0))


def test_steepest_descent_follows_the_closed_form(quadratic, quadratic_task):
    rate = 0.3 / float(quadratic_task.task.curvature.max())
    learner = Training(quadratic, from_optax("sgd", optax.sgd(rate)))
    meta_loss, logs, state = unroll(learner, (), quadratic_task)
    start = learner.init(jax.random.split(jax.random.key(0))[0], (), quadratic_task).params["x"]
    assert int(state.step) == STEPS
    q, h, s = (np.asarray(x, np.float64) for x in quadratic_task.task[:3])
    for n in range(STEPS):
        x = np.asarray(sgd_iterate(quadratic_task.task, start, rate, n), np.float64)
        gradient = q @ (h * (q.T @ (x - s)))
        np.testing.assert_allclose(logs.loss[n], 0.5 * (x - s) @ gradient, rtol=1e-4)
        np.testing.assert_allclose(logs.grad_norm[n], np.linalg.norm(gradient), rtol=1e-4)
        np.testing.assert_allclose(logs.update_norm[n], rate * np.linalg.norm(gradient), rtol=1e-4)
    last = sgd_iterate(quadratic_task.task, start, rate, STEPS)
    np.testing.assert_allclose(state.params["x"], last, rtol=1e-4, atol=1e-5)
    normalised = [float(quadratic.normalize(loss, quadratic_task.task)) for loss in logs.loss]
    np.testing.assert_allclose(logs.meta_loss, normalised, rtol=1e-6)
    np.testing.assert_allclose(meta_loss, np.mean(normalised), rtol=1e-6)
    assert float(last_loss(logs)) == pytest.approx(normalised[-1])
    assert float(min_loss(logs)) == pytest.approx(min(normalised))


def test_adam_is_a_plain_optax_loop():
    """The same bits but for the compiler's order, from the same keys."""
    family = families.make("mlp/digits?width=4&batch=8&evaluated=8")
    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.05))
    learner = Training(family, from_optax("adam", adam))
    task = TimedTask(family.sample(jax.random.key(1)), jnp.int32(3))
    keys = jax.random.split(jax.random.key(2), 4)
    params = jax.jit(family.init)(keys[0], task.task)
    opt_state = adam.init(params)

    @jax.jit
    def plain(params, opt_state, key):
        loss, gradient = jax.value_and_grad(family.loss)(params, named(key, "batch"), task.task)
        updates, opt_state = adam.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    state = jax.jit(learner.init)(keys[0], (), task)
    step = jax.jit(learner.step)
    for key in keys[1:]:
        state, log = step(key, (), task, state)
        params, opt_state, loss = plain(params, opt_state, key)
        assert float(log.loss) == pytest.approx(float(loss), rel=1e-6)
        np.testing.assert_allclose(log.meta_loss, family.normalize(loss, task.task), rtol=1e-5)
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_an_optimizer_is_told_where_it_stands():
    """Progress, loss, lifetime, a key of its own every time, and the multiplier of each tensor."""
    family = families.make("mu_mlp/digits?width=4&depth=2&batch=8&hidden_multiplier=3.0")
    seen = {}

    def transformation(theta, info, num_steps):
        seen["info"] = info

        def update(updates, state, params=None, *, progress, epoch_progress, key, activity, value):
            assert activity is None
            received = (progress, epoch_progress, value, jax.random.uniform(key), num_steps)
            received = (*received, info[1].multiplier, info[3].multiplier)
            return jax.tree.map(jnp.zeros_like, updates), (received, state[1] + 1)

        return optax.GradientTransformationExtraArgs(
            lambda params: ((0.0, 0.0, 0.0, 0.0, jnp.int32(0), 0.0, 0.0), 0), update
        )

    learner = Training(family, InnerOptimizer("witness", lambda key: (), transformation))
    task = TimedTask(family.sample(jax.random.key(0)), jnp.int32(4))
    state = jax.jit(learner.init)(jax.random.key(1), (), task)
    step = jax.jit(learner.step)
    drawn = []
    for n in range(5):
        before = state.params
        state, log = step(jax.random.key(n), (), task, state)
        progress, epoch, value, random, num_steps, input_part, hidden_part = state.opt_state[0]
        assert float(progress) == pytest.approx(min(n / 3, 1.0))
        assert (float(epoch), int(num_steps), int(state.opt_state[1])) == (0.0, 4, n + 1)
        assert float(value) == float(log.loss)
        assert float(log.update_norm) == 0.0
        # In the order of the leaves: bias and kernel of hidden_0, bias and kernel of hidden_1.
        assert (float(input_part), float(hidden_part)) == (1.0, 0.75)
        jax.tree.map(np.testing.assert_array_equal, before, state.params)
        drawn.append(float(random))
    assert len(set(drawn)) == 5
    assert [about.layer for about in seen["info"]] == [0.0, 0.0, 0.5, 0.5, 1.0, 1.0]


def test_scores_after_every_update():
    """Fresh batches and held-out data, normalised, of the parameters that an update left."""
    family = families.make("mlp/digits?width=4&batch=8&evaluated=16")
    adam = from_optax("adam", optax.adam(0.05))
    task = TimedTask(family.sample(jax.random.key(1)), jnp.int32(3))
    key = jax.random.key(5)
    fresh = Training(family, adam, fresh_loss(family, batches=2))
    held_out = replace(fresh, score=held_out_loss(family))

    @jax.jit
    def one(key):
        state = fresh.init(key, (), task)
        after, log = fresh.step(key, (), task, state)
        key_score = named(key, "score")
        batches = [family.loss(after.params, k, task.task) for k in jax.random.split(key_score, 2)]
        expected = family.evaluate(after.params, key_score, task.task)["loss"]
        _, other = held_out.step(key, (), task, state)
        return log, other, jnp.mean(jnp.stack(batches)), expected

    log, other, on_fresh, on_held_out = one(key)
    chance = np.log(10)
    assert float(on_fresh) != pytest.approx(float(log.loss))
    for meta_loss, loss in ((log.meta_loss, on_fresh), (other.meta_loss, on_held_out)):
        relative = float(loss) / chance
        expected = relative if relative <= 1 else 1 + np.log(relative)
        assert float(meta_loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("reduce", [mean_loss, last_loss, min_loss])
def test_training_that_diverged_has_no_meta_loss(quadratic, quadratic_task, reduce):
    """Not even the least loss, though losses were finite before; meta-losses are NaN too."""
    learner = Training(quadratic, from_optax("sgd", optax.sgd(1e15)))
    meta_loss, logs, state = unroll(learner, (), quadratic_task, reduce)
    assert np.isfinite(logs.loss[0])
    assert not np.isfinite(logs.loss[-1])
    assert np.isnan(meta_loss)
    assert np.isnan(logs.meta_loss[-1])
    key = jax.random.key(0)
    for meta_loss in (window_meta_loss(reduce), end_meta_loss(held_out_loss(quadratic))):
        assert np.isnan(meta_loss(key, (), quadratic_task, state, logs)[0])


def test_meta_losses_of_a_window(quadratic, quadratic_task):
    learner = Training(quadratic, from_optax("sgd", optax.sgd(0.01)))
    _, logs, state = unroll(learner, (), quadratic_task)
    key = jax.random.key(0)
    part = training_truncation(learner, STEPS)
    assert (part.learner, part.length) == (learner, STEPS)
    assert int(part.lifetime(quadratic_task)) == int(lifetime(quadratic_task)) == STEPS
    loss, after, seen = part.meta_loss(key, (), quadratic_task, state, logs)
    assert after is state
    assert float(loss) == float(mean_loss(logs))
    assert float(seen["update_norm"]) == pytest.approx(float(jnp.mean(logs.update_norm)))
    ended, _, _ = end_meta_loss(held_out_loss(quadratic))(key, (), quadratic_task, state, logs)
    x = np.asarray(state.params["x"], np.float64) - quadratic_task.task.optimum
    along = np.asarray(quadratic_task.task.rotation, np.float64).T @ x
    exact = 0.5 * np.sum(quadratic_task.task.curvature * along**2)
    normalised = quadratic.normalize(jnp.float32(exact), quadratic_task.task)
    assert float(ended) == pytest.approx(float(normalised), rel=1e-5)


def test_final_meta_loss_is_zero_before_the_last_window(quadratic, quadratic_task):
    """The sum over the parts is the closed form's loss before the last update."""
    rate = 0.3 / float(quadratic_task.task.curvature.max())
    learner = Training(quadratic, from_optax("sgd", optax.sgd(rate)))
    _, logs, state = unroll(learner, (), quadratic_task)
    meta_loss, key, half = final_meta_loss(), jax.random.key(0), STEPS // 2
    early = jax.tree.map(lambda x: x[:half], logs)
    before, _, _ = meta_loss(key, (), quadratic_task, state._replace(step=jnp.int32(half)), early)
    late = jax.tree.map(lambda x: x[half:], logs)
    end, after, seen = meta_loss(key, (), quadratic_task, state, late)
    assert float(before) == 0.0
    assert after is state
    start = learner.init(jax.random.split(jax.random.key(0))[0], (), quadratic_task).params["x"]
    q, h, s = (np.asarray(x, np.float64) for x in quadratic_task.task[:3])
    x = np.asarray(sgd_iterate(quadratic_task.task, start, rate, STEPS - 1), np.float64)
    exact = jnp.float32(0.5 * np.sum(h * (q.T @ (x - s)) ** 2))
    assert float(end) == pytest.approx(
        float(quadratic.normalize(exact, quadratic_task.task)), rel=1e-4
    )
    assert float(seen["loss"]) == pytest.approx(float(jnp.mean(late.loss)))
    scored, _, _ = final_meta_loss(held_out_loss(quadratic))(key, (), quadratic_task, state, late)
    assert (
        scored == end_meta_loss(held_out_loss(quadratic))(key, (), quadratic_task, state, late)[0]
    )
    diverged = logs._replace(loss=logs.loss.at[1].set(jnp.nan))
    assert np.isnan(meta_loss(key, (), quadratic_task, state, diverged)[0])


def test_a_step_size_is_meta_trained_through_training(quadratic, quadratic_task):
    """The gradient of truncated backpropagation is that of the closed form, by differences."""
    theta = jnp.float32(np.log(0.1 / float(quadratic_task.task.curvature.max())))
    learner = Training(quadratic, learnable_sgd())

    class Fixed:
        def sample(self, key):
            return quadratic_task

    estimator = TruncatedBackprop(
        TruncatedBackpropConfig(num_parallel=1, stagger=False),
        training_truncation(learner, STEPS, window_meta_loss(last_loss)),
        Uniform(Fixed()),
    )

    @jax.jit
    def estimate(key):
        state = estimator.init(key, theta)
        return state.unrolls.state.params["x"][0], estimator.estimate(key, theta, state)[0].gradient

    start, gradient = estimate(jax.random.key(0))
    q, h, s = (np.asarray(x, np.float64) for x in quadratic_task.task[:3])
    size = 0.5 * np.sum(h * (1 + (q.T @ s) ** 2))

    def meta_loss(theta):
        along = (1 - np.exp(theta) * h) ** (STEPS - 1) * (q.T @ (np.asarray(start) - s))
        loss = 0.5 * np.sum(h * along**2) / size
        return loss if loss <= 1 else 1 + np.log(loss)

    expected = (meta_loss(float(theta) + 1e-5) - meta_loss(float(theta) - 1e-5)) / 2e-5
    assert expected < -1e-3
    assert float(gradient) == pytest.approx(expected, rel=1e-3)


def family_with(init, loss, multipliers=None):
    return TaskFamily(
        "odd", lambda key: (), init, loss, lambda p, k, t: {}, multipliers=multipliers
    )


ODD = TimedTask((), jnp.int32(2))
ADAM = from_optax("adam", optax.adam(0.1))


def test_an_empty_network_is_trained_to_no_effect():
    family = family_with(lambda key, task: {}, lambda params, key, task: jnp.float32(2.0))
    learner = Training(family, ADAM)
    state = learner.init(jax.random.key(0), (), ODD)
    state, log = learner.step(jax.random.key(0), (), ODD, state)
    assert (float(log.loss), float(log.grad_norm), float(log.update_norm)) == (2.0, 0.0, 0.0)
    assert int(state.step) == 1


def test_whole_numbers_cannot_be_trained():
    family = family_with(
        lambda key, task: {"a": jnp.ones(2), "b": {"c": jnp.arange(3)}},
        lambda params, key, task: jnp.sum(params["a"]),
    )
    with pytest.raises(ConfigError, match="'b/c' of family 'odd' has dtype int32"):
        Training(family, ADAM).init(jax.random.key(0), (), ODD)


def test_a_loss_must_be_a_scalar():
    family = family_with(
        lambda key, task: {"a": jnp.ones(2)}, lambda params, key, task: params["a"]
    )
    learner = Training(family, ADAM)
    state = learner.init(jax.random.key(0), (), ODD)
    with pytest.raises(ConfigError, match=r"'odd' must be a scalar, got shape \(2,\)"):
        learner.step(jax.random.key(0), (), ODD, state)


def test_multipliers_must_be_like_the_parameters():
    family = family_with(
        lambda key, task: {"a": jnp.ones(2), "b": jnp.ones(3)},
        lambda params, key, task: jnp.sum(params["a"]),
        lambda task: {"a": 1.0, "c": 1.0},
    )
    with pytest.raises(ConfigError, match=r"are for \['a', 'c'\], its parameters are \['a', 'b'\]"):
        Training(family, ADAM).init(jax.random.key(0), (), ODD)


def test_fresh_batches_must_be_some(quadratic):
    with pytest.raises(ConfigError, match="batches must be positive"):
        fresh_loss(quadratic, batches=0)
