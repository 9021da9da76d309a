"""DiscoRL against its spelling in float64 NumPy, and what must hold for every theta."""

import dataclasses
import functools
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.rules import disco
from metarl.rules.disco.theta import from_published, published_shapes
from metarl.rules.disco.views import view
from metarl.rules.update_rule import LifetimeProgress
from tests.quick_compilation import quick_jit

from . import disco_numpy
from .disco_rollouts import described, look_up, rollout, table

CONFIG = disco.DiscoConfig(
    prediction_size=6,
    bins=11,
    max_value=5.0,
    width=7,
    lifetime_width=4,
    embedding=3,
    action_channels=(5, 2),
    policy_channels=4,
)
STEPS, BATCH, ACTIONS = 6, 2, 3
CLOCK = LifetimeProgress(jnp.float32(0), jnp.float32(1))


def random_theta(config, seed, scale=1.0):
    """Wide enough that every part of the network matters."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(disco.disco(config).init, jax.random.key(0))
    return jax.tree.map(lambda x: np.float32(scale * rng.normal(0, 0.6, x.shape)), shapes)


@functools.cache
def compiled(config):
    """`(theta, state, params, trajectory) -> (targets, state, log, loss)`."""
    rule = disco.disco(config)

    def run(theta, state, params, trajectory):
        targets, state, log = rule.targets(theta, state, params, look_up, trajectory, CLOCK)
        return targets, state, log, rule.loss(look_up(params, trajectory.obs), trajectory, targets)

    return quick_jit(run)


def to_published(config, theta):
    """The inverse of `from_published`: its transpose, since it only renames and reshapes."""
    shapes = {k: jax.ShapeDtypeStruct(s, np.float32) for k, s in published_shapes(config).items()}
    (arrays,) = jax.linear_transpose(lambda x: from_published(config, x), shapes)(theta)
    return arrays


def check_against_numpy(config, theta, tolerance, steps=STEPS, batch=BATCH):
    """Two updates with the same parameters: the second starts from the state of the first."""
    arrays = {k: np.asarray(x, np.float64) for k, x in to_published(config, theta).items()}
    rows = 2 * steps * batch
    params, target = table(config, ACTIONS, rows, 1), table(config, ACTIONS, rows, 2)
    state = disco.disco(config).init_state(theta, target)
    width = config.lifetime_width
    memory = (np.zeros(width), np.zeros(width), 0.0, 0.0, 1.0)
    for seed in (3, 4):
        trajectory = rollout(steps, batch, ACTIONS, seed)
        targets, state, _, loss = compiled(config)(theta, state, params, trajectory)
        rolled = described(params, target, trajectory)
        meta, values, memory = disco_numpy.targets(arrays, rolled, memory, config.max_value)
        close = functools.partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance)
        close(targets.meta.policy, meta["policy"])
        close(targets.meta.y, meta["y"])
        close(targets.meta.z, meta["z"])
        close(targets.next_policy, rolled["next_outputs"]["logits"])
        close(targets.q, values["target"])
        close(loss, disco_numpy.loss(rolled, meta, values, config.max_value))
        close(state.lifetime.hidden, memory[0])
        close(state.lifetime.cell, memory[1])
        close(np.array(state.moments), memory[2:])
        target = {k: 0.9 * target[k] + 0.1 * params[k] for k in params}
        jax.tree.map(close, state.target_params, target)


@pytest.mark.parametrize("seed", [0, 1])
def test_against_numpy(seed):
    # Sums of up to 17 terms of order one in a chain of six steps of two layers, in float32.
    check_against_numpy(CONFIG, random_theta(CONFIG, seed), 1e-4)


@pytest.mark.parametrize("part", ["trajectory", "lifetime"])
def test_every_layer_matters(part):
    """Else a comparison of outputs would not see a layer that is wrong."""
    theta = random_theta(CONFIG, 0)
    rng = np.random.default_rng(1)
    for layer in theta[part]:
        wrong = jax.tree.map(np.copy, theta)
        weights = wrong[part][layer]["w"]
        weights += np.float32(rng.normal(size=weights.shape))
        with pytest.raises(AssertionError):
            _compare(theta, wrong)


@functools.cache
def _one_rollout():
    rows = 2 * STEPS * BATCH
    return table(CONFIG, ACTIONS, rows, 1), rollout(STEPS, BATCH, ACTIONS, 3)


def _compare(theta, wrong):
    """Raises unless two thetas make the same targets and memory of one rollout."""
    params, trajectory = _one_rollout()
    runs = []
    for each in (theta, wrong):
        state = disco.disco(CONFIG).init_state(each, params)
        state = state._replace(lifetime=jax.tree.map(lambda x: x + 0.5, state.lifetime))
        targets, state, *_ = compiled(CONFIG)(each, state, params, trajectory)
        runs.append((targets.meta, state.lifetime))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *runs)


def test_actions_have_no_order():
    theta = random_theta(CONFIG, 5)
    params, trajectory = _one_rollout()
    order = np.array([2, 0, 1])  # new action i is old action order[i]
    permuted = dict(params)
    for name in ("logits", "z", "q", "aux_pi"):
        permuted[name] = params[name][:, order]
    permuted["aux_pi"] = permuted["aux_pi"][..., order]
    renamed = trajectory._replace(
        action=jnp.argsort(order)[trajectory.action],
        behaviour_params=(trajectory.behaviour_params[0][..., order],),
    )
    state = disco.disco(CONFIG).init_state(theta, params)
    first, _, _, loss = compiled(CONFIG)(theta, state, params, trajectory)
    state = disco.disco(CONFIG).init_state(theta, permuted)
    second, _, _, same_loss = compiled(CONFIG)(theta, state, permuted, renamed)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
    close(second.meta.policy, first.meta.policy[..., order])
    close(second.meta.y, first.meta.y)
    close(second.meta.z, first.meta.z)
    close(same_loss, loss)


@pytest.mark.parametrize("ending", ["terminated", "truncated"])
def test_final_observations_matter_where_an_episode_is_truncated_only(ending):
    theta = random_theta(CONFIG, 6)
    params, trajectory = _one_rollout()
    done = np.zeros((STEPS, BATCH), bool)
    done[2, 0] = True
    rows = np.concatenate([trajectory.obs[1:], trajectory.next_obs[-1:]])
    rows[2, 0] = 2 * STEPS * BATCH - 1
    trajectory = trajectory._replace(
        done=jnp.asarray(done),
        terminated=jnp.asarray(done & (ending == "terminated")),
        next_obs=jnp.asarray(rows),
    )
    changed = {name: np.copy(x) for name, x in params.items()}
    for x in changed.values():
        x[-1] += np.linspace(0, 2, x[-1].size, dtype=np.float32).reshape(x[-1].shape)
    # The last step of the rollout leads to another row than the one that is changed.
    assert rows[-1, 1] == 2 * STEPS * BATCH - 1
    trajectory = trajectory._replace(next_obs=trajectory.next_obs.at[-1, 1].set(0))
    results = []
    for outputs in (params, changed):
        state = disco.disco(CONFIG).init_state(theta, params)
        targets, *_ = compiled(CONFIG)(theta, state, outputs, trajectory)
        results.append(np.asarray(targets.meta.policy))
    same = np.array_equal(*results)
    assert same == (ending == "terminated")


def outcome(config, theta, params, target_params, trajectory):
    """The loss of an update and the memory it leaves, as a function of what makes the targets."""
    rule = disco.disco(config)
    state = rule.init_state(theta, target_params)
    state = state._replace(lifetime=jax.tree.map(lambda x: x + 0.5, state.lifetime))
    targets, state, _ = rule.targets(theta, state, params, look_up, trajectory, CLOCK)
    loss = rule.loss(look_up(target_params, trajectory.obs), trajectory, targets)
    return loss + jnp.sum(state.lifetime.hidden)


@pytest.mark.slow
def test_gradient_against_finite_differences():
    params, trajectory = _one_rollout()
    with jax.enable_x64(True):
        theta, params, trajectory = jax.tree.map(
            lambda x: jnp.asarray(x, jnp.float64) if x.dtype == jnp.float32 else x,
            (random_theta(CONFIG, 7), params, trajectory),
        )
        config = dataclasses.replace(CONFIG, input_gradient=True)
        evaluate = quick_jit(jax.value_and_grad(functools.partial(outcome, config), (0, 1)))
        _, (by_theta, by_params) = evaluate(theta, params, params, trajectory)
        rng = np.random.default_rng(8)
        step = jax.tree.map(lambda x: 1e-5 * rng.normal(size=x.shape), theta)
        ahead, behind = (
            evaluate(jax.tree.map(add, theta, step), params, params, trajectory)[0]
            for add in (jnp.add, jnp.subtract)
        )
        products = jax.tree.map(lambda g, d: jnp.sum(g * d), by_theta, step)
        # A central difference errs by the cube of the step; a rectifier or a maximum over actions
        # that switched within it would show.
        np.testing.assert_allclose(sum(jax.tree.leaves(products)), (ahead - behind) / 2, rtol=1e-5)
        for part in by_theta.values():
            for layer, arrays in part.items():
                assert np.any(arrays["w"] != 0), layer
        # The policy and the action-values are constants to the rule, here as in its training.
        assert {name for name, x in by_params.items() if np.any(x)} == {"y", "z"}


def test_policy_and_values_are_constants_to_the_rule_even_where_inputs_have_a_gradient():
    """The derivative of a view with respect to the outputs that it is of."""
    config = dataclasses.replace(CONFIG, input_gradient=True)
    theta, outputs = random_theta(CONFIG, 7), table(CONFIG, ACTIONS, 2, 3)

    def total(outputs):
        return sum(jnp.sum(jnp.sin(x)) for x in view(config, theta, outputs))

    slopes = quick_jit(jax.grad(total))(outputs)
    assert {name for name, x in slopes.items() if np.any(x)} == {"y", "z"}


def test_inputs_have_no_gradient_unless_asked():
    params, trajectory = _one_rollout()
    theta = random_theta(CONFIG, 7)

    def made(params):
        rule = disco.disco(CONFIG)
        targets, state, _ = rule.targets(
            theta, rule.init_state(theta, params), params, look_up, trajectory, CLOCK
        )
        leaves = (targets, state.lifetime, state.moments)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(leaves))

    assert not any(np.any(leaf) for leaf in jax.tree.leaves(jax.jit(jax.grad(made))(params)))


def test_action_values_are_learnt_whatever_theta():
    """On one-step episodes the targets are the rewards of the actions, exactly."""
    rule = disco.disco(CONFIG)
    theta = random_theta(CONFIG, 9)
    params = table(CONFIG, ACTIONS, 1, 1)
    rewards = np.float32([-2.0, 0.5, 3.0])
    action = jnp.arange(ACTIONS).repeat(4)[None]
    ended = jnp.ones_like(action, bool)
    trajectory = rollout(3, 12, ACTIONS, 0)
    trajectory = jax.tree.map(lambda x: x[:1], trajectory)._replace(
        obs=0 * action,
        next_obs=0 * action,
        action=action,
        reward=jnp.asarray(rewards)[action],
        terminated=ended,
        done=ended,
    )

    def update(carry, _):
        params, state = carry
        targets, state, _ = rule.targets(theta, state, params, look_up, trajectory, CLOCK)
        gradient = jax.grad(lambda p: rule.loss(look_up(p, trajectory.obs), trajectory, targets))(
            params
        )
        return (jax.tree.map(lambda p, g: p - 20.0 * g, params, gradient), state), targets.q

    start = (jax.tree.map(jnp.asarray, params), rule.init_state(theta, params))
    (params, _), q_targets = quick_jit(lambda s: jax.lax.scan(update, s, length=400))(start)
    np.testing.assert_allclose(q_targets[-1, 0], rewards[np.asarray(action)[0]], rtol=1e-6)
    q = disco_numpy.scalar(np.asarray(params["q"][0], np.float64), CONFIG.max_value)
    # Probability is left on the other bins, and vanishes as one over the number of steps.
    np.testing.assert_allclose(q, rewards, atol=0.1)


def test_outputs():
    assert disco.disco().outputs(4) == {
        "logits": (4,),
        "y": (600,),
        "z": (4, 600),
        "q": (4, 601),
        "aux_pi": (4, 4),
    }


def test_number_of_parameters():
    shapes = published_shapes(disco.DiscoConfig())
    assert len(shapes) == 42
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 754_778


def test_initial_theta_has_the_stated_spread(key):
    init = disco.disco(dataclasses.replace(CONFIG, width=128)).init
    theta = quick_jit(init)(key)
    for layer, std in (("y_hat", 0.3), ("gate", 1.0), ("lstm", (27 + 128) ** -0.5)):
        weights = np.asarray(theta["trajectory"][layer]["w"])
        # A normal cut at two standard deviations has the standard deviation 0.8796.
        assert abs(weights.std() / std - 0.8796) < 4 / np.sqrt(2 * weights.size)


@pytest.mark.parametrize(
    "change",
    [
        {"bins": 1},
        {"width": 0},
        {"gamma": 1.1},
        {"trace_decay": -0.1},
        {"value_cost": -1.0},
        {"action_channels": (16, 0)},
        {"max_value": float("inf")},
    ],
)
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(ConfigError):
        dataclasses.replace(disco.DiscoConfig(), **change)


def test_published_weights_against_numpy():
    folder = os.environ.get("METARL_REFERENCE_DATA")
    path = Path(folder or "") / "disco_103.npz"
    if folder is None or not path.exists():
        pytest.skip("METARL_REFERENCE_DATA names no folder with disco_103.npz")
    loaded = disco.load(path)
    assert loaded.is_disco_103
    # Sums of up to 600 terms; targets reach about ten.
    check_against_numpy(loaded.config, loaded.theta, 2e-3, steps=5, batch=2)
