"""Key mapping from PyLO's weights (safetensors), whose kernels are (out, in) as in torch.

VeLO is in two files, `VeLO_RNN` and `VeLO_MLP`; K networks, H hidden units:

| theirs | ours |
|---|---|
| `input_weights_` (K, 4, 30), `input_bias_` | `networks/layer_0` |
| `hidden_weights_.0`, `hidden_bias_.0` | `networks/layer_1` |
| `output_weights_`, `output_bias_` | `networks/layer_2` |
| `mix_layer2`, `final_mix_layer` (`weight`, `bias`) | `tensors/shared`, `tensors/own` |
| `lstm.linear` | `tensors/lstm/gates` |
| `lstm_init_state.0`, `.1` (1, H) | `tensors/lstm/hidden`, `cell` [H] |
| `rnn_to_controls`, `step_size` | `controls`, `step_size` |
| `mix_layer1`, without effect there; names without the last `_`, the last mixture | none |

Celo2: `w0.0` to `w0.13`, `b0`, `dense_w.0`, `dense_b.0`, `dense_w.1`, `dense_b.1`, with kernels
(in, out); or `first_layer`, `hidden`, `output` (`weight`, `bias`), with kernels (out, in).

muLO: `network.input`, `network.linear_0`, ..., `network.output`. Its learned decays are not in the
file but in PyLO's code; they are `MULO_DECAYS` here.
"""

from collections.abc import Sequence

import numpy as np

from metarl.core.types import Theta
from metarl.optimizers.celo.celo2 import Celo2Config
from metarl.optimizers.external.files import ExternalFile
from metarl.optimizers.external.from_haiku import GROUPS
from metarl.optimizers.lopt.adafac_mlp_lopt import MULO, AdafacMLPLoptConfig
from metarl.optimizers.velo.velo_network import CHANNELS, OUTPUTS, VeLOConfig

MULO_DECAYS = {
    "momenta": (0.15216392, 0.14245212, 0.06812963),
    "rms": (0.01079706,),
    "factored": (0.18621896, -0.10864615, -0.06185547),
}
"""Learned offsets of the decays of muLO's published weights."""

_MULO_INPUTS = 39
_MULO_OUTPUTS = 2


def velo(file: ExternalFile, mixture_scale: float) -> tuple[VeLOConfig, Theta]:
    """Reads VeLO from the arrays of both files."""
    hidden = file.take("lstm_init_state.0", 1, None).shape[1]
    count, width = file.take("input_bias_", None, None).shape
    config = VeLOConfig(hidden, count, width, mixture_scale)
    gates = _linear(file, "lstm.linear", 2 * hidden, 4 * hidden)
    return config, {
        "tensors": {
            "own": _linear(file, "final_mix_layer", config.inputs, hidden),
            "shared": _linear(file, "mix_layer2", config.inputs, hidden),
            "lstm": {
                "gates": gates,
                "hidden": file.take("lstm_init_state.0", 1, hidden)[0],
                "cell": file.take("lstm_init_state.1", 1, hidden)[0],
            },
        },
        "controls": _linear(file, "rnn_to_controls", hidden, count),
        "step_size": _linear(file, "step_size", hidden, 1),
        "networks": {
            "layer_0": _stack(file, "input", "", (count, CHANNELS, width)),
            "layer_1": _stack(file, "hidden", ".0", (count, width, width)),
            "layer_2": _stack(file, "output", "", (count, width, OUTPUTS)),
        },
    }


def celo2(file: ExternalFile) -> tuple[Celo2Config, Theta]:
    """Reads Celo2, in either layout."""
    if "first_layer.bias" in file.arrays:
        width = file.take("first_layer.bias", None).shape[0]
        sizes = (("first_layer", CHANNELS, width), ("hidden", width, width), ("output", width, 3))
        layers = [_linear(file, *size) for size in sizes]
    else:
        width = file.take("b0", None).shape[0]
        parts = [file.take(f"w0.{i}", size, width) for i, size in enumerate(GROUPS)]
        layers = [{"kernel": np.concatenate(parts), "bias": file.take("b0", width)}]
        for i, outputs in enumerate((width, OUTPUTS)):
            kernel = file.take(f"dense_w.{i}", width, outputs)
            layers.append({"kernel": kernel, "bias": file.take(f"dense_b.{i}", outputs)})
    return Celo2Config(width=width), {"network": _numbered(layers)}


def mulo(file: ExternalFile) -> tuple[AdafacMLPLoptConfig, Theta]:
    """Reads muLO."""
    width = file.take("network.input.bias", None).shape[0]
    middle = sum(name.startswith("network.linear_") for name in file.arrays) // 2
    names = ["input", *(f"linear_{i}" for i in range(middle)), "output"]
    sizes = [_MULO_INPUTS, *[width] * (middle + 1), _MULO_OUTPUTS]
    layers = [
        _linear(file, f"network.{name}", sizes[i], sizes[i + 1]) for i, name in enumerate(names)
    ]
    decays = {name: np.asarray(x, np.float32) for name, x in MULO_DECAYS.items()}
    config = AdafacMLPLoptConfig(width, middle + 1, MULO.step_mult, MULO.exp_mult)
    return config, {"network": _numbered(layers), "decays": decays}


def _linear(file: ExternalFile, name: str, inputs: int, outputs: int) -> Theta:
    kernel = file.take(f"{name}.weight", outputs, inputs).T
    return {"kernel": np.ascontiguousarray(kernel), "bias": file.take(f"{name}.bias", outputs)}


def _stack(file: ExternalFile, name: str, suffix: str, shape: tuple[int, int, int]) -> Theta:
    count, inputs, outputs = shape
    kernels = file.take(f"{name}_weights_{suffix}", count, outputs, inputs)
    return {
        "kernel": np.ascontiguousarray(np.swapaxes(kernels, 1, 2)),
        "bias": file.take(f"{name}_bias_{suffix}", count, outputs),
    }


def _numbered(layers: Sequence[Theta]) -> Theta:
    return {f"layer_{i}": layer for i, layer in enumerate(layers)}
