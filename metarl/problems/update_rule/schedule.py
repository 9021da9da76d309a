"""The picture of what a rule that knows the time does with it."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.keys import split_named
from metarl.core.types import Array, Key, Theta
from metarl.evaluation.report import Picture
from metarl.inner.rule_agent import RuleAgent, RuleAgentState
from metarl.problems.update_rule.schedule_figure import ScheduleCurve, schedule_figure
from metarl.rl.distributions import Categorical
from metarl.rl.divergences import categorical_kl_divergence
from metarl.rl.trajectory import Trajectory
from metarl.rules.update_rule import LOGITS
from metarl.tasks.lifetimes import Lifetimes, TimedTask

_AGENTS = 16
_AGES = 21


def schedule_picture(
    agent: RuleAgent, tasks: Lifetimes, key: Key, theta: Theta
) -> dict[str, Picture]:
    """The same update at every age, for short and long lifetimes (a learned schedule)."""
    lifetimes = sorted({tasks.low, round(math.sqrt(tasks.low * tasks.high)), tasks.high})
    curves = schedule_curves(agent, tasks, key, theta, lifetimes)
    return {
        "schedule": Picture(
            schedule_figure(curves),
            "Schedule over the lifetime",
            f"One update of the same {_AGENTS} agents, each halfway through its lifetime, on the "
            "same experience: only the age that the rule is given differs.",
        )
    }


def schedule_curves(
    agent: RuleAgent, tasks: Lifetimes, key: Key, theta: Theta, lifetimes: Sequence[int]
) -> list[ScheduleCurve]:
    """Measures the change of the policy by one update, at ages from birth to the last update."""

    def half_a_life(key: Key) -> tuple[TimedTask, RuleAgentState, Trajectory]:
        key_task, key_init, key_life, key_now = split_named(key, "task", "init", "life", "now")
        task = tasks.sample(key_task)
        state, _ = jax.lax.scan(
            lambda state, key: (agent.step(key, theta, task, state)[0], None),
            agent.init(key_init, theta, task),
            jax.random.split(key_life, max(1, tasks.high // 2)),
        )
        return task, *agent.collect(key_now, task, state, agent.config.rollout_length)

    def change(
        trained: tuple[TimedTask, RuleAgentState, Trajectory], lifetime: Array, age: Array
    ) -> tuple[Array, Array]:
        task, state, trajectory = trained
        timed = task._replace(lifetime=lifetime)
        learnt, _, _ = agent.learn(theta, timed, state._replace(update=age), trajectory)
        before, after = (agent.apply(s.params, trajectory.obs)[LOGITS] for s in (state, learnt))
        entropies = [jnp.mean(Categorical(logits).entropy()) for logits in (before, after)]
        return jnp.mean(categorical_kl_divergence(before, after)), entropies[1] - entropies[0]

    agents = jax.jit(jax.vmap(half_a_life))(jax.random.split(key, _AGENTS))

    @jax.jit
    def curve(lifetime: Array, ages: Array) -> tuple[Array, Array]:
        def at(age: Array) -> tuple[Array, Array]:
            return jax.vmap(lambda trained: change(trained, lifetime, age))(agents)

        return jax.tree.map(lambda x: jnp.mean(x, axis=1), jax.lax.map(at, ages))

    curves = []
    for lifetime in lifetimes:
        ages = np.unique(np.round(np.linspace(0, lifetime - 1, _AGES)).astype(np.int32))
        padded = np.pad(ages, (0, _AGES - ages.size), mode="edge")
        measured = curve(jnp.int32(lifetime), jnp.asarray(padded))
        step, entropy = (np.asarray(values)[: ages.size] for values in measured)
        curves.append(ScheduleCurve(lifetime, ages / lifetime, step, entropy))
    return curves
