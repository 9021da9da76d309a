"""Learned policy gradient (LPG): an update rule with learned prediction targets.

The agent has a policy and a prediction vector `y`, a categorical distribution whose meaning is not
predefined. A backward LSTM over the rollout returns two targets for every step: `pi_hat`, how to
adjust the log-probability of the action taken, and `y_hat`, the target of the prediction.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.types import Array, Key, PyTree, Theta
from metarl.rl.distributions import Categorical
from metarl.rl.divergences import categorical_kl_divergence
from metarl.rl.trajectory import Trajectory
from metarl.rules.lpg_network import LPGConfig, LPGInputs, init_theta
from metarl.rules.update_rule import (
    LOGITS,
    Apply,
    LifetimeProgress,
    Outputs,
    RuleState,
    UpdateRule,
    empty_state,
)

PREDICTION = "prediction"


class LPGTargets(NamedTuple):
    """Targets of the agent's outputs along a rollout.

    Attributes:
      policy: pi_hat, adjustment of the log-probability of each action taken, `[T, B]`.
      prediction_logits: logits of y_hat, `[T, B, m]`.
    """

    policy: Array
    prediction_logits: Array


def lpg(config: LPGConfig | None = None, name: str = "lpg") -> UpdateRule:
    """Makes the update rule whose theta is an LPG network.

    The agent minimizes `mean(-log pi(a|s) pi_hat + alpha KL(y || y_hat))`: a positive
    `pi_hat` makes the action likelier, as in the paper (the public code has the opposite sign).

    Args:
      config: architecture; None = that of the paper.
      name: of the rule.

    Reference: Oh et al. 2020, arXiv:2007.08794, eq. 2; Jackson et al. 2024, arXiv:2402.05828.
    """
    config = LPGConfig() if config is None else config

    def init(key: Key) -> Theta:
        return init_theta(config, key)

    def outputs(actions: int) -> Mapping[str, tuple[int, ...]]:
        return {LOGITS: (actions,), PREDICTION: (config.categories,)}

    def targets(
        theta: Theta,
        state: RuleState,
        params: PyTree,
        apply: Apply,
        trajectory: Trajectory,
        progress: LifetimeProgress,
    ) -> tuple[LPGTargets, RuleState, dict[str, Array]]:
        inputs = lpg_inputs(config, params, apply, trajectory, progress)
        if not config.input_gradient:
            inputs = jax.lax.stop_gradient(inputs)
        targets = LPGTargets(*config.network.apply({"params": theta}, inputs))
        return targets, state, _squares(targets)

    def loss(outputs: Outputs, trajectory: Trajectory, targets: LPGTargets) -> Array:
        log_prob = Categorical(outputs[LOGITS]).log_prob(trajectory.action)
        divergence = categorical_kl_divergence(outputs[PREDICTION], targets.prediction_logits)
        # Every factor is [T, B]: an extra axis would erase the credit of single steps.
        return jnp.mean(-log_prob * targets.policy + config.prediction_weight * divergence)

    return UpdateRule(name, init, outputs, empty_state, targets, loss)


def lpg_inputs(
    config: LPGConfig,
    params: PyTree,
    apply: Apply,
    trajectory: Trajectory,
    progress: LifetimeProgress,
) -> LPGInputs:
    """Returns the inputs of the LPG network for a rollout."""
    now = apply(params, trajectory.obs)
    then = apply(params, trajectory.next_obs)
    log_prob = Categorical(now[LOGITS]).log_prob(trajectory.action)
    return LPGInputs(
        reward=trajectory.reward,
        done=trajectory.done.astype(jnp.float32),
        terminated=trajectory.terminated.astype(jnp.float32),
        probability=jnp.exp(log_prob),
        prediction=jax.nn.softmax(now[PREDICTION]),
        next_prediction=jax.nn.softmax(then[PREDICTION]),
        progress=lifetime_features(config.clock, progress),
    )


def lifetime_features(kind: str, progress: LifetimeProgress) -> Array:
    """Returns the lifetime features of the network, `[c]`: `n/N`, `log N`, both or none.

    Reference: Jackson et al. 2024, arXiv:2402.05828, eq. 9.
    """
    values = {
        "none": [],
        "relative": [progress.update / progress.lifetime],
        "log": [jnp.log(progress.lifetime)],
        "both": [progress.update / progress.lifetime, jnp.log(progress.lifetime)],
    }[kind]
    return jnp.stack(values) if values else jnp.zeros((0,))


def _squares(targets: LPGTargets) -> dict[str, Array]:
    """Returns mean squared targets, for regularization in the meta-loss."""
    y_hat = jax.nn.softmax(targets.prediction_logits)
    return {
        "policy_target_square": jnp.mean(targets.policy**2),
        "prediction_target_square": jnp.mean(jnp.sum(y_hat**2, axis=-1)),
    }
