"""Networks of learned optimizers on models' real shapes, timed in loops on the device.

For `gpu_check.py`, which says what comes of it.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from metarl.kernels.lopt_update import (
    Call,
    FeatureSet,
    Rates,
    init_moments,
    lopt_apply_many,
    lopt_update_many,
)

from metarl.optimizers.celo.celo2 import FEATURES as CELO2
from metarl.optimizers.lopt.adafac_mlp_lopt import FEATURES as ADAFAC
from metarl.optimizers.velo.velo_network import VELO_FEATURES as VELO

KERNELS = (
    "pallas_gpu",
    "pallas_gpu_tf32x3",
    "pallas_gpu_bfloat16x3",
    "pallas_gpu_tf32",
    "pallas_gpu_bfloat16",
)
NETWORKS: dict[str, tuple[FeatureSet, Sequence[int], float]] = {
    "adafac 4": (ADAFAC, (28, 4, 4, 2), 1e-3),
    "adafac 32": (ADAFAC, (28, 32, 32, 2), 1e-3),
    "velo": (VELO, (30, 4, 4, 3), 1e-3),
    "celo2": (CELO2, (30, 8, 8, 3), 0.0),
}
BYTES = 72
"""An update reads the gradient once more than everything, and writes moments and step."""


def decoder(width: int, layers: int) -> list[tuple[int, ...]]:
    """Matrices of a language model of GPT-2's kind."""
    block = [(width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)]
    return [(50257, width), (1024, width), *block * layers]


class Model(NamedTuple):
    """Shapes of a network's tensors, and how many such networks are updated in one call."""

    shapes: list[tuple[int, ...]]
    copies: int = 1

    @property
    def batch(self) -> tuple[int, ...]:
        """Axis of the copies, if there are several."""
        return (self.copies,) if self.copies > 1 else ()

    @property
    def size(self) -> int:
        """Parameters of all copies."""
        return self.copies * sum(prod(shape) for shape in self.shapes)


VIT_BLOCK = [(768, 2304), (768, 768), (768, 3072), (3072, 768)]
MODELS = {
    "MLP, 1.2M": Model([(64, 1060), (1060, 1060), (1060, 10), (1060,), (1060,), (10,)]),
    "512 MLPs of 2,410": Model([(64, 32), (32, 10), (32,), (10,)], copies=512),
    "ViT-B, 86M": Model([(16, 16, 3, 768), (768, 1000), *VIT_BLOCK * 12, *[(768,)] * 100]),
    "GPT-2 medium, 355M": Model(decoder(1024, 24)),
    "decoder, 1.3B": Model(decoder(2048, 24)),
}
SMALLEST = 2
"""Of the models, which a machine without a GPU is given."""
UPDATES = 10
"""In one loop on the device."""


def draw(rng: np.random.Generator, name: str, batch: tuple[int, ...] = ()) -> Any:
    """Layers of a network with random weights."""
    pairs = pairwise(NETWORKS[name][1])
    drawn = [(rng.normal(size=(*batch, a, b)) * a**-0.5, np.ones((*batch, b))) for a, b in pairs]
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), drawn)


def rates() -> Rates:
    three = jnp.asarray([0.1, 0.01, 0.001], jnp.float32)
    return Rates(three, three[2:], three)


class Candidate(NamedTuple):
    """An update to be timed: `step(moving, given) -> moving`, and with what it begins."""

    step: Callable[[Any, Any], Any]
    moving: Any
    given: Any


class Timed(NamedTuple):
    """Median seconds of an update, seconds of compiling, and bytes that the program needs."""

    seconds: float
    compile_seconds: float
    bytes: int


def looped(candidate: Candidate) -> Callable[[Any, Any], Any]:
    """`UPDATES` updates, one after the other."""

    def loop(moving: Any, given: Any) -> Any:
        def once(_: Any, moving: Any) -> Any:
            # Else what depends on gradients alone would be taken out of the loop.
            return candidate.step(*jax.lax.optimization_barrier((moving, given)))

        return jax.lax.fori_loop(0, UPDATES, once, moving)

    return loop


def timed(candidate: Candidate, repeats: int = 5) -> Timed:
    """Compiles and runs the loop, which overwrites what moves."""
    begun = time.perf_counter()
    loop = jax.jit(looped(candidate), donate_argnums=0)
    run = loop.lower(candidate.moving, candidate.given).compile()
    compiled = time.perf_counter() - begun
    moving = jax.block_until_ready(run(candidate.moving, candidate.given))
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        moving = jax.block_until_ready(run(moving, candidate.given))
        times.append((time.perf_counter() - begun) / UPDATES)
    return Timed(statistics.median(times), compiled, bytes_of(run))


def bytes_of(program: Any) -> int:
    """Bytes of arguments, results and temporaries; what is overwritten counts once."""
    memory = program.memory_analysis()
    needed = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return needed + memory.temp_size_in_bytes - memory.alias_size_in_bytes


def copy_rate() -> float:
    """Bytes a second, read and written, of adding one to a large array."""
    x = jnp.zeros((1 << 28) if jax.default_backend() == "gpu" else (1 << 24), jnp.float32)
    size = x.nbytes
    return 2 * size / timed(Candidate(lambda x, _: x + 1, x, ())).seconds


def tensors(model: Model, value: float = 1.0) -> list[Any]:
    return [jnp.full((*model.batch, *shape), value) for shape in model.shapes]


def adamw(model: Model) -> Candidate:
    tx = optax.adamw(1e-3)
    params = tensors(model)

    def step(moving: Any, given: Any) -> Any:
        params, gradients = given
        return tx.update(gradients, moving[1], params)

    return Candidate(step, (tensors(model), tx.init(params)), (params, tensors(model, 0.1)))


def learned(name: str, implementation: str, in_place: bool, model: Model) -> Candidate:
    features, _, exponent = NETWORKS[name]
    layers = draw(np.random.default_rng(0), name, model.batch)
    many = lopt_apply_many if in_place else lopt_update_many

    def update(layers: Any, params: Any, gradients: Any, moments: Any) -> Any:
        tensors = zip(params, gradients, moments, strict=True)
        calls = [Call(layers, 1e-3, *tensor) for tensor in tensors]
        made = many(features, calls, rates(), exponent, implementation)
        return tuple(map(list, zip(*made, strict=True)))

    for _ in model.batch:
        update = jax.vmap(update)

    def step(moving: Any, given: Any) -> Any:
        (ends, moments), (layers, params, gradients) = moving, given
        return update(layers, ends if in_place else params, gradients, moments)

    moments = [init_moments(shape, 3, 1, 3) for shape in model.shapes]
    moments = jax.tree.map(lambda x: jnp.zeros((*model.batch, *x.shape)), moments)
    given = (layers, () if in_place else tensors(model), tensors(model, 0.1))
    return Candidate(step, (tensors(model), moments), given)


def makers(gpu: bool) -> dict[str, Callable[[Model], Candidate]]:
    """By name: makes the candidate for a model."""
    found: dict[str, Callable[[Model], Candidate]] = {"AdamW (28 bytes)": adamw}
    for name in NETWORKS:
        wide = name == "adafac 32"
        kernels = () if not gpu else KERNELS if wide else KERNELS[:1]
        for way in (*kernels, "reference", *(("unfolded",) if name.startswith("adafac") else ())):
            found[f"{name}, {way}"] = partial(learned, name, way, False)
        for way in kernels[:2] or ("reference",):
            found[f"{name}, {way}, in place"] = partial(learned, name, way, True)
    return found


def measure(name: str, candidate: str, made: Candidate, rate: float) -> dict[str, Any]:
    count = MODELS[name].size
    seconds, compiled, needed = timed(made)
    return {
        "model": name,
        "candidate": candidate,
        "parameters": count,
        "compile_seconds": compiled,
        "seconds": seconds,
        "bytes_a_parameter": needed / count,
        "ps_a_parameter": 1e12 * seconds / count,
        "bytes_a_second": BYTES * count / seconds,
        "share_of_floor": BYTES * count / rate / seconds,
    }


def rows(gpu: bool, rate: float, over: Callable[[], bool], only: Sequence[str]) -> list[Any]:
    found: list[Any] = []
    for name, model in MODELS.items() if gpu else list(MODELS.items())[:SMALLEST]:
        for candidate, make in makers(gpu).items():
            if only and not any(word in candidate for word in only):
                continue
            if over():
                print(f"out of time before {name}, {candidate}")
                return found
            try:
                found.append(measure(name, candidate, make(model), rate))
            except jax.errors.JaxRuntimeError as error:  # out of memory, mostly
                print(f"{name}, {candidate}: {str(error).splitlines()[0][:200]}", flush=True)
    return found
