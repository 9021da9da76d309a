"""An agent under meta-training, with a critic that is used by the meta-gradient only.

The meta-objective of an update rule is the return of the agents that it trains. Its gradient is the
policy gradient of an updated agent, with advantages from a critic that is trained alongside,
backpropagated through the updates (Oh et al. 2020, arXiv:2007.08794, eq. 4 and section 3.3).
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metarl.core.errors import check_positive, check_range
from metarl.core.keys import split_named
from metarl.core.numerics import standardize
from metarl.core.types import Array, Key, PyTree, Theta
from metarl.envs.spaces import Discrete
from metarl.inner.rule_agent import RuleAgent, RuleAgentLog, RuleAgentState
from metarl.networks.heads import Heads, HeadsConfig
from metarl.rl.advantages import Advantages, generalized_advantage_estimation
from metarl.rl.distributions import Categorical
from metarl.rl.losses import value_loss
from metarl.rl.trajectory import Trajectory
from metarl.rules.update_rule import LOGITS, Outputs
from metarl.tasks.lifetimes import TimedTask

_VALUE = "value"
_PREDICTION = "prediction"


@dataclass(frozen=True)
class MetaObjectiveConfig:
    """Settings of the meta-loss of an updated agent, and of its critic.

    Attributes:
      gamma: discount.
      gae_lambda: trace decay of the advantages.
      policy_entropy: weight beta_0 of the entropy bonus of updated policies.
      prediction_entropy: weight beta_1 of the entropy bonus of updated predictions.
      policy_target: weight beta_2 of the squared policy targets.
      prediction_target: weight beta_3 of the squared prediction targets.
      critic_learning_rate: learning rate of the critic's Adam.
      critic_steps: gradient steps of the critic on each rollout.
      critic: architecture of the critic.

    Reference: Oh et al. 2020, arXiv:2007.08794, eq. 6 and table 3.
    """

    gamma: float = 0.99
    gae_lambda: float = 0.95
    policy_entropy: float = 0.05
    prediction_entropy: float = 1e-3
    policy_target: float = 5e-3
    prediction_target: float = 1e-3
    critic_learning_rate: float = 0.02
    critic_steps: int = 4
    critic: HeadsConfig = field(default_factory=lambda: HeadsConfig(hidden=()))

    def __post_init__(self) -> None:
        check_range(0.0, 1.0, gamma=self.gamma, gae_lambda=self.gae_lambda)
        check_range(
            0.0,
            float("inf"),
            policy_entropy=self.policy_entropy,
            prediction_entropy=self.prediction_entropy,
            policy_target=self.policy_target,
            prediction_target=self.prediction_target,
        )
        check_positive(
            critic_learning_rate=self.critic_learning_rate, critic_steps=self.critic_steps
        )


class MetaAgentState(NamedTuple):
    """An agent, its critic, and the highest return of an episode so far."""

    agent: RuleAgentState
    critic: PyTree
    critic_opt: optax.OptState
    best_return: Array


class MetaAgentLog(NamedTuple):
    """Log of one update; scalars.

    Attributes:
      agent: log of the agent.
      entropy: entropy of the updated agent's policy and prediction, by output.
      value_error: mean squared error of the critic before it was updated on the rollout.
    """

    agent: RuleAgentLog
    entropy: dict[str, Array]
    value_error: Array


@dataclass(frozen=True)
class MetaAgent:
    """Learner of a `Truncation`, with its `meta_loss`.

    Attributes:
      agent: agent and its update rule.
      config: settings of the meta-loss.
    """

    agent: RuleAgent
    config: MetaObjectiveConfig

    @cached_property
    def critic(self) -> Heads:
        """The critic's network."""
        space = self.agent.env.observation_space
        states = space.n if isinstance(space, Discrete) else None
        return Heads(self.config.critic, ((_VALUE, ()),), len(space.shape), states)

    @cached_property
    def critic_optimizer(self) -> optax.GradientTransformation:
        """The optimizer of the critic."""
        return optax.adam(self.config.critic_learning_rate)

    def init(self, key: Key, theta: Theta, task: TimedTask) -> MetaAgentState:
        """Initializes an agent and a critic."""
        key_agent, key_critic = split_named(key, "agent", "critic")
        agent = self.agent.init(key_agent, theta, task)
        critic = self.critic.init(key_critic, agent.obs)["params"]
        opt_state = self.critic_optimizer.init(critic)
        return MetaAgentState(agent, critic, opt_state, jnp.float32(-jnp.inf))

    def step(
        self, key: Key, theta: Theta, task: TimedTask, state: MetaAgentState
    ) -> tuple[MetaAgentState, MetaAgentLog]:
        """Updates the agent once, and the critic on the same rollout."""
        length = self.agent.config.rollout_length
        agent, trajectory = self.agent.collect(key, task, state.agent, length)
        agent, loss, rule_log = self.agent.learn(theta, task, agent, trajectory)
        log = self.agent.record(trajectory, loss, rule_log)
        updated = self.agent.apply(agent.params, trajectory.obs)
        state, value_error = self._update_critic(state._replace(agent=agent), trajectory)
        return state, MetaAgentLog(log, _entropies(updated), value_error)

    def meta_loss(
        self,
        key: Key,
        theta: Theta,
        task: TimedTask,
        state: MetaAgentState,
        logs: MetaAgentLog,
    ) -> tuple[Array, MetaAgentState, dict[str, Array]]:
        """Collects a rollout with the updated agent and returns its meta-loss.

        The meta-loss is `-mean(log pi(a|s) A) - b0 H(pi) - b1 H(y) + b2 mean(pi_hat^2) + b3
        mean(|y_hat|^2)`, with advantages standardized over the rollout; entropies and squared
        targets are averaged over the K updates.
        """
        del theta
        length = self.agent.config.rollout_length
        agent, trajectory = self.agent.collect(key, task, state.agent, length)
        advantages = self.advantages(state.critic, trajectory).advantages
        policy = Categorical(self.agent.apply(agent.params, trajectory.obs)[LOGITS])
        # Both factors are [T, B]: an extra axis would erase the credit of single steps.
        gain = jnp.mean(policy.log_prob(trajectory.action) * standardize(advantages))
        loss = -gain + self._regularizer(logs)
        state, value_error = self._update_critic(state._replace(agent=agent), trajectory)
        log = {
            "reward": jnp.mean(trajectory.reward),
            "value_error": value_error,
            "policy_entropy": jnp.mean(logs.entropy[LOGITS]),
            **{name: jnp.mean(value) for name, value in logs.agent.rule.items()},
        }
        return loss, state, log

    def advantages(self, critic: PyTree, trajectory: Trajectory) -> Advantages:
        """Returns advantages and value targets from the critic, `[T, B]`; constants."""
        v_tm1 = self.value(critic, trajectory.obs)
        v_t = self.value(critic, trajectory.next_obs)
        return jax.lax.stop_gradient(
            generalized_advantage_estimation(
                trajectory.reward,
                v_tm1,
                v_t,
                trajectory.terminated.astype(v_t.dtype),
                trajectory.done.astype(v_t.dtype),
                self.config.gamma,
                self.config.gae_lambda,
            )
        )

    def value(self, critic: PyTree, obs: Array) -> Array:
        """Returns the critic's values `[...]`."""
        outputs: Any = self.critic.apply({"params": critic}, obs)
        return outputs[_VALUE]

    def _update_critic(
        self, state: MetaAgentState, trajectory: Trajectory
    ) -> tuple[MetaAgentState, Array]:
        """Trains the critic on a rollout, and updates the highest return so far."""
        targets = self.advantages(state.critic, trajectory).targets

        def loss(critic: PyTree) -> Array:
            value = self.value(critic, trajectory.obs)
            return jnp.mean(value_loss(value, targets, value))

        def descend(carry: PyTree, _: None) -> tuple[PyTree, Array]:
            critic, opt_state = carry
            error, gradient = jax.value_and_grad(loss)(critic)
            updates, opt_state = self.critic_optimizer.update(gradient, opt_state, critic)
            return (optax.apply_updates(critic, updates), opt_state), 2.0 * error

        (critic, opt_state), errors = jax.lax.scan(
            descend, (state.critic, state.critic_opt), None, self.config.critic_steps
        )
        ended = jnp.where(trajectory.done, trajectory.episode_return, -jnp.inf)
        best = jnp.maximum(state.best_return, jnp.max(ended))
        return MetaAgentState(state.agent, critic, opt_state, best), errors[0]

    def _regularizer(self, logs: MetaAgentLog) -> Array:
        config = self.config
        terms = {
            "policy_target_square": config.policy_target,
            "prediction_target_square": config.prediction_target,
        }
        rule = logs.agent.rule
        total = sum(weight * jnp.mean(rule[name]) for name, weight in terms.items() if name in rule)
        total -= config.policy_entropy * jnp.mean(logs.entropy[LOGITS])
        if _PREDICTION in logs.entropy:
            total -= config.prediction_entropy * jnp.mean(logs.entropy[_PREDICTION])
        return jnp.asarray(total)


def _entropies(outputs: Outputs) -> dict[str, Array]:
    """Returns the mean entropy of the policy and of the prediction, if any, in nats."""
    names = [name for name in (LOGITS, _PREDICTION) if name in outputs]
    return {name: jnp.mean(Categorical(outputs[name]).entropy()) for name in names}
