"""Key mapping from haiku weights, serialized by flax (msgpack).

| theirs | ours |
|---|---|
| `ff_mod_stack/~/w0__0` to `w0__13`, one per group of channels, concatenated | `layer_0/kernel` |
| `ff_mod_stack/~/b0`, `w1`, `b1`, `w2`, `b2` | `layer_0/bias`, `layer_1/kernel`, ... |
| `lstm_init_state/hidden`, `cell` (1, H) | `lstm/hidden`, `lstm/cell` [H] |
| `rnn_params/linear_1`, `linear_2` (`w`, `b`) | `shared`, `own` (`kernel`, `bias`) |
| `rnn_params/rnn/linear` | `lstm/gates` |
| `rnn_params/rnn_to_controls`, `step_size` | `controls`, `step_size` |
| `rnn_params/linear`, without effect there | none |

Arrays of `ff_mod_stack` have a leading axis of K networks, except for Celo2. Celo's K is 1 and the
softmax of its only control is 1, so `rnn_to_controls` is not read.
"""

import numpy as np

from metarl.core.types import Theta
from metarl.optimizers.celo.celo import CeloConfig
from metarl.optimizers.celo.celo2 import Celo2Config
from metarl.optimizers.celo.celo_adam import CeloAdamConfig
from metarl.optimizers.celo.learned_schedule import INPUTS
from metarl.optimizers.external.files import ExternalFile
from metarl.optimizers.velo.velo_network import OUTPUTS, VeLOConfig

GROUPS = (1, 1, 1, 3, 1, 3, 1, 3, 1, 3, 3, 3, 3, 3)
"""Channels of each part of the first layer: gradient, clipped gradient, parameter, momenta, ..."""

_STACK = "ff_mod_stack/~/"
_RNN = "rnn_params/"


def celo(file: ExternalFile) -> tuple[CeloConfig, Theta]:
    """Reads Celo: one network of a stack, and the scheduler."""
    layers = _networks(file, 1)
    network = {
        name: {part: array[0] for part, array in layer.items()} for name, layer in layers.items()
    }
    schedule = _schedule(file)
    config = CeloConfig(
        hidden=len(schedule["lstm"]["hidden"]), width=len(network["layer_0"]["bias"])
    )
    return config, {"network": network, "schedule": schedule}


def celo_adam(file: ExternalFile) -> tuple[CeloAdamConfig, Theta]:
    """Reads Celo-Adam: the scheduler alone."""
    schedule = _schedule(file)
    return CeloAdamConfig(len(schedule["lstm"]["hidden"])), {"schedule": schedule}


def celo2(file: ExternalFile) -> tuple[Celo2Config, Theta]:
    """Reads Celo2 or Celo2-base with Celo2's config; the file does not distinguish them."""
    network = _networks(file)
    return Celo2Config(width=len(network["layer_0"]["bias"])), {"network": network}


def velo(file: ExternalFile, mixture_scale: float) -> tuple[VeLOConfig, Theta]:
    """Reads VeLO; infers the validation flag from the number of inputs, set to training."""
    networks = _networks(file, None)
    controls = _linear(file, "rnn_to_controls", None, None)
    count, width = networks["layer_0"]["bias"].shape
    inputs = file.take(f"{_RNN}linear_1/w", None, None).shape[0]
    plain = VeLOConfig().inputs
    config = VeLOConfig(
        hidden=controls["kernel"].shape[0],
        networks=count,
        width=width,
        mixture_scale=mixture_scale,
        validation=None if inputs == plain else False,
    )
    tensors = _recurrent(file, config.inputs, config.hidden)
    step_size = _linear(file, "step_size", config.hidden, 1)
    _linear(file, "rnn_to_controls", config.hidden, count)
    return config, {
        "tensors": tensors,
        "controls": controls,
        "step_size": step_size,
        "networks": networks,
    }


def _schedule(file: ExternalFile) -> Theta:
    hidden = file.take("lstm_init_state/hidden", 1, None).shape[1]
    return {
        **_recurrent(file, INPUTS, hidden),
        "step_size": _linear(file, "step_size", hidden, 1),
    }


def _recurrent(file: ExternalFile, inputs: int, hidden: int) -> Theta:
    """Reads what `metarl.optimizers.velo.tensor_lstm.mixed_lstm_init` returns."""
    return {
        "own": _linear(file, "linear_2", inputs, hidden),
        "shared": _linear(file, "linear_1", inputs, hidden),
        "lstm": {
            "gates": _linear(file, "rnn/linear", 2 * hidden, 4 * hidden),
            "hidden": file.take("lstm_init_state/hidden", 1, hidden)[0],
            "cell": file.take("lstm_init_state/cell", 1, hidden)[0],
        },
    }


def _linear(file: ExternalFile, name: str, inputs: int | None, outputs: int | None) -> Theta:
    kernel = file.take(f"{_RNN}{name}/w", inputs, outputs)
    return {"kernel": kernel, "bias": file.take(f"{_RNN}{name}/b", kernel.shape[1])}


def _networks(file: ExternalFile, *leading: int | None) -> dict[str, dict[str, np.ndarray]]:
    """Reads a stack of three-layer MLPs whose arrays have these leading axes."""
    bias = file.take(f"{_STACK}b0", *leading, None)
    *stack, width = bias.shape
    parts = [
        file.take(f"{_STACK}w0__{i}", *stack, channels, width) for i, channels in enumerate(GROUPS)
    ]
    return {
        "layer_0": {"kernel": np.concatenate(parts, axis=-2), "bias": bias},
        "layer_1": {
            "kernel": file.take(f"{_STACK}w1", *stack, width, width),
            "bias": file.take(f"{_STACK}b1", *stack, width),
        },
        "layer_2": {
            "kernel": file.take(f"{_STACK}w2", *stack, width, OUTPUTS),
            "bias": file.take(f"{_STACK}b2", *stack, OUTPUTS),
        },
    }
