"""Networks with any number of named outputs, as an agent's update rule needs them."""

import math
from dataclasses import dataclass
from typing import TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from metarl.core.types import Array
from metarl.networks.actor_critic import NetworkConfig, Torso

Shapes: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]
"""Name and shape of every output, as pairs, so that modules with this field are hashable."""


@dataclass(frozen=True)
class HeadsConfig(NetworkConfig):
    """Architecture of a network with named outputs.

    Attributes:
      bias: whether the heads have biases; without biases and hidden layers, the network is a
        lookup table for one-hot observations.
    """

    bias: bool = True


class Heads(nn.Module):
    """A linear head for every output, on separate torsos or a shared one.

    Parameter names are `<output>_torso` (or `torso`) and `<output>_head`.

    Attributes:
      config: architecture of the torsos.
      outputs: name and shape of every output.
      observation_rank: number of trailing axes that make one observation.
      states: number of states, for discrete observations: integers `[...]`, converted to one-hot
        vectors; None = observations are arrays.
    """

    config: HeadsConfig
    outputs: Shapes
    observation_rank: int
    states: int | None = None

    @nn.compact
    def __call__(self, obs: Array) -> dict[str, Array]:
        """Maps observations `[..., *obs]` to outputs `[..., *shape]` by name."""
        batch = obs.shape[: obs.ndim - self.observation_rank]
        if self.states is not None and not self.config.hidden and not self.config.shared_torso:
            return {name: self._table(name, shape, obs) for name, shape in self.outputs}
        if self.states is not None:
            obs = jax.nn.one_hot(obs, self.states)
        shared = self._torso("torso", obs) if self.config.shared_torso else None
        values = {}
        for name, shape in self.outputs:
            features = self._torso(f"{name}_torso", obs) if shared is None else shared
            head = nn.Dense(math.prod(shape), use_bias=self.config.bias, name=f"{name}_head")
            values[name] = jnp.reshape(head(features), (*batch, *shape))
        return values

    def _torso(self, name: str, obs: Array) -> Array:
        rank = 1 if self.states is not None else self.observation_rank
        return Torso(self.config, rank, name=name)(obs)

    def _table(self, name: str, shape: tuple[int, ...], obs: Array) -> Array:
        """Applies a linear layer to a one-hot input, as a lookup."""
        size = math.prod(shape)
        head = nn.Embed(
            self.states or 0,
            size,
            embedding_init=nn.initializers.lecun_normal(),
            name=f"{name}_head",
        )
        return jnp.reshape(head(obs), (*obs.shape, *shape))
