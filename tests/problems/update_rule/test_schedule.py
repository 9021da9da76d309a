"""The schedule of a rule whose schedule is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl import envs
from metarl.inner.rule_agent import RuleAgent
from metarl.inner.rule_agent_config import RuleAgentConfig
from metarl.networks.heads import HeadsConfig
from metarl.problems.update_rule.schedule import schedule_curves
from metarl.problems.update_rule.schedule_figure import ScheduleCurve, schedule_figure
from metarl.rules.update_rule import LOGITS, UpdateRule, empty_state
from metarl.tasks.lifetimes import Lifetimes

RATE = 3.0


def late_pusher():
    """Pushes action 0 with a strength of n/N, whatever the agent lived through."""

    def targets(theta, state, params, apply, trajectory, progress):
        return theta * progress.update / progress.lifetime, state, {}

    def loss(outputs, trajectory, strength):
        return -strength * jnp.mean(outputs[LOGITS][..., 0])

    return UpdateRule(
        "late", lambda key: jnp.float32(1), lambda n: {LOGITS: (n,)}, empty_state, targets, loss
    )


@pytest.fixture(scope="module")
def agent():
    config = RuleAgentConfig(
        updates=8,
        num_envs=2,
        rollout_length=4,
        descent="sgd",
        learning_rate=RATE,
        network=HeadsConfig(hidden=(), bias=False),
    )
    return RuleAgent(envs.make("chain/short"), config, late_pusher())


def test_curves_tell_the_schedule_of_the_rule(agent):
    tasks = Lifetimes(agent.env, 4, 8)
    short, long = schedule_curves(agent, tasks, jax.random.key(0), jnp.float32(1), [4, 8])
    assert (short.lifetime, long.lifetime) == (4, 8)
    np.testing.assert_allclose(short.progress, np.arange(4) / 4)
    np.testing.assert_allclose(long.progress, np.arange(8) / 8)
    nothing = [short.step[0], long.step[0], short.entropy[0], long.entropy[0]]
    np.testing.assert_allclose(nothing, 0.0, atol=1e-7)  # a push of strength 0
    assert np.all(np.diff(long.step) > 0)
    # Ages that are the same share of a life (exactly so in binary): the same program is given the
    # same numbers, so the update of the same agents is the same to the bit.
    np.testing.assert_array_equal(short.step, long.step[::2])
    # KL of a small shift x of one logit is p (1 - p) x^2 / 2: it grows with the square of n/N.
    np.testing.assert_allclose(long.step[2] / long.step[1], 4.0, rtol=0.05)


def test_the_figure_has_a_line_for_every_lifetime():
    progress = np.linspace(0, 1, 3)
    curves = [ScheduleCurve(n, progress, progress, -progress) for n in (10, 40)]
    figure = schedule_figure(curves)
    assert [len(axes.lines) for axes in figure.axes] == [2, 3]  # and zero
    assert "No ages" in schedule_figure([]).texts[-1].get_text()
