"""The meta-network: targets from a rollout, read backwards, and a memory of the agent's lifetime.

Everything is a function of theta, whose layers are listed in `metarl.rules.disco.theta`. The
network is the same for any number of actions.
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
    """All that the meta-network may read.

    Attributes:
      trajectory: the rollout.
      online: views of the agent's network.
      target: views of its target network.
      values: computed from them.
    """

    trajectory: Trajectory
    online: Views
    target: Views
    values: Values


class Inputs(NamedTuple):
    """What both parts of the network read of a rollout, in the order in which they read it.

    Attributes:
      steps: of every step `[T, B, 9]`.
      embedded: predictions of every step, embedded by either part, `[T, B, 14, 2]`.
      policies: probabilities of every action, of three policies, `[T, B, A, 3]`.
      actions: predictions of every action, of two networks, embedded likewise, `[T, B, A, 2, 2]`.
      advantages: of every action, and which one was taken `[T, B, A, 4]`.
      taken: the actions taken `[T, B]`.
    """

    steps: Array
    embedded: Array
    policies: Array
    actions: Array
    advantages: Array
    taken: Array


class MetaOutputs(NamedTuple):
    """What the agent should have said; logits.

    Attributes:
      policy: pi_hat, `[T, B, A]`.
      y: y_hat, `[T, B, Y]`.
      z: z_hat of the action taken, `[T, B, Y]`.
    """

    policy: Array
    y: Array
    z: Array


def initial_lifetime_state(config: DiscoConfig) -> LSTMState:
    """The memory of an agent that has not learnt yet."""
    zeros = jnp.zeros((config.lifetime_width,))
    return LSTMState(zeros, zeros)


def meta_network(
    theta: Theta, lifetime: LSTMState, experience: Experience
) -> tuple[MetaOutputs, LSTMState]:
    """Targets of a rollout, and the agent's memory with this rollout in it.

    A backwards LSTM reads the rollout; the memory, as it was before, scales its features; linear
    layers make of them `y_hat`, `z_hat` and, together with each action's embedding, `pi_hat`. A
    second LSTM then takes one step on the average of its own embedding of the same inputs.

    Args:
      theta: `{part: {layer: {"w", "b"}}}`.
      lifetime: memory `[lifetime_width]`.
      experience: the rollout.

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

    The network sees `[features, action]` beside its mean over actions, in which the features are
    the same again: so their two blocks of weights act as their sum, once a step.
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
    """One step of the lifetime's LSTM, on an average over time and batch."""
    net = theta["lifetime"]
    x, _ = _embedded(theta, "lifetime", inputs)
    y_hat = perceptron(net["y_hidden"], net["y_out"], jax.nn.softmax(y_hat))
    x = jnp.concatenate([x, summary, y_hat], axis=-1)
    x = jnp.mean(dense(net["inputs"], x), axis=(0, 1))
    return lstm_step(dense(net["lstm"], jnp.concatenate([x, lifetime.hidden])), lifetime.cell)


def _embedded(theta: Theta, part: str, inputs: Inputs) -> tuple[Array, Array]:
    """Inputs `[T, B, F]` of one part's LSTM, and its embeddings of the actions `[T, B, A, C]`."""
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
