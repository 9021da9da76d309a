"""Networks with per-action outputs from a learned one-step model (Muesli, DiscoRL)."""

import math
from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from metarl.core.errors import ConfigError, check_positive
from metarl.core.types import Array, Key
from metarl.networks.heads import Shapes

_FORGET_BIAS = 1.0


@dataclass(frozen=True)
class ActionModelConfig:
    """Architecture of an `AgentNetwork`; the defaults are those of DiscoRL's agents.

    Attributes:
      hidden: widths of the torso; ReLU after every layer but the last.
      width: width of the LSTM of the action model.
      head_hidden: width of the hidden layer in the heads of per-action outputs.
      head_std: standard deviation of the initial weights of the other heads.
    """

    hidden: tuple[int, ...] = (512, 512)
    width: int = 128
    head_hidden: int = 128
    head_std: float = 0.01

    def __post_init__(self) -> None:
        check_positive(width=self.width, head_hidden=self.head_hidden, head_std=self.head_std)
        for width in self.hidden:
            check_positive(hidden=width)


class AgentNetwork(nn.Module):
    """A torso with linear heads for outputs of one axis, and an action model for the others.

    An output of shape `(A, ...)`, with two axes or more, is a per-action output. The input of its
    head is the state after one step of an LSTM, whose initial cell is a linear function of the
    torso's features and whose input is the one-hot action.

    Attributes:
      config: architecture.
      outputs: name and shape of every output.
      observation_rank: number of trailing axes that make one observation.

    Reference: Oh et al. 2025, Nature 648:312, methods; Hessel et al. 2021, arXiv:2104.06159.
    """

    config: ActionModelConfig
    outputs: Shapes
    observation_rank: int

    @nn.compact
    def __call__(self, obs: Array) -> dict[str, Array]:
        """Maps observations `[..., *obs]` to outputs `[..., *shape]` by name."""
        batch = obs.shape[: obs.ndim - self.observation_rank]
        features = self._torso(jnp.reshape(obs, (*batch, -1)))
        values = {}
        for name, shape in self.outputs:
            if len(shape) < 2:
                head = _dense(math.prod(shape), f"{name}_head", self.config.head_std)
                values[name] = jnp.reshape(head(features), (*batch, *shape))
        per_action = [(name, shape) for name, shape in self.outputs if len(shape) > 1]
        if not per_action:
            return values
        counts = {shape[0] for _, shape in per_action}
        if len(counts) > 1:
            raise ConfigError(f"outputs {per_action} differ in their numbers of actions, {counts}.")
        states = self._after_each_action(features, counts.pop())
        for name, shape in per_action:
            hidden = nn.relu(_dense(self.config.head_hidden, f"{name}_hidden")(states))
            head = _dense(math.prod(shape[1:]), f"{name}_head")
            values[name] = jnp.reshape(head(hidden), (*batch, *shape))
        return values

    def _torso(self, x: Array) -> Array:
        for index, width in enumerate(self.config.hidden):
            x = _dense(width, f"torso_{index}")(nn.relu(x) if index else x)
        return x

    def _after_each_action(self, features: Array, actions: int) -> Array:
        """Makes one LSTM step from the same state for every action: `[..., H]` to `[..., A, H]`."""
        width = self.config.width
        cell = _dense(width, "root")(features)
        std = 1.0 / math.sqrt(actions + width)
        # The recurrent part of the gates is the same for all actions.
        shared = _dense(4 * width, "recurrent", std)(jnp.tanh(cell))[..., None, :]
        own = _dense(4 * width, "action", std, bias=False)(jnp.eye(actions))
        gates = shared + jnp.reshape(own, (1,) * (shared.ndim - 2) + own.shape)
        i, g, f, o = jnp.split(gates, 4, axis=-1)
        cell = nn.sigmoid(f + _FORGET_BIAS) * cell[..., None, :] + nn.sigmoid(i) * jnp.tanh(g)
        return nn.sigmoid(o) * jnp.tanh(cell)


def _dense(width: int, name: str, std: float | None = None, bias: bool = True) -> nn.Dense:
    """Returns a linear layer with truncated normal weights, by default of variance 1 / inputs."""
    if std is None:
        return nn.Dense(width, bias, kernel_init=_fan_in_init, name=name)
    return nn.Dense(width, bias, kernel_init=nn.initializers.truncated_normal(std), name=name)


def _fan_in_init(key: Key, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
    return nn.initializers.truncated_normal(1.0 / math.sqrt(shape[0]))(key, shape, dtype)
