"""Level scores for curricula, computed for an agent at the end of its lifetime on a level."""

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
"""`(key, theta, task, state at the end of the lifetime) -> scalar`."""


@dataclass(frozen=True)
class Regret:
    """Algorithmic regret: return of a baseline agent minus return of the agent.

    The baseline agent is trained from scratch on the same level, for the same lifetime, with a
    handcrafted rule.

    Attributes:
      agent: agent that is scored.
      baseline: baseline agent; its `theta` is `()`.
      steps: steps of each environment in which returns are measured.

    Reference: Jackson et al. 2023 (GROOVE), arXiv:2310.02782, eq. 3.
    """

    agent: MetaAgent
    baseline: RuleAgent
    steps: int

    def __call__(self, key: Key, theta: Theta, task: TimedTask, state: MetaAgentState) -> Array:
        """Returns the score of a level, a scalar."""
        del theta
        key_init, key_train, key_test = split_named(key, "init", "life", "test")
        baseline = self.baseline.init(key_init, (), task)

        def train_step(update: Array, baseline: RuleAgentState) -> RuleAgentState:
            key = jax.random.fold_in(key_train, update)
            return self.baseline.step(key, (), task, baseline)[0]

        baseline = jax.lax.fori_loop(0, task.lifetime, train_step, baseline)
        # The same key for both: equal actions give equal episodes.
        return algorithmic_regret(
            evaluate_return(key_test, self.baseline, task, baseline, self.steps),
            evaluate_return(key_test, self.agent.agent, task, state.agent, self.steps),
        )


@dataclass(frozen=True)
class OptimalRegret:
    """Regret to an optimal policy: its return minus the return of the agent.

    Attributes:
      agent: agent that is scored.
      optimum: `env params -> return of an optimal policy`, an oracle.
      steps: steps of each environment in which the return is measured.
    """

    agent: MetaAgent
    optimum: Callable[[EnvParams], Array]
    steps: int

    def __call__(self, key: Key, theta: Theta, task: TimedTask, state: MetaAgentState) -> Array:
        """Returns the score of a level, a scalar."""
        del theta
        agent_return = evaluate_return(key, self.agent.agent, task, state.agent, self.steps)
        return optimal_regret(self.optimum(task.task), agent_return)


@dataclass(frozen=True)
class TrajectoryScore:
    """A score computed from one rollout of the agent and its critic's values.

    Attributes:
      agent: agent that is scored.
      score: `(agent, trajectory, state) -> scalar`; see `TRAJECTORY_SCORES`.
      steps: steps of each environment.
    """

    agent: MetaAgent
    score: Callable[[MetaAgent, Trajectory, MetaAgentState], Array]
    steps: int

    def __call__(self, key: Key, theta: Theta, task: TimedTask, state: MetaAgentState) -> Array:
        """Returns the score of a level, a scalar."""
        del theta
        trajectory = self.agent.agent.collect(key, task, state.agent, self.steps)[1]
        return self.score(self.agent, trajectory, state)


def evaluate_return(
    key: Key, agent: RuleAgent, task: TimedTask, state: RuleAgentState, steps: int
) -> Array:
    """Returns the mean return of the episodes that end within `steps` steps, a scalar.

    All environments are reset first. If no episode ends, it is the mean return so far.
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
    """Uses the undiscounted best return with discounted values: an upper bound, as in the paper."""
    return max_monte_carlo(agent.value(state.critic, trajectory.obs), state.best_return)


def _learnability(agent: MetaAgent, trajectory: Trajectory, state: MetaAgentState) -> Array:
    """Counts an episode as a success if its return is positive."""
    del agent, state
    return learnability(trajectory.episode_return > 0, trajectory.done)


TRAJECTORY_SCORES: Mapping[str, Callable[[MetaAgent, Trajectory, MetaAgentState], Array]] = {
    "l1_value_loss": _l1,
    "positive_value_loss": _positive,
    "max_monte_carlo": _max_monte_carlo,
    "learnability": _learnability,
}
"""Scores of one rollout, by name."""
