"""The meta-network: a backward LSTM over a rollout, and a lifetime LSTM with one step per update.

Everything is a function of theta, whose layers are listed in `metarl.rules.disco.theta`. The
parameters do not depend on the number of actions.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metarl.core.types import Array, Theta
from metarl.rl.trajectory import Trajectory
from metarl.rl.value_transforms import signed_log
from metarl.rules.disco.config import DiscoConfig
from metarl.rules.disco.layers import (
    Layer,
    LSTMState,
    among_actions,
    backwards_lstm,
    dense,
    lstm_step,
    perceptron,
)
from metarl.rules.disco.theta import PARTS
from metarl.rules.disco.values import Values, at_action, behaviour_logits
from metarl.rules.disco.views import Views


class Experience(NamedTuple):
    """Data from which the inputs of the meta-network are computed.

    Attributes:
      trajectory: rollout.
      online: outputs of the agent's network.
      target: outputs of the target network.
      values: values and advantages computed from them.
    """

    trajectory: Trajectory
    online: Views
    target: Views
    values: Values


class Inputs(NamedTuple):
    """Inputs of both parts of the meta-network, in the order in which they are concatenated.

    Attributes:
      steps: features of every step `[T, B, 9]`.
      embedded: predictions of every step, embedded by each part, `[T, B, 14, 2]`.
      policies: probabilities of every action under three policies, `[T, B, A, 3]`.
      actions: predictions for every action from two networks, embedded by each part,
        `[T, B, A, 2, 2]`.
      advantages: values and advantages of every action, and the one-hot action, `[T, B, A, 4]`.
      taken: actions taken `[T, B]`.
    """

    steps: Array
    embedded: Array
    policies: Array
    actions: Array
    advantages: Array
    taken: Array


class MetaOutputs(NamedTuple):
    """Targets of the agent's outputs, as logits.

    Attributes:
      policy: policy target pi_hat, `[T, B, A]`.
      y: prediction target y_hat, `[T, B, Y]`.
      z: prediction target z_hat of the action taken, `[T, B, Y]`.
    """

    policy: Array
    y: Array
    z: Array


def initial_lifetime_state(config: DiscoConfig) -> LSTMState:
    """Returns the initial state of the lifetime LSTM: zeros."""
    zeros = jnp.zeros((config.lifetime_width,))
    return LSTMState(zeros, zeros)


def meta_network(
    theta: Theta, lifetime: LSTMState, experience: Experience
) -> tuple[MetaOutputs, LSTMState]:
    """Returns the targets of a rollout and the next state of the lifetime LSTM.

    A backward LSTM runs over the rollout. The previous lifetime state gates its features. Linear
    layers map the features to `y_hat`, `z_hat` and, together with each action's embedding,
    `pi_hat`. The lifetime LSTM then makes one step on the mean of its own embedding of the same
    inputs.

    Args:
      theta: meta-parameters, `{part: {layer: {"w", "b"}}}`.
      lifetime: state of the lifetime LSTM, `[lifetime_width]`.
      experience: rollout with network outputs and values.

    Reference: Oh et al. 2025, Nature 648:312, methods and extended data.
    """
    net = theta["trajectory"]
    inputs = _inputs(experience)
    x, actions = _embedded(theta, "trajectory", inputs)
    features = backwards_lstm(net["lstm"], x, experience.trajectory.done)
    gate = dense(net["gate"], lifetime.hidden)
    features = features * jnp.broadcast_to(gate, features.shape)
    outputs = MetaOutputs(
        policy=_policy(net["pi_hidden"], net["pi_hat"], features, actions),
        y=dense(net["y_hat"], features),
        z=dense(net["z_hat"], features),
    )
    summary = dense(net["summary"], features)
    return outputs, _lifetime_step(theta, lifetime, inputs, summary, outputs.y)


def _policy(hidden: Layer, out: Layer, features: Array, actions: Array) -> Array:
    """`pi_hat [T, B, A]` from features `[T, B, H]` and embeddings of the actions `[T, B, A, C]`.

    The input is `[features, action]` and its mean over actions. Both contain the same features, so
    the sum of their two weight blocks is applied once per step.
    """
    width = features.shape[-1]
    own, mean = jnp.split(hidden["w"], 2)
    shared = dense({"w": own[:width] + mean[:width], "b": hidden["b"]}, features)
    pooled = jnp.mean(actions, axis=-2, keepdims=True) @ mean[width:]
    x = jax.nn.relu(actions @ own[width:] + pooled + shared[..., None, :])
    return dense(out, x)[..., 0]


def _lifetime_step(
    theta: Theta, lifetime: LSTMState, inputs: Inputs, summary: Array, y_hat: Array
) -> LSTMState:
    """Makes one step of the lifetime LSTM, on inputs averaged over time and batch."""
    net = theta["lifetime"]
    x, _ = _embedded(theta, "lifetime", inputs)
    y_hat = perceptron(net["y_hidden"], net["y_out"], jax.nn.softmax(y_hat))
    x = jnp.concatenate([x, summary, y_hat], axis=-1)
    x = jnp.mean(dense(net["inputs"], x), axis=(0, 1))
    return lstm_step(dense(net["lstm"], jnp.concatenate([x, lifetime.hidden])), lifetime.cell)


def _embedded(theta: Theta, part: str, inputs: Inputs) -> tuple[Array, Array]:
    """Returns the LSTM inputs `[T, B, F]` of one part, and its action embeddings `[T, B, A, C]`."""
    index = PARTS.index(part)
    actions = jnp.concatenate(
        [inputs.policies, inputs.actions[..., index], inputs.advantages], axis=-1
    )
    actions = among_actions(theta[part]["action_hidden"], actions)
    actions = among_actions(theta[part]["action_out"], actions)
    columns = [
        inputs.steps,
        inputs.embedded[..., index],
        jnp.mean(actions, axis=-2),
        at_action(actions, inputs.taken),
    ]
    return jnp.concatenate(columns, axis=-1), actions


def _inputs(experience: Experience) -> Inputs:
    trajectory, online, target, values = experience
    taken = trajectory.action
    policy, next_policy = (jax.nn.softmax(seen.logits) for seen in online)
    policies = jnp.stack(
        [
            policy,
            jax.nn.softmax(behaviour_logits(trajectory)),
            jax.nn.softmax(target.now.logits),
        ],
        axis=-1,
    )
    own, behaviour, slow = jnp.moveaxis(at_action(policies, taken), -1, 0)
    steps = [
        own,
        behaviour,
        signed_log(trajectory.reward),
        1.0 - trajectory.terminated,
        signed_log(values.value),
        signed_log(values.next_value),
        signed_log(values.advantage),
        values.advantage_normalized,
        slow,
    ]
    embedded = [seen.y for network in (online, target) for seen in network]
    for network in (online, target):
        embedded += [
            at_action(network.now.z, taken),
            jnp.sum(policy[..., None] * network.now.z, axis=-2),
            jnp.sum(next_policy[..., None] * network.then.z, axis=-2),
            jnp.max(network.now.z, axis=-2),
            jnp.max(network.then.z, axis=-2),
        ]
    advantages = [
        signed_log(values.q),
        signed_log(values.action_advantage),
        values.action_advantage_normalized,
        jax.nn.one_hot(taken, policy.shape[-1]),
    ]
    return Inputs(
        steps=jnp.stack(steps, axis=-1),
        embedded=jnp.stack(embedded, axis=-2),
        policies=policies,
        actions=jnp.stack([online.now.z, target.now.z], axis=-2),
        advantages=jnp.stack(advantages, axis=-1),
        taken=taken,
    )
