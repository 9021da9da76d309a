"""The network of a learned policy gradient: an LSTM backward in time over the agent's rollout."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from metarl.core.errors import check_choice, check_positive
from metarl.core.types import Array, Key, Theta

_CELLS: dict[str, Any] = {"lstm": nn.OptimizedLSTMCell, "gru": nn.GRUCell}
_LIFETIME_FEATURES = {"none": 0, "relative": 1, "log": 1, "both": 2}


@dataclass(frozen=True)
class LPGConfig:
    """Architecture of a learned policy gradient.

    Attributes:
      categories: number of categories m of the agent's prediction `y`.
      width: width of the recurrent core.
      core: recurrent cell, `lstm` as in the paper, or `gru`.
      embedding: hidden width of the network that embeds `y`.
      prediction_weight: weight alpha of the prediction loss.
      clock: lifetime features: `none` (LPG), `relative` (n/N), `log` (log N), or `both`
        (temporally aware LPG).
      input_gradient: whether the meta-gradient also flows through the network's inputs
        (probabilities and predictions); otherwise it flows only through the network's outputs.
    """

    categories: int = 8
    width: int = 256
    core: Literal["lstm", "gru"] = "lstm"
    embedding: int = 16
    prediction_weight: float = 0.5
    clock: Literal["none", "relative", "log", "both"] = "none"
    input_gradient: bool = False

    def __post_init__(self) -> None:
        check_positive(
            categories=self.categories,
            width=self.width,
            embedding=self.embedding,
            prediction_weight=self.prediction_weight,
        )
        check_choice("core", self.core, _CELLS)
        check_choice("clock", self.clock, _LIFETIME_FEATURES)

    @property
    def num_lifetime_features(self) -> int:
        """Number of lifetime features."""
        return _LIFETIME_FEATURES[self.clock]

    @cached_property
    def network(self) -> "LPGNetwork":
        """The network whose parameters are theta."""
        return LPGNetwork(self)


class LPGInputs(NamedTuple):
    """Inputs of the network for a rollout; `[T, B]`, predictions `[T, B, m]`.

    Attributes:
      reward: reward r_t.
      done: whether the episode ended with this step; the recurrent state is reset there.
      terminated: whether the episode terminated; the next prediction is masked there.
      probability: probability pi(a_t | s_t).
      prediction: probabilities y(s_t).
      next_prediction: probabilities y(s_{t+1}), of the final observation where the episode ended.
      progress: lifetime features `[c]`, the same for the whole rollout.
    """

    reward: Array
    done: Array
    terminated: Array
    probability: Array
    prediction: Array
    next_prediction: Array
    progress: Array


class LPGNetwork(nn.Module):
    """Maps rewards, episode ends, action probabilities and embedded predictions to targets.

    The discount, which is constant here, is not among the inputs.

    Attributes:
      config: architecture.

    Reference: Oh et al. 2020, arXiv:2007.08794, section 3; lifetime features: Jackson et al. 2024,
    arXiv:2402.05828.
    """

    config: LPGConfig

    @nn.compact
    def __call__(self, inputs: LPGInputs) -> tuple[Array, Array]:
        """Returns `pi_hat [T, B]` and the logits of `y_hat [T, B, m]`."""
        hidden = nn.Dense(self.config.embedding, name="embed_hidden")
        out = nn.Dense(1, name="embed_out")

        def embed(prediction: Array) -> Array:
            return out(nn.relu(hidden(prediction)))

        bootstrap = (1.0 - inputs.terminated)[..., None] * embed(inputs.next_prediction)
        scalars = jnp.stack([inputs.reward, inputs.done, inputs.probability], axis=-1)
        progress = jnp.broadcast_to(
            inputs.progress, (*inputs.reward.shape, self.config.num_lifetime_features)
        )
        x = jnp.concatenate([scalars, embed(inputs.prediction), bootstrap, progress], axis=-1)
        features = nn.relu(self._backwards(x, inputs.done))
        pi_hat = nn.Dense(1, name="policy_head")(features)[..., 0]
        return pi_hat, nn.Dense(self.config.categories, name="prediction_head")(features)

    def _backwards(self, x: Array, done: Array) -> Array:
        """Runs the core from the last step to the first; resets its state where an episode ends."""
        cell = _CELLS[self.config.core](self.config.width, name="core")
        shapes = jax.eval_shape(lambda: cell.initialize_carry(jax.random.key(0), x.shape[1:]))
        carry = jax.tree.map(lambda c: jnp.zeros(c.shape, x.dtype), shapes)

        def step(cell: Any, carry: Any, inputs: tuple[Array, Array]) -> tuple[Any, Array]:
            x, done = inputs
            carry = jax.tree.map(lambda c: c * (1.0 - done)[..., None], carry)
            return cell(carry, x)

        scan = nn.scan(
            step, variable_broadcast="params", split_rngs={"params": False}, reverse=True
        )
        return scan(cell, carry, (x, done))[1]


def init_theta(config: LPGConfig, key: Key) -> Theta:
    """Samples the initial parameters of the network."""
    scalar = jnp.zeros((1, 1))
    vector = jnp.zeros((1, 1, config.categories))
    progress = jnp.zeros((config.num_lifetime_features,))
    inputs = LPGInputs(scalar, scalar, scalar, scalar, vector, vector, progress)
    return config.network.init(key, inputs)["params"]
