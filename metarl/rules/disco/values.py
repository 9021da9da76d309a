"""Action-value targets and advantages of DiscoRL."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.types import Array
from metarl.rl import moving_moments
from metarl.rl.distributions import Categorical
from metarl.rl.moving_moments import MovingMoments
from metarl.rl.retrace import retrace_targets
from metarl.rl.trajectory import Trajectory
from metarl.rules.disco.config import DiscoConfig
from metarl.rules.disco.views import Views


class Values(NamedTuple):
    """Values along a rollout, `[T, B]`; those of every action `[T, B, A]`.

    Attributes:
      value: value of the state acted in, from the agent's own action-values.
      next_value: value of the state reached, from the agent's own action-values.
      q: action-values of the target network.
      q_target: Retrace target of the action taken.
      advantage: advantage `q_target - V`, with the target network's `V`.
      advantage_normalized: `advantage`, normalized by its moving mean and standard deviation.
      action_advantage: advantage `q - V` of every action.
      action_advantage_normalized: `action_advantage`, normalized by the moments of `advantage`.
    """

    value: Array
    next_value: Array
    q: Array
    q_target: Array
    advantage: Array
    advantage_normalized: Array
    action_advantage: Array
    action_advantage_normalized: Array


def behaviour_logits(trajectory: Trajectory) -> Array:
    """Returns the logits `[T, B, A]` of the behaviour policy."""
    return trajectory.behaviour_params[0]


def at_action(x: Array, action: Array) -> Array:
    """Selects from `x [T, B, A, ...]` the entries of the actions taken `[T, B]`."""
    chosen = jax.nn.one_hot(action, x.shape[2], dtype=x.dtype)
    # A masked sum: on CPU much faster than a gather and the scatter of its gradient.
    return jnp.sum(x * chosen.reshape(chosen.shape + (1,) * (x.ndim - 3)), axis=2)


def values(
    config: DiscoConfig,
    moments: MovingMoments,
    online: Views,
    target: Views,
    trajectory: Trajectory,
) -> tuple[Values, MovingMoments]:
    """Returns the values of a rollout and the updated moments of advantages.

    State values are expected action-values under the agent's current policy, for the agent's
    network and for the target network. Trace coefficients are `lambda min(1, pi(a) / mu(a))`.

    Reference: Oh et al. 2025, Nature 648:312, methods.
    """
    action = trajectory.action
    policy = jax.nn.softmax(online.now.logits)
    next_policy = jax.nn.softmax(online.then.logits)
    baseline = jnp.sum(policy * target.now.q, axis=-1)
    log_ratio = Categorical(online.now.logits).log_prob(action) - Categorical(
        behaviour_logits(trajectory)
    ).log_prob(action)
    q_target = retrace_targets(
        r_t=trajectory.reward,
        q_tm1=at_action(target.now.q, action),
        v_t=jnp.sum(next_policy * target.then.q, axis=-1),
        trace_tm1=config.trace_decay * jnp.exp(jnp.minimum(log_ratio, 0.0)),
        terminated_t=trajectory.terminated.astype(baseline.dtype),
        done_t=trajectory.done.astype(baseline.dtype),
        gamma=config.gamma,
    )
    advantage = q_target - baseline
    action_advantage = target.now.q - baseline[..., None]
    moments = moving_moments.update(moments, advantage, config.moments_decay)
    found = Values(
        value=jnp.sum(policy * online.now.q, axis=-1),
        next_value=jnp.sum(next_policy * online.then.q, axis=-1),
        q=target.now.q,
        q_target=q_target,
        advantage=advantage,
        advantage_normalized=moving_moments.normalize(moments, advantage, config.moments_eps),
        action_advantage=action_advantage,
        action_advantage_normalized=moving_moments.normalize(
            moments, action_advantage, config.moments_eps
        ),
    )
    return jax.lax.stop_gradient((found, moments))
