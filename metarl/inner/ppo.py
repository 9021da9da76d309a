"""PPO with an exchangeable drift: the policy objective is `mean(ratio * advantage - drift)`.

With the clip drift it is PPO, with other drifts DPO, MDPO or a learned drift (mirror learning, Kuba
et al. 2022; Lu et al. 2022, arXiv:2210.05639). The meta-parameters of the drift are the learner's
`theta`; those of a learned optimizer can be added.

Where the terms of the loss are: drifts (with PPO's clip) in `metarl.rules.drifts`, the value loss
and the KL estimate in `metarl.rl.losses`, the entropy in `metarl.rl.distributions`, GAE in
`metarl.rl.advantages`. `PPO._loss` combines them. Settings are in `metarl.inner.ppo_config`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metarl.core.errors import ConfigError
from metarl.core.keys import permutations, split_named
from metarl.core.numerics import standardize
from metarl.core.types import Array, Key, PyTree, Task, Theta
from metarl.envs import wrappers
from metarl.envs.protocol import Environment, EnvParams
from metarl.envs.spaces import Discrete
from metarl.inner.ppo_config import PPOConfig
from metarl.inner.rollout import rollout
from metarl.inner.scores import PPOLog
from metarl.networks.actor_critic import (
    ActorCritic,
    apply_with_activity,
    initial_params,
    layer_paths,
    observation_example,
)
from metarl.optimizers.parameters import describe
from metarl.optimizers.protocol import Activity, InnerOptimizer, Steps, UpdateContext
from metarl.optimizers.vector_adam import linear_decay, vector_adam
from metarl.rl.advantages import generalized_advantage_estimation
from metarl.rl.distributions import (
    ActionDistribution,
    Categorical,
    DiagonalGaussian,
    action_noise,
)
from metarl.rl.losses import approximate_kl, value_loss
from metarl.rl.trajectory import Trajectory
from metarl.rules.protocol import Drift
from metarl.tasks.lifetimes import TimedTask


class PPOTheta(NamedTuple):
    """Meta-parameters of a learner with a learned optimizer: of the drift and of the optimizer."""

    rule: Theta
    optimizer: Theta


class PPOState(NamedTuple):
    """Training state of an agent."""

    params: PyTree
    opt_state: optax.OptState
    env_state: PyTree
    obs: Array
    update: Array


class Batch(NamedTuple):
    """Training data of one update, `[T * B, ...]`."""

    obs: Array
    action: Array
    log_prob: Array
    value: Array
    advantage: Array
    target: Array


class Losses(NamedTuple):
    """Logged terms of the loss, per step or averaged; see `PPOLog`."""

    value_loss: Array
    entropy: Array
    kl: Array
    drift: Array


@dataclass(frozen=True)
class PPO:
    """The PPO learner; `theta` is that of the drift, `task` the environment parameters.

    With an `inner_optimizer`, theta is a `PPOTheta`. With a `TimedTask`, the lifetime is that of
    the task instead of `config.updates`, so one compiled program trains agents of several
    lifetimes.

    Attributes:
      env: unbatched environment, without autoreset; `prepared_env` adds the wrappers.
      config: settings.
      drift: drift function.
      inner_optimizer: optimizer that maps gradients to updates, including any gradient clipping;
        None = Adam as set in `config`.
    """

    env: Environment
    config: PPOConfig
    drift: Drift
    inner_optimizer: InnerOptimizer | None = None

    def __post_init__(self) -> None:
        if isinstance(self.env.observation_space, Discrete):
            raise ConfigError(
                f"Observations of {self.env.name} are state indices, which this network would "
                "take for quantities. Choose another observation, such as '?observation=tabular'."
            )

    @cached_property
    def prepared_env(self) -> Environment:
        """The environment with statistics, action scaling, autoreset, batching, normalization."""
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
        """The actor-critic network for the environment's spaces."""
        space = self.env.action_space
        actions = space.n if isinstance(space, Discrete) else space.shape[0]
        rank = len(self.env.observation_space.shape)
        return ActorCritic(self.config.network, actions, self.discrete, rank)

    def optimizer(self, num_steps: Steps) -> optax.GradientTransformation:
        """Returns gradient clipping and Adam, with the schedule over `num_steps` gradient steps."""
        config = self.config
        rate: optax.ScalarOrSchedule = config.learning_rate
        if config.schedule == "linear":
            rate = linear_decay(config.learning_rate, num_steps)
        return vector_adam(rate, config.adam_betas, 1e-5, config.max_grad_norm)

    def initial_theta(self, key: Key) -> Theta:
        """Samples initial meta-parameters, in the form that `init` and `step` take."""
        key_rule, key_optimizer = split_named(key, "rule", "optimizer")
        rule = self.drift.init(key_rule)
        if self.inner_optimizer is None:
            return rule
        return PPOTheta(rule, self.inner_optimizer.init(key_optimizer))

    def init(self, key: Key, theta: Theta, task: Task) -> PPOState:
        """Initializes networks, optimizer and episodes."""
        key_network, key_reset = split_named(key, "network", "reset")
        example = observation_example(self.env.observation_space.shape)
        params = initial_params(self.network, key_network, example)
        env_params, lifetime = self._split_task(task)
        obs, env_state = self.prepared_env.reset(key_reset, env_params)
        opt_state = self._transformation(theta, params, lifetime).init(params)
        return PPOState(params, opt_state, env_state, obs, jnp.int32(0))

    def step(self, key: Key, theta: Theta, task: Task, state: PPOState) -> tuple[PPOState, PPOLog]:
        """Makes one update: a rollout, then epochs of minibatch gradient steps on it."""
        key_rollout, key_noise = split_named(key, "rollout", "policy")
        env_params, lifetime = self._split_task(task)
        env_state, obs, trajectory = rollout(
            key_rollout,
            self.prepared_env,
            env_params,
            lambda obs, noise: self._act(state.params, obs, noise),
            self._noise(key_noise),
            state.env_state,
            state.obs,
        )
        with jax.named_scope("advantages"):
            batch = self._batch(state.params, trajectory)
        params, opt_state, losses = self._optimize(key, theta, lifetime, state, batch)
        log = _episode_log(trajectory, losses)
        return PPOState(params, opt_state, env_state, obs, state.update + 1), log

    def _split_task(self, task: Task) -> tuple[EnvParams, Steps]:
        """Returns the environment parameters and the number of updates of the lifetime."""
        return task if isinstance(task, TimedTask) else (task, self.config.updates)

    def _noise(self, key: Key) -> Array:
        space = self.env.action_space
        shape = (space.n,) if isinstance(space, Discrete) else space.shape
        steps = (self.config.rollout_length, self.config.num_envs)
        return action_noise(key, steps + shape, self.discrete)

    def distribution(self, head: tuple[Array, ...]) -> ActionDistribution:
        """Returns the action distribution for outputs of the policy head."""
        return Categorical(*head) if self.discrete else DiagonalGaussian(*head)

    def _act(self, params: PyTree, obs: Array, noise: Array) -> tuple[Array, tuple[Array, ...]]:
        head: Any = self.network.apply(params, obs, method="policy")
        return self.distribution(head).sample(noise), head

    def _batch(self, params: PyTree, trajectory: Trajectory) -> Batch:
        """Computes values, advantages and old log-probabilities for the whole rollout at once."""
        config = self.config
        both = jnp.concatenate([trajectory.obs, trajectory.next_obs])
        values: Any = self.network.apply(params, both, method="value")
        v_tm1, v_t = jnp.split(values, 2)
        advantages, targets = generalized_advantage_estimation(
            trajectory.reward,
            v_tm1,
            v_t,
            trajectory.terminated.astype(v_t.dtype),
            trajectory.done.astype(v_t.dtype),
            config.gamma,
            config.gae_lambda,
        )
        log_prob = self.distribution(trajectory.behaviour_params).log_prob(trajectory.action)
        batch = Batch(trajectory.obs, trajectory.action, log_prob, v_tm1, advantages, targets)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)

    @property
    def _inner_optimizer(self) -> InnerOptimizer:
        return self.inner_optimizer or InnerOptimizer(
            "adam", lambda key: (), lambda theta, info, num_steps: self.optimizer(num_steps)
        )

    def _transformation(
        self, theta: Theta, params: PyTree, lifetime: Steps
    ) -> optax.GradientTransformationExtraArgs:
        inner = self._inner_optimizer
        measured = inner.needs_activity
        info = describe(params, layer_paths(self.network), noisy=("actor",), measured=measured)
        config = self.config
        num_steps = lifetime * config.epochs * config.minibatches
        return inner.transformation(self._thetas(theta).optimizer, info, num_steps)

    def _thetas(self, theta: Theta) -> PPOTheta:
        return PPOTheta(theta, ()) if self.inner_optimizer is None else theta

    def _optimize(
        self, key: Key, theta: Theta, lifetime: Steps, state: PPOState, batch: Batch
    ) -> tuple[PyTree, optax.OptState, Losses]:
        config = self.config
        key_shuffle, key_optimizer = split_named(key, "shuffle", "optimizer")
        orders = permutations(key_shuffle, config.epochs, config.batch_size)
        tx = self._transformation(theta, state.params, lifetime)
        rule_progress = state.update / lifetime
        progress = state.update / jnp.maximum(lifetime - 1, 1)

        def gradient_step(carry: PyTree, inputs: PyTree) -> tuple[PyTree, Array]:
            params, opt_state = carry
            rows, number = inputs
            with jax.named_scope("minibatches"):
                minibatch = self._minibatch(batch, rows)
            (value, (losses, activity)), gradient = jax.value_and_grad(self._loss, has_aux=True)(
                params, theta, minibatch, rule_progress
            )
            context = UpdateContext(
                progress,
                (number // config.minibatches) / max(config.epochs - 1, 1),
                jax.random.fold_in(key_optimizer, number),
                activity,
                value,
            )
            with jax.named_scope("optimizer"):
                updates, opt_state = tx.update(gradient, opt_state, params, **context._asdict())
                params = optax.apply_updates(params, updates)
            return (params, opt_state), losses

        steps = config.epochs * config.minibatches
        (params, opt_state), losses = jax.lax.scan(
            gradient_step,
            (state.params, state.opt_state),
            (orders.reshape(steps, -1), jnp.arange(steps)),
        )
        return params, opt_state, Losses(*jnp.mean(losses, axis=0))

    def _minibatch(self, batch: Batch, rows: Array) -> Batch:
        """Returns rows `[M]` of a batch, with standardized advantages if so configured."""
        minibatch = jax.tree.map(
            lambda x: x.at[rows].get(mode="promise_in_bounds", unique_indices=True), batch
        )
        if not self.config.normalize_advantage:
            return minibatch
        return minibatch._replace(advantage=standardize(minibatch.advantage))

    def _loss(
        self, params: PyTree, theta: Theta, batch: Batch, progress: Array
    ) -> tuple[Array, tuple[Array, Activity | None]]:
        config = self.config
        (head, value), activity = self._outputs(params, batch.obs)
        policy = self.distribution(head)
        log_ratio = policy.log_prob(batch.action) - batch.log_prob
        ratio = jnp.exp(log_ratio)
        drift = self.drift.apply(self._thetas(theta).rule, ratio, batch.advantage, progress)
        losses = Losses(
            value_loss=value_loss(value, batch.target, batch.value, config.value_clip),
            entropy=policy.entropy(),
            kl=approximate_kl(log_ratio),
            drift=drift,
        )
        surrogate = ratio * batch.advantage - drift
        # One reduction over the minibatch instead of five: on CPU each is a separate kernel.
        means = jnp.mean(jnp.stack([surrogate, *losses]), axis=1)
        loss = (
            -means[0] + config.value_coefficient * means[1] - config.entropy_coefficient * means[2]
        )
        return loss, (means[1:], activity)

    def _outputs(self, params: PyTree, obs: Array) -> tuple[Any, Activity | None]:
        """Returns the network outputs, and unit activities if the optimizer needs them."""
        if self._inner_optimizer.needs_activity:
            return apply_with_activity(self.network, params, obs)
        return self.network.apply(params, obs), None


def _episode_log(trajectory: Trajectory, losses: Losses) -> PPOLog:
    done = trajectory.done.astype(jnp.float32)
    returns = trajectory.episode_return
    return PPOLog(jnp.sum(returns * done), jnp.sum(done), jnp.mean(returns[-1]), *losses)
