"""DiscoRL as an update rule: targets from a meta-network, with action-values among its inputs.

Besides the policy the agent outputs predictions `y` for every state and `z` for every action, whose
meaning is discovered, action-values `q`, and the next step's policy. A meta-network returns targets
for the policy, `y` and `z`.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.types import Array, Key, PyTree, Theta
from metarl.rl import moving_moments
from metarl.rl.distributions import Categorical
from metarl.rl.divergences import categorical_kl_divergence
from metarl.rl.moving_moments import MovingMoments
from metarl.rl.trajectory import Trajectory
from metarl.rl.two_hot import two_hot_cross_entropy
from metarl.rl.value_transforms import signed_hyperbolic
from metarl.rules.disco.config import DiscoConfig
from metarl.rules.disco.layers import LSTMState
from metarl.rules.disco.network import Experience, MetaOutputs, initial_lifetime_state, meta_network
from metarl.rules.disco.theta import init_theta
from metarl.rules.disco.values import Values, at_action, values
from metarl.rules.disco.views import NEXT_POLICY, Q, View, Y, Z, views
from metarl.rules.update_rule import LOGITS, Apply, LifetimeProgress, Outputs, RuleState, UpdateRule


class DiscoState(NamedTuple):
    """State of the rule for one agent.

    Attributes:
      target_params: exponential moving average of the agent's parameters.
      moments: moving moments of advantages.
      lifetime: state of the lifetime LSTM.
    """

    target_params: PyTree
    moments: MovingMoments
    lifetime: LSTMState


class DiscoTargets(NamedTuple):
    """Targets of the agent's outputs along a rollout.

    Attributes:
      meta: targets from the meta-network.
      next_policy: logits of the policy at each step's successor, `[T, B, A]`, constants.
      q: targets of the action-values of the actions taken `[T, B]`, constants.
    """

    meta: MetaOutputs
    next_policy: Array
    q: Array


def disco(
    config: DiscoConfig | None = None, theta: Theta | None = None, name: str = "disco"
) -> UpdateRule:
    """Makes the DiscoRL update rule.

    The loss is the mean over all steps of `KL(pi_hat || pi) + KL(y_hat || y) + KL(z_hat ||
    z_a)`, `KL(pi_t+1 || next_a)` where the step did not terminate, and 0.2 times the cross-entropy
    of `q_a` with the two-hot Retrace target.

    Args:
      config: architecture and constants; None = those of Disco103.
      theta: initial meta-parameters, such as `load(path).theta`; None = random.
      name: name of the rule.

    Reference: Oh et al. 2025, Nature 648:312, eq. 1 and methods.
    """
    config = DiscoConfig() if config is None else config

    def init(key: Key) -> Theta:
        return init_theta(config, key) if theta is None else jax.tree.map(jnp.asarray, theta)

    def outputs(actions: int) -> Mapping[str, tuple[int, ...]]:
        return {
            LOGITS: (actions,),
            Y: (config.prediction_size,),
            Z: (actions, config.prediction_size),
            Q: (actions, config.bins),
            NEXT_POLICY: (actions, actions),
        }

    def init_state(theta: Theta, params: PyTree) -> DiscoState:
        del theta
        return DiscoState(
            jax.tree.map(jnp.asarray, params), moving_moments.init(), initial_lifetime_state(config)
        )

    def targets(
        theta: Theta,
        state: DiscoState,
        params: PyTree,
        apply: Apply,
        trajectory: Trajectory,
        progress: LifetimeProgress,
    ) -> tuple[DiscoTargets, RuleState, dict[str, Array]]:
        del progress
        online = views(config, theta, params, apply, trajectory)
        target = views(config, theta, state.target_params, apply, trajectory)
        found, moments = values(config, state.moments, online, target, trajectory)
        experience = Experience(trajectory, online, target, found)
        meta, lifetime = meta_network(theta, state.lifetime, experience)
        followed = _update_target_params(config, state.target_params, params)
        log = _log(meta, found, target.now)
        return (
            DiscoTargets(meta, online.then.logits, found.q_target),
            DiscoState(followed, moments, lifetime),
            log,
        )

    def loss(outputs: Outputs, trajectory: Trajectory, targets: DiscoTargets) -> Array:
        return jnp.mean(_step_losses(config, outputs, trajectory, targets))

    return UpdateRule(name, init, outputs, init_state, targets, loss)


def _update_target_params(config: DiscoConfig, target_params: PyTree, params: PyTree) -> PyTree:
    if not config.input_gradient:
        params = jax.lax.stop_gradient(params)
    share = 1.0 - config.target_decay
    return jax.tree.map(lambda old, new: old + share * (new - old), target_params, params)


def _step_losses(
    config: DiscoConfig, outputs: Outputs, trajectory: Trajectory, targets: DiscoTargets
) -> Array:
    """Returns the loss of every step, `[T, B]`."""
    action = trajectory.action
    meta = targets.meta
    policy = categorical_kl_divergence(meta.policy, outputs[LOGITS])
    y = categorical_kl_divergence(meta.y, outputs[Y])
    z = categorical_kl_divergence(meta.z, at_action(outputs[Z], action))
    next_policy = categorical_kl_divergence(
        targets.next_policy, at_action(outputs[NEXT_POLICY], action)
    )
    value = two_hot_cross_entropy(
        at_action(outputs[Q], action),
        signed_hyperbolic(targets.q),
        -config.max_value,
        config.max_value,
    )
    return (
        config.policy_cost * policy
        + config.y_cost * y
        + config.z_cost * z
        + config.next_policy_cost * next_policy * (1.0 - trajectory.terminated)
        + config.value_cost * value
    )


def _log(meta: MetaOutputs, found: Values, target: View) -> dict[str, Array]:
    """Returns scalars for logging, and the terms that regularize a meta-loss."""
    return {
        "q_target": jnp.mean(found.q_target),
        "advantage": jnp.mean(found.advantage),
        "policy_target_entropy": jnp.mean(Categorical(meta.policy).entropy()),
        "policy_target_divergence": jnp.mean(categorical_kl_divergence(target.logits, meta.policy)),
        "squared_means": jnp.sum(jnp.stack([jnp.mean(x) for x in meta]) ** 2),
    }
