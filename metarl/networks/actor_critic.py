"""Actor-critic networks: a policy head and a value head over separate or shared torsos."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from metarl.core.errors import ConfigError, check_choice, check_positive
from metarl.core.types import Array, Key, PyTree
from metarl.networks.narrow import MOST_NARROW, narrow_product
from metarl.networks.orthogonal import orthogonal_kernels

_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": nn.tanh,
    "relu": nn.relu,
    "silu": nn.silu,
}


@dataclass(frozen=True)
class NetworkConfig:
    """Architecture of an actor-critic.

    Attributes:
      hidden: widths of the dense layers of each torso.
      activation: nonlinearity of every hidden layer.
      shared_torso: whether both heads share one torso.
      channels: output channels of the 3x3 convolutions before the dense layers; empty = flatten the
        input.
      initial_log_std: initial log standard deviation of a Gaussian policy, the same in all states.
    """

    hidden: tuple[int, ...] = (64, 64)
    activation: Literal["tanh", "relu", "silu"] = "tanh"
    shared_torso: bool = False
    channels: tuple[int, ...] = ()
    initial_log_std: float = 0.0

    def __post_init__(self) -> None:
        check_choice("activation", self.activation, _ACTIVATIONS)
        for width in (*self.hidden, *self.channels):
            check_positive(width=width)
        if self.shared_torso and not (self.hidden or self.channels):
            raise ConfigError("shared_torso needs at least one hidden layer.")


class Torso(nn.Module):
    """Convolutions (if any), flattening, dense layers; `[..., *obs] -> [..., H]`.

    Attributes:
      config: architecture.
      observation_rank: number of trailing axes that make one observation.
    """

    config: NetworkConfig
    observation_rank: int

    @nn.compact
    def __call__(self, obs: Array) -> Array:
        """Maps observations `[..., *obs]` to features `[..., H]`."""
        activation = _ACTIVATIONS[self.config.activation]
        batch = obs.shape[: obs.ndim - self.observation_rank]
        x = obs
        for channels in self.config.channels:
            if self.observation_rank != 3:
                raise ConfigError(
                    "channels need image observations [height, width, channel], "
                    f"got rank {self.observation_rank}."
                )
            x = activation(nn.Conv(channels, (3, 3), kernel_init=_gain(np.sqrt(2)))(x))
        x = jnp.reshape(x, (*batch, -1))
        for width in self.config.hidden:
            x = activation(nn.Dense(width, kernel_init=_gain(np.sqrt(2)))(x))
        return x


class ActorCritic(nn.Module):
    """A policy and a value function.

    Attributes:
      config: architecture of the torsos.
      actions: number of discrete actions, or dimensions of a continuous one.
      discrete: whether the policy is categorical (else diagonal Gaussian).
      observation_rank: number of trailing axes that make one observation.
    """

    config: NetworkConfig
    actions: int
    discrete: bool
    observation_rank: int

    def setup(self) -> None:
        """Builds torsos and heads; the last policy layer has small initial weights."""
        product = narrow_product if self.actions <= MOST_NARROW else None
        self.actor_torso = Torso(self.config, self.observation_rank)
        if not self.config.shared_torso:
            self.critic_torso = Torso(self.config, self.observation_rank)
        self.policy_head = nn.Dense(self.actions, kernel_init=_gain(0.01), dot_general=product)
        self.value_head = nn.Dense(1, kernel_init=_gain(1.0))
        if not self.discrete:
            self.log_std = self.param(
                "log_std", nn.initializers.constant(self.config.initial_log_std), (self.actions,)
            )

    def __call__(self, obs: Array) -> tuple[tuple[Array, ...], Array]:
        """Returns the parameters of the action distribution and the values `[...]`."""
        features = self.actor_torso(obs)
        critic_features = features if self.config.shared_torso else self.critic_torso(obs)
        return self._head(features), self.value_head(critic_features)[..., 0]

    def policy(self, obs: Array) -> tuple[Array, ...]:
        """Returns `(logits [..., A],)`, or `(mean [..., D], log_std [..., D])`."""
        return self._head(self.actor_torso(obs))

    def value(self, obs: Array) -> Array:
        """Returns values `[...]`."""
        torso = self.actor_torso if self.config.shared_torso else self.critic_torso
        return self.value_head(torso(obs))[..., 0]

    def _head(self, features: Array) -> tuple[Array, ...]:
        outputs = self.policy_head(features)
        if self.discrete:
            return (outputs,)
        return outputs, jnp.broadcast_to(self.log_std, outputs.shape)


def layer_paths(network: ActorCritic) -> dict[str, tuple[str, ...]]:
    """Returns the module paths of actor and critic in the parameter tree, from input to output.

    The parameter `log_std` of a Gaussian policy is last. A shared torso is in both.
    """
    layers = [f"Conv_{i}" for i in range(len(network.config.channels))]
    layers += [f"Dense_{i}" for i in range(len(network.config.hidden))]
    critic = "actor_torso" if network.config.shared_torso else "critic_torso"
    last = ("policy_head",) if network.discrete else ("policy_head", "log_std")
    return {
        "actor": tuple(f"params/{x}" for x in (*_below("actor_torso", layers), *last)),
        "critic": tuple(f"params/{x}" for x in (*_below(critic, layers), "value_head")),
    }


def apply_with_activity(
    network: ActorCritic, params: PyTree, obs: Array
) -> tuple[tuple[tuple[Array, ...], Array], dict[str, Array]]:
    """Applies the network and returns the mean activity of its units.

    Args:
      network: network.
      params: parameters of the network.
      obs: observations `[..., *obs]`.

    Returns:
      The outputs of `network(obs)`; and for each layer, by its path in the parameter tree, the mean
      absolute output `[units]` of every unit over observations (and image positions): after the
      nonlinearity in a torso, without one in a head.
    """
    outputs, captured = network.apply(
        params,
        obs,
        capture_intermediates=lambda module, _: isinstance(module, nn.Conv | nn.Dense),
        mutable=["intermediates"],
    )
    activation = _ACTIVATIONS[network.config.activation]
    activity = {}
    for path, (output,) in flatten_dict(captured["intermediates"]).items():
        *module, _ = path
        output = activation(output) if len(module) > 1 else output
        mean = jnp.mean(jnp.abs(output), axis=tuple(range(output.ndim - 1)))
        activity["/".join(("params", *module))] = mean
    return outputs, activity


def _below(torso: str, layers: Sequence[str]) -> list[str]:
    return [f"{torso}/{layer}" for layer in layers]


def _gain(gain: float) -> Callable[..., Array]:
    """Fills a kernel with its gain; `initial_params` multiplies it by an orthogonal kernel."""
    return nn.initializers.constant(float(gain))


def initial_params(network: ActorCritic, key: Key, obs: Array) -> PyTree:
    """Samples initial parameters: orthogonal kernels, zero biases.

    `network.init` returns the shapes, and kernels filled with their gain.

    Args:
      network: network.
      key: PRNG key.
      obs: example observation.
    """
    params = flatten_dict(network.init(key, obs))
    gains = {path: leaf for path, leaf in params.items() if path[-1] == "kernel"}
    kernels = orthogonal_kernels(key, [gain.shape for gain in gains.values()])
    drawn = {path: gains[path] * kernel for path, kernel in zip(gains, kernels, strict=True)}
    return unflatten_dict({**params, **drawn})


def observation_example(shape: Sequence[int]) -> Array:
    """Returns a zero observation, for network initialization."""
    return jnp.zeros(tuple(shape), jnp.float32)
