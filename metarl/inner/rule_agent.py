"""An agent trained by an update rule: rollouts, each followed by a gradient step on its loss.

A2C, LPG and every other `UpdateRule` train the same agent, so that comparisons of rules differ in
nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from metarl.core import trees
from metarl.core.errors import ConfigError
from metarl.core.keys import named, split_named
from metarl.core.residuals import save_residuals
from metarl.core.types import Array, Key, PyTree, Theta
from metarl.envs import wrappers
from metarl.envs.protocol import Environment
from metarl.envs.spaces import Discrete
from metarl.inner.replay import ReplayBuffer, add_trajectories, init_replay, sample_trajectories
from metarl.inner.rollout import rollout
from metarl.inner.rule_agent_config import RuleAgentConfig
from metarl.networks.heads import Heads
from metarl.rl.distributions import Categorical, action_noise
from metarl.rl.trajectory import Trajectory
from metarl.rules.update_rule import LOGITS, LifetimeProgress, Outputs, RuleState, UpdateRule
from metarl.tasks.lifetimes import TimedTask


class RuleAgentState(NamedTuple):
    """Training state of an agent.

    Attributes:
      params: parameters of the network.
      opt_state: state of the optimizer.
      rule_state: state of the update rule.
      env_state: state of the environments.
      obs: current observations.
      update: number of updates so far; at most the lifetime.
      replay: replay buffer; `()` for an on-policy agent.
    """

    params: PyTree
    opt_state: optax.OptState
    rule_state: RuleState
    env_state: PyTree
    obs: Array
    update: Array
    replay: ReplayBuffer | tuple[()] = ()


class RuleAgentLog(NamedTuple):
    """Log of one update; scalars. For the first three see `metarl.inner.scores.EpisodeLog`."""

    return_sum: Array
    episodes: Array
    running_return: Array
    loss: Array
    rule: dict[str, Array]

    @property
    def finite(self) -> Array:
        """Whether the loss is finite."""
        return jnp.isfinite(self.loss)


@dataclass(frozen=True)
class RuleAgent:
    """The learner; `theta` is that of the rule, a task is a `TimedTask`.

    After its lifetime an agent continues to act but is not updated, so that agents with different
    lifetimes run in one batch.

    Attributes:
      env: unbatched environment with discrete actions, without autoreset.
      config: settings.
      rule: update rule.
      make_network: `outputs -> flax module` from observations to outputs by name; None = `Heads`.
      tx: optimizer; None = as set in `config`.
    """

    env: Environment
    config: RuleAgentConfig
    rule: UpdateRule
    make_network: Callable[[tuple[tuple[str, tuple[int, ...]], ...]], nn.Module] | None = None
    tx: optax.GradientTransformation | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.env.action_space, Discrete):
            raise ConfigError(
                f"{self.rule.name} needs discrete actions; those of {self.env.name} are continuous."
            )

    @property
    def actions(self) -> int:
        """Number of actions."""
        space = self.env.action_space
        return space.n if isinstance(space, Discrete) else 0

    @cached_property
    def prepared_env(self) -> Environment:
        """The environment with statistics, autoreset and batching."""
        env = wrappers.autoreset(wrappers.episode_statistics(self.env), self.config.predraw_resets)
        return wrappers.vectorize(env, self.config.num_envs)

    @cached_property
    def network(self) -> nn.Module:
        """The network, with the outputs that the rule needs."""
        outputs = tuple(self.rule.outputs(self.actions).items())
        if self.make_network is not None:
            return self.make_network(outputs)
        space = self.env.observation_space
        states = space.n if isinstance(space, Discrete) else None
        return Heads(self.config.network, outputs, len(space.shape), states)

    @cached_property
    def optimizer(self) -> optax.GradientTransformation:
        """The optimizer of the parameters."""
        return self.tx if self.tx is not None else self.config.optimizer()

    def apply(self, params: PyTree, obs: Array) -> Outputs:
        """Returns outputs `[..., *shape]` by name, for observations `[..., *obs]`."""
        outputs: Any = self.network.apply({"params": params}, obs)
        return outputs

    def init(self, key: Key, theta: Theta, task: TimedTask) -> RuleAgentState:
        """Initializes network, optimizer, rule state and episodes."""
        key_network, key_reset = split_named(key, "network", "reset")
        space = self.env.observation_space
        example = jnp.zeros(space.shape, space.dtype)
        params = self.network.init(key_network, example)["params"]
        obs, env_state = self.prepared_env.reset(key_reset, task.task)
        state = RuleAgentState(
            params=params,
            opt_state=self.optimizer.init(params),
            rule_state=self.rule.init_state(theta, params),
            env_state=env_state,
            obs=obs,
            update=jnp.int32(0),
        )
        if not self.config.replay_capacity:
            return state
        length = self.config.rollout_length
        like = jax.eval_shape(lambda: self.collect(key_reset, task, state, length)[1])
        return state._replace(replay=init_replay(like, self.config.replay_capacity))

    def step(
        self, key: Key, theta: Theta, task: TimedTask, state: RuleAgentState
    ) -> tuple[RuleAgentState, RuleAgentLog]:
        """Collects a rollout and makes one update, on it or on a batch from the replay buffer."""
        state, trajectory = self.collect(key, task, state, self.config.rollout_length)
        batch = trajectory
        if isinstance(state.replay, ReplayBuffer):
            replay = add_trajectories(state.replay, trajectory)
            batch = sample_trajectories(named(key, "replay"), replay, self.config.replay_batch)
            state = state._replace(replay=replay)
        state, loss, log = self.learn(theta, task, state, batch)
        return state, self.record(trajectory, loss, log)

    def collect(
        self, key: Key, task: TimedTask, state: RuleAgentState, length: int
    ) -> tuple[RuleAgentState, Trajectory]:
        """Collects `length` steps; stops gradients, and saves the trajectory as a residual."""
        key_rollout, key_noise = split_named(key, "rollout", "policy")

        def act(obs: Array, noise: Array) -> tuple[Array, tuple[Array, ...]]:
            policy = Categorical(self.apply(state.params, obs)[LOGITS])
            return policy.sample(noise), tuple(policy)

        noise = action_noise(key_noise, (length, self.config.num_envs, self.actions), True)
        env_state, obs, trajectory = rollout(
            key_rollout, self.prepared_env, task.task, act, noise, state.env_state, state.obs
        )
        env_state, obs, trajectory = jax.lax.stop_gradient((env_state, obs, trajectory))
        return state._replace(env_state=env_state, obs=obs), save_residuals(trajectory)

    def learn(
        self, theta: Theta, task: TimedTask, state: RuleAgentState, trajectory: Trajectory
    ) -> tuple[RuleAgentState, Array, dict[str, Array]]:
        """Makes one gradient step; returns the state, the loss and the rule's log.

        Differentiable in theta.
        """
        progress = LifetimeProgress(
            state.update.astype(jnp.float32), task.lifetime.astype(jnp.float32)
        )
        targets, rule_state, log = self.rule.targets(
            theta, state.rule_state, state.params, self.apply, trajectory, progress
        )

        def loss(params: PyTree) -> Array:
            return self.rule.loss(self.apply(params, trajectory.obs), trajectory, targets)

        value, gradient = jax.value_and_grad(loss)(state.params)
        updates, opt_state = self.optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        active = state.update < task.lifetime
        updated = state._replace(
            params=params, opt_state=opt_state, rule_state=rule_state, update=state.update + 1
        )
        return trees.where(active, updated, state), value, log

    @staticmethod
    def record(trajectory: Trajectory, loss: Array, log: dict[str, Array]) -> RuleAgentLog:
        """Returns the log of an update."""
        done = trajectory.done.astype(jnp.float32)
        returns = trajectory.episode_return
        return RuleAgentLog(
            return_sum=jnp.sum(returns * done),
            episodes=jnp.sum(done),
            running_return=jnp.mean(returns[-1]),
            loss=loss,
            rule=log,
        )
