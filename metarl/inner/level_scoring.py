"""What a level was worth to an agent whose life on it ended: the scores that curricula go by."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from metarl.core.keys import split_named
from metarl.core.types import Array, Key, Theta
from metarl.envs.protocol import EnvParams
from metarl.inner.meta_agent import MetaAgent, MetaAgentState
from metarl.inner.rule_agent import RuleAgent, RuleAgentState
from metarl.rl.level_scores import (
    algorithmic_regret,
    l1_value_loss,
    learnability,
    max_monte_carlo,
    optimal_regret,
    positive_value_loss,
)
from metarl.rl.trajectory import Trajectory
from metarl.tasks.lifetimes import TimedTask

LevelScore = Callable[[Key, Theta, TimedTask, MetaAgentState], Array]
"""`(key, theta, task, state at the end of the life) -> scalar`."""


@dataclass(frozen=True)
class Regret:
    """Algorithmic regret: what an antagonist trained from scratch earns more than the agent.

    The antagonist lives on the same level and as long, with a hand-made rule.

    Attributes:
      agent: the agent that is scored.
      antagonist: the other; its `theta` is `()`.
      steps: environment steps, of each environment, that measure a return.

    Reference: Jackson et al. 2023 (GROOVE), arXiv:2310.02782, eq. 3.
    """

    agent: MetaAgent
    baseline: RuleAgent
    steps: int

    def __call__(self, key: Key, theta: Theta, task: TimedTask, state: MetaAgentState) -> Array:
        """Scores a level."""
        del theta
        key_init, key_life, key_test = split_named(key, "init", "life", "test")
        baseline = self.baseline.init(key_init, (), task)

        def live(update: Array, baseline: RuleAgentState) -> RuleAgentState:
            key = jax.random.fold_in(key_life, update)
            return self.baseline.step(key, (), task, baseline)[0]

        baseline = jax.lax.fori_loop(0, task.lifetime, live, baseline)
        # The same episodes for both, as far as their actions agree.
        return algorithmic_regret(
            evaluate_return(key_test, self.baseline, task, baseline, self.steps),
            evaluate_return(key_test, self.agent.agent, task, state.agent, self.steps),
        )


@dataclass(frozen=True)
class OptimalRegret:
    """What an optimal policy earns more than the agent.

    Attributes:
      agent: the agent that is scored.
      optimum: `env params -> return of an optimal policy`, an oracle.
      steps: environment steps, of each environment, that measure a return.
    """

    agent: MetaAgent
    optimum: Callable[[EnvParams], Array]
    steps: int

    def __call__(self, key: Key, theta: Theta, task: TimedTask, state: MetaAgentState) -> Array:
        """Scores a level."""
        del theta
        earned = evaluate_return(key, self.agent.agent, task, state.agent, self.steps)
        return optimal_regret(self.optimum(task.task), earned)


@dataclass(frozen=True)
class TrajectoryScore:
    """A score of one rollout of the agent and its critic's values of it.

    Attributes:
      agent: the agent that is scored.
      score: `(agent, trajectory, state) -> scalar`; see `TRAJECTORY_SCORES`.
      steps: environment steps of each environment.
    """

    agent: MetaAgent
    score: Callable[[MetaAgent, Trajectory, MetaAgentState], Array]
    steps: int

    def __call__(self, key: Key, theta: Theta, task: TimedTask, state: MetaAgentState) -> Array:
        """Scores a level."""
        del theta
        trajectory = self.agent.agent.collect(key, task, state.agent, self.steps)[1]
        return self.score(self.agent, trajectory, state)


def evaluate_return(
    key: Key, agent: RuleAgent, task: TimedTask, state: RuleAgentState, steps: int
) -> Array:
    """Mean return of the episodes that end within `steps` steps of new episodes, a scalar.

    Where none ends, the mean return so far.
    """
    key_reset, key_steps = split_named(key, "reset", "steps")
    obs, env_state = agent.prepared_env.reset(key_reset, task.task)
    state = state._replace(obs=obs, env_state=env_state)
    trajectory = agent.collect(key_steps, task, state, steps)[1]
    done = trajectory.done.astype(jnp.float32)
    ended = jnp.sum(done)
    mean = jnp.sum(trajectory.episode_return * done) / jnp.maximum(ended, 1.0)
    return jnp.where(ended > 0, mean, jnp.mean(trajectory.episode_return[-1]))


def _l1(agent: MetaAgent, trajectory: Trajectory, state: MetaAgentState) -> Array:
    return l1_value_loss(agent.advantages(state.critic, trajectory).advantages)


def _positive(agent: MetaAgent, trajectory: Trajectory, state: MetaAgentState) -> Array:
    return positive_value_loss(agent.advantages(state.critic, trajectory).advantages)


def _max_monte_carlo(agent: MetaAgent, trajectory: Trajectory, state: MetaAgentState) -> Array:
    """The best return is undiscounted and the values are not: an upper bound, as in the paper."""
    return max_monte_carlo(agent.value(state.critic, trajectory.obs), state.best_return)


def _learnability(agent: MetaAgent, trajectory: Trajectory, state: MetaAgentState) -> Array:
    """An episode succeeded if it earned more than nothing."""
    del agent, state
    return learnability(trajectory.episode_return > 0, trajectory.done)


TRAJECTORY_SCORES: Mapping[str, Callable[[MetaAgent, Trajectory, MetaAgentState], Array]] = {
    "l1_value_loss": _l1,
    "positive_value_loss": _positive,
    "max_monte_carlo": _max_monte_carlo,
    "learnability": _learnability,
}
"""Scores of one rollout, by name."""
