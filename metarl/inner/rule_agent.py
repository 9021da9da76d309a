"""The agent that lives with an update rule: a rollout, one gradient step on the rule's loss, again.

Advantage actor-critic, LPG and whatever else is an `UpdateRule` drive the same agent; so a
comparison of rules is a comparison of rules.
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
from metarl.core.remember import remembered
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
    """State of one life.

    Attributes:
      params: of the network.
      opt_state: of the optimizer.
      rule_state: what the rule remembers.
      env_state: of the environments.
      obs: what is seen there.
      update: updates made; stops at the lifetime.
      replay: trajectories to learn from again; `()` for an agent that learns from each once.
    """

    params: PyTree
    opt_state: optax.OptState
    rule_state: RuleState
    env_state: PyTree
    obs: Array
    update: Array
    replay: ReplayBuffer | tuple[()] = ()


class RuleAgentLog(NamedTuple):
    """Record of one update; scalars. For the first three see `metarl.inner.scores.EpisodeLog`."""

    return_sum: Array
    episodes: Array
    running_return: Array
    loss: Array
    rule: dict[str, Array]

    @property
    def finite(self) -> Array:
        """Whether the loss was."""
        return jnp.isfinite(self.loss)


@dataclass(frozen=True)
class RuleAgent:
    """The learner: `theta` is the rule's, a task is a `TimedTask`.

    Once its lifetime is over an agent acts on but learns no more, so that lives of different length
    run side by side.

    Attributes:
      env: unbatched environment with discrete actions, without autoreset.
      config: settings.
      rule: what it learns by.
      make_network: `outputs -> flax module` from observations to outputs by name; None = `Heads`.
      tx: the optimizer; None = the settings'.
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
        """The network, with the outputs that the rule asks for."""
        outputs = tuple(self.rule.outputs(self.actions).items())
        if self.make_network is not None:
            return self.make_network(outputs)
        space = self.env.observation_space
        states = space.n if isinstance(space, Discrete) else None
        return Heads(self.config.network, outputs, len(space.shape), states)

    @cached_property
    def optimizer(self) -> optax.GradientTransformation:
        """What moves the parameters."""
        return self.tx if self.tx is not None else self.config.optimizer()

    def apply(self, params: PyTree, obs: Array) -> Outputs:
        """Outputs `[..., *shape]` by name, for observations `[..., *obs]`."""
        outputs: Any = self.network.apply({"params": params}, obs)
        return outputs

    def init(self, key: Key, theta: Theta, task: TimedTask) -> RuleAgentState:
        """Starts a life: new network, new episodes."""
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
        """One rollout and one update, on it or on a batch of what is remembered."""
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
        """Acts for `length` steps; what it saw carries no gradient, and is remembered."""
        key_rollout, key_noise = split_named(key, "rollout", "policy")

        def act(obs: Array, noise: Array) -> tuple[Array, tuple[Array, ...]]:
            policy = Categorical(self.apply(state.params, obs)[LOGITS])
            return policy.sample(noise), tuple(policy)

        noise = action_noise(key_noise, (length, self.config.num_envs, self.actions), True)
        env_state, obs, trajectory = rollout(
            key_rollout, self.prepared_env, task.task, act, noise, state.env_state, state.obs
        )
        env_state, obs, trajectory = jax.lax.stop_gradient((env_state, obs, trajectory))
        return state._replace(env_state=env_state, obs=obs), remembered(trajectory)

    def learn(
        self, theta: Theta, task: TimedTask, state: RuleAgentState, trajectory: Trajectory
    ) -> tuple[RuleAgentState, Array, dict[str, Array]]:
        """One gradient step on the rule's loss; returns it and the rule's log too.

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
        alive = state.update < task.lifetime
        learnt = state._replace(
            params=params, opt_state=opt_state, rule_state=rule_state, update=state.update + 1
        )
        return trees.where(alive, learnt, state), value, log

    @staticmethod
    def record(trajectory: Trajectory, loss: Array, log: dict[str, Array]) -> RuleAgentLog:
        """What people and scores see of an update."""
        done = trajectory.done.astype(jnp.float32)
        returns = trajectory.episode_return
        return RuleAgentLog(
            return_sum=jnp.sum(returns * done),
            episodes=jnp.sum(done),
            running_return=jnp.mean(returns[-1]),
            loss=loss,
            rule=log,
        )
