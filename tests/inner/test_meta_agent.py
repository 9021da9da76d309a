"""The meta-gradient against finite differences, and the critic that it needs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.contracts import Truncation
from metarl.estimators.truncated_backprop import TruncatedBackprop, TruncatedBackpropConfig
from metarl.inner.meta_agent import MetaAgent, MetaObjectiveConfig
from metarl.inner.rule_agent import RuleAgent
from metarl.inner.rule_agent_config import RuleAgentConfig
from metarl.networks.heads import HeadsConfig
from metarl.rules.lpg import lpg
from metarl.rules.lpg_network import LPGConfig
from metarl.tasks.curricula.uniform import Uniform
from metarl.tasks.lifetimes import Lifetimes
from tests.learning import probes


def meta_agent(probe, input_gradient=False, hidden=(4,), **objective):
    rule = lpg(
        LPGConfig(core="gru", width=4, categories=3, embedding=3, input_gradient=input_gradient)
    )
    config = RuleAgentConfig(
        updates=50,
        num_envs=3,
        rollout_length=5,
        descent="sgd",
        learning_rate=0.5,
        max_grad_norm=None,
        network=HeadsConfig(hidden=hidden, activation="tanh"),
    )
    objective = {"critic": HeadsConfig(hidden=(8,), activation="tanh"), **objective}
    return MetaAgent(RuleAgent(probe.env, config, rule), MetaObjectiveConfig(**objective))


def doubles(tree):
    return jax.tree.map(
        lambda x: x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree
    )


def part_of(learner, length):
    """`(theta, key, task, state) -> loss` of K updates and their meta-loss, as in meta-training."""
    tasks = Lifetimes(learner.agent.env, 50, 50)
    truncation = Truncation(learner, length, lambda task: task.lifetime, learner.meta_loss)
    estimator = TruncatedBackprop(
        TruncatedBackpropConfig(num_parallel=1), truncation, Uniform(tasks)
    )
    return tasks, estimator._segment


@pytest.mark.parametrize(("mark", "rollouts"), [(None, 2), (lambda x: x, 3)])
def test_the_way_back_does_not_act_again(monkeypatch, key, mark, rollouts):
    """Only updates are computed again: agents act once in the update and once in the meta-loss."""
    if mark is not None:  # so that the count is seen to change
        monkeypatch.setattr("metarl.inner.rule_agent.save_residuals", mark)
    probe = probes.two_steps()

    def transition(draws, state, action, params):
        step = probe.env.transition(draws, state, action, params)
        seen = jax.ShapeDtypeStruct(step.obs.shape, step.obs.dtype)
        obs = jax.pure_callback(lambda obs: obs, seen, step.obs, vmap_method="sequential")
        return step._replace(obs=obs)

    learner = meta_agent(probe._replace(env=probe.env.replace(transition=transition)))
    tasks, part = part_of(learner, 2)
    # Only traced: nothing of it is compiled.
    theta, task = jax.eval_shape(lambda: (learner.agent.rule.init(key), tasks.sample(key)))
    state = jax.eval_shape(learner.init, key, theta, task)
    gradient = jax.grad(lambda theta, task, state: part(theta, key, task, state)[0])
    program = jax.make_jaxpr(gradient)(theta, task, state)
    assert str(program).count("pure_callback[") == rollouts


@pytest.mark.parametrize(
    ("updates", "input_gradient"),
    [
        pytest.param(1, False, id="one update", marks=pytest.mark.slow),
        pytest.param(2, True, id="through inputs"),
        pytest.param(3, True, id="through inputs twice", marks=pytest.mark.slow),
    ],
)
def test_the_meta_gradient_against_finite_differences(key, updates, input_gradient):
    """In float64, along random directions, with the random numbers held.

    Through several updates the whole derivative needs the path through the rule's inputs; with one
    update the inputs do not depend on theta and nothing is stopped.
    """
    probe = probes.two_steps()
    learner = meta_agent(probe, input_gradient)
    with jax.enable_x64(True):
        tasks, part = part_of(learner, updates)
        task = tasks.sample(key)
        theta = doubles(learner.agent.rule.init(jax.random.key(1)))
        state = learner.init(jax.random.key(2), theta, task)
        # What learns is in float64; the environment keeps its own types.
        agent = state.agent._replace(params=doubles(state.agent.params))
        state = doubles(state._replace(agent=()))._replace(agent=agent)

        @jax.jit
        def loss(theta):
            return part(theta, key, task, state)[0]

        gradient = jax.jit(jax.grad(loss))(theta)
        leaves, tree = jax.tree.flatten(theta)
        rng = np.random.default_rng(0)
        for _ in range(3):
            direction = [rng.normal(size=leaf.shape) for leaf in leaves]

            def moved(by, direction=direction):
                pairs = zip(leaves, direction, strict=True)
                return tree.unflatten([x + by * d for x, d in pairs])

            h = 1e-5
            difference = float(loss(moved(h)) - loss(moved(-h))) / (2 * h)
            slopes = zip(jax.tree.leaves(gradient), direction, strict=True)
            expected = sum(float(jnp.sum(g * d)) for g, d in slopes)
            assert abs(expected) > 1e-4  # a gradient that is zero would agree with anything
            # Truncation error h^2, rounding 1e-16 / h, each times derivatives of order a hundred.
            np.testing.assert_allclose(difference, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.slow
def test_stopping_the_inputs_changes_the_meta_gradient(key):
    probe = probes.two_steps()
    gradients = []
    for open_inputs in (False, True):
        learner = meta_agent(probe, open_inputs)
        tasks, part = part_of(learner, 3)
        task = tasks.sample(key)
        theta = learner.agent.rule.init(jax.random.key(1))
        state = learner.init(jax.random.key(2), theta, task)
        loss, gradient = jax.jit(
            jax.value_and_grad(lambda theta, part=part, s=state, t=task: part(theta, key, t, s)[0])
        )(theta)
        gradients.append((loss, gradient))
    (loss, stopped), (same, whole) = gradients
    np.testing.assert_allclose(loss, same, rtol=1e-5)
    a, b = (np.asarray(x["core"]["hn"]["kernel"]) for x in (stopped, whole))
    # Far more than rounding, which is below 1e-5 of it.
    assert np.abs(a - b).max() > 1e-3 * np.abs(a).max()


@pytest.mark.parametrize(
    "make", [probes.two_steps, probes.truncation_flips], ids=lambda f: f.__name__
)
@pytest.mark.sampled(1)
def test_the_critic_learns_the_values(make, key):
    """In the public code it never does: its update is thrown away."""
    probe = make()
    learner = meta_agent(
        probe, gamma=probe.gamma, critic_steps=8, critic_learning_rate=0.01, gae_lambda=0.9
    )
    tasks, _ = part_of(learner, 1)
    task = tasks.sample(key)
    theta = learner.agent.rule.init(key)

    @jax.jit
    def train(state):
        def step(state, key):
            state, log = learner.step(key, theta, task, state)
            return state, log.value_error

        return jax.lax.scan(step, state, jax.random.split(key, 100))

    state, errors = train(learner.init(key, theta, task))
    values = learner.value(state.critic, jnp.asarray(probe.observations))
    np.testing.assert_allclose(values, probe.values, atol=0.1, rtol=0.1)
    assert np.mean(errors[-10:]) < 0.1 * np.mean(errors[:2])


def test_the_best_return_is_kept(key):
    probe = probes.two_steps()
    learner = meta_agent(probe)
    tasks, _ = part_of(learner, 1)
    task = tasks.sample(key)
    theta = learner.agent.rule.init(key)
    state = learner.init(key, theta, task)
    assert state.best_return == -jnp.inf
    state, _ = learner.step(key, theta, task, state)
    assert state.best_return == 1.0
