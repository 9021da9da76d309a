"""The on-policy actor-critic whose surrogate is open: `mean(ratio * advantage - drift)`.

With the clip drift it is PPO, with others DPO, mirror descent policy optimisation, or whatever was
learned (Kuba et al. 2022, mirror learning; Lu et al. 2022, arXiv:2210.05639). The drift's
meta-parameters are the learner's `theta`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metarl.core.keys import permutations, split_named
from metarl.core.numerics import standardise
from metarl.core.types import Array, Key, PyTree, Task, Theta
from metarl.envs import wrappers
from metarl.envs.protocol import Environment
from metarl.envs.spaces import Discrete
from metarl.inner.ppo_config import PPOConfig
from metarl.inner.rollout import rollout
from metarl.inner.scores import PPOLog
from metarl.networks.actor_critic import ActorCritic, observation_example
from metarl.rl.distributions import (
    ActionDistribution,
    Categorical,
    DiagonalGaussian,
    action_noise,
)
from metarl.rl.losses import approximate_kl, value_loss
from metarl.rl.returns import generalised_advantages
from metarl.rl.trajectory import Trajectory
from metarl.rules.protocol import Rule


class PPOState(NamedTuple):
    """State of one lifetime."""

    params: PyTree
    opt_state: optax.OptState
    env_state: PyTree
    obs: Array
    update: Array


class Batch(NamedTuple):
    """What the epochs learn from, `[T * B, ...]`."""

    obs: Array
    action: Array
    log_prob: Array
    value: Array
    advantage: Array
    target: Array


@dataclass(frozen=True)
class PPO:
    """The learner: `theta` is the rule's, `task` the environment's parameters.

    Attributes:
      env: unbatched environment, without autoreset; see `prepared_env` for what is put around it.
      config: settings.
      rule: the drift.
    """

    env: Environment
    config: PPOConfig
    rule: Rule

    @cached_property
    def prepared_env(self) -> Environment:
        """The environment with statistics, action scaling, autoreset, batching, normalisation."""
        env = wrappers.episode_statistics(self.env)
        if not self.discrete:
            env = wrappers.rescale_action(env)
        env = wrappers.vectorize(wrappers.autoreset(env), self.config.num_envs)
        if self.config.normalize_observation:
            env = wrappers.normalize_observation(env)
        if self.config.normalize_reward:
            env = wrappers.normalize_reward(env, self.config.gamma)
        return env

    @property
    def discrete(self) -> bool:
        """Whether actions are discrete."""
        return isinstance(self.env.action_space, Discrete)

    @cached_property
    def network(self) -> ActorCritic:
        """The networks, shaped by the environment's spaces."""
        space = self.env.action_space
        actions = space.n if isinstance(space, Discrete) else space.shape[0]
        rank = len(self.env.observation_space.shape)
        return ActorCritic(self.config.network, actions, self.discrete, rank)

    @cached_property
    def optimizer(self) -> optax.GradientTransformation:
        """Adam with the schedule, behind gradient clipping."""
        config = self.config
        rate: optax.ScalarOrSchedule = config.learning_rate
        if config.schedule == "linear":
            steps = config.updates * config.epochs * config.minibatches
            rate = optax.linear_schedule(config.learning_rate, 0.0, steps)
        adam = optax.adam(rate, *config.adam_betas, eps=1e-5)
        if config.max_grad_norm is None:
            return adam
        return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), adam)

    def init(self, key: Key, theta: Theta, task: Task) -> PPOState:
        """Starts a lifetime: new networks, new episodes."""
        del theta
        key_network, key_reset = split_named(key, "network", "reset")
        params = self.network.init(
            key_network, observation_example(self.env.observation_space.shape)
        )
        obs, env_state = self.prepared_env.reset(key_reset, task)
        return PPOState(params, self.optimizer.init(params), env_state, obs, jnp.int32(0))

    def step(self, key: Key, theta: Theta, task: Task, state: PPOState) -> tuple[PPOState, PPOLog]:
        """One update: a rollout, then epochs of minibatch gradient steps on it."""
        key_rollout, key_noise, key_shuffle = split_named(key, "rollout", "policy", "shuffle")
        env_state, obs, trajectory = rollout(
            key_rollout,
            self.prepared_env,
            task,
            lambda obs, noise: self._act(state.params, obs, noise),
            self._noise(key_noise),
            state.env_state,
            state.obs,
        )
        batch = self._batch(state.params, trajectory)
        progress = state.update / self.config.updates
        params, opt_state, losses = self._optimise(key_shuffle, theta, state, batch, progress)
        log = _episode_log(trajectory, losses)
        return PPOState(params, opt_state, env_state, obs, state.update + 1), log

    def _noise(self, key: Key) -> Array:
        space = self.env.action_space
        shape = (space.n,) if isinstance(space, Discrete) else space.shape
        steps = (self.config.rollout_length, self.config.num_envs)
        return action_noise(key, steps + shape, self.discrete)

    def distribution(self, head: tuple[Array, ...]) -> ActionDistribution:
        """Makes the action distribution from the policy head's outputs."""
        return Categorical(*head) if self.discrete else DiagonalGaussian(*head)

    def _act(self, params: PyTree, obs: Array, noise: Array) -> tuple[Array, tuple[Array, ...]]:
        head: Any = self.network.apply(params, obs, method="policy")
        return self.distribution(head).sample(noise), head

    def _batch(self, params: PyTree, trajectory: Trajectory) -> Batch:
        """Values, advantages and old log-probabilities, in whole-rollout matrix products."""
        config = self.config
        both = jnp.concatenate([trajectory.obs, trajectory.next_obs])
        values: Any = self.network.apply(params, both, method="value")
        v_tm1, v_t = jnp.split(values, 2)
        advantages, targets = generalised_advantages(
            trajectory.reward,
            v_tm1,
            v_t,
            trajectory.terminated.astype(v_t.dtype),
            trajectory.done.astype(v_t.dtype),
            config.gamma,
            config.gae_lambda,
        )
        log_prob = self.distribution(trajectory.policy).log_prob(trajectory.action)
        batch = Batch(trajectory.obs, trajectory.action, log_prob, v_tm1, advantages, targets)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)

    def _optimise(
        self, key: Key, theta: Theta, state: PPOState, batch: Batch, progress: Array
    ) -> tuple[PyTree, optax.OptState, tuple[Array, ...]]:
        config = self.config
        orders = permutations(key, config.epochs, config.batch_size)

        def gradient_step(carry: PyTree, indices: Array) -> tuple[PyTree, tuple[Array, ...]]:
            params, opt_state = carry
            minibatch = jax.tree.map(lambda x: jnp.take(x, indices, axis=0), batch)
            gradient, losses = jax.grad(self._loss, has_aux=True)(
                params, theta, minibatch, progress
            )
            updates, opt_state = self.optimizer.update(gradient, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), losses

        indices = orders.reshape(config.epochs * config.minibatches, -1)
        (params, opt_state), losses = jax.lax.scan(
            gradient_step, (state.params, state.opt_state), indices
        )
        return params, opt_state, jax.tree.map(jnp.mean, losses)

    def _loss(
        self, params: PyTree, theta: Theta, batch: Batch, progress: Array
    ) -> tuple[Array, tuple[Array, ...]]:
        config = self.config
        outputs: Any = self.network.apply(params, batch.obs)
        head, value = outputs
        policy = self.distribution(head)
        log_ratio = policy.log_prob(batch.action) - batch.log_prob
        ratio = jnp.exp(log_ratio)
        advantage = batch.advantage
        if config.normalize_advantage:
            advantage = standardise(advantage)
        drift = self.rule.drift(theta, ratio, advantage, progress)
        surrogate = jnp.mean(ratio * advantage - drift)
        value_error = jnp.mean(value_loss(value, batch.target, batch.value, config.value_clip))
        entropy = jnp.mean(policy.entropy())
        loss = (
            -surrogate
            + config.value_coefficient * value_error
            - config.entropy_coefficient * entropy
        )
        return loss, (value_error, entropy, jnp.mean(approximate_kl(log_ratio)), jnp.mean(drift))


def _episode_log(trajectory: Trajectory, losses: tuple[Array, ...]) -> PPOLog:
    done = trajectory.done.astype(jnp.float32)
    returns = trajectory.episode_return
    return PPOLog(jnp.sum(returns * done), jnp.sum(done), jnp.mean(returns[-1]), *losses)
