"""Checks the kernels of learned optimizers on a GPU, then times them; one command, some minutes.

  .venv/bin/python scripts/gpu_check.py [--json FILE] [--minutes 7] [--only NAME...]

First every implementation against the reference, on all kinds of calls and fresh random numbers;
it ends with an error if an exact one differs. Then one update of all tensors of a model: optax's
AdamW, the formula as it reads (unfolded), the reference (folded jnp) and each kernel, as
picoseconds a parameter and as a share of the 72 bytes a parameter that an update must move, at the
rate of a copy measured in the same run.
Without a GPU it says so, and times the smallest model with what can run.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from bench_optimizers import unfolded
from metarl.kernels.lopt_update import FeatureSet, Rates, arg_specs, init_moments, lopt_update

from metarl.optimizers.adafac_mlp_lopt import FEATURES as ADAFAC
from metarl.optimizers.celo2 import FEATURES as CELO2
from metarl.optimizers.velo_network import VELO_FEATURES as VELO

KERNELS = ("pallas_gpu", "pallas_gpu_tf32x3", "pallas_gpu_tf32", "pallas_gpu_bfloat16")
NETWORKS: dict[str, tuple[FeatureSet, Sequence[int], float]] = {
    "adafac 4": (ADAFAC, (28, 4, 4, 2), 1e-3),
    "adafac 32": (ADAFAC, (28, 32, 32, 2), 1e-3),
    "velo": (VELO, (30, 4, 4, 3), 1e-3),
    "celo2": (CELO2, (30, 8, 8, 3), 0.0),
}
BYTES = 72
"""An update reads the gradient once more than everything, and writes moments and step."""
EXACT = 3e-6
"""Fifty roundings of float32, relative to the largest step."""


def decoder(width: int, layers: int) -> list[tuple[int, ...]]:
    """Matrices of a language model of GPT-2's kind."""
    block = [(width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)]
    return [(50257, width), (1024, width), *block * layers]


VIT_BLOCK = [(768, 2304), (768, 768), (768, 3072), (3072, 768)]
MODELS: dict[str, list[tuple[int, ...]]] = {
    "MLP, 1M": [(784, 723), (723, 580), (580, 10), (723,), (580,), (10,)],
    "ViT-B, 86M": [(16, 16, 3, 768), (768, 1000), *VIT_BLOCK * 12, *[(768,)] * 100],
    "GPT-2 medium, 355M": decoder(1024, 24),
    "decoder, 1.3B": decoder(2048, 24),
}


def draw(rng: np.random.Generator, name: str, batch: tuple[int, ...] = ()) -> Any:
    """Layers of a network with random weights."""
    pairs = pairwise(NETWORKS[name][1])
    drawn = [(rng.normal(size=(*batch, a, b)) * a**-0.5, np.ones((*batch, b))) for a, b in pairs]
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), drawn)


def rates() -> Rates:
    three = jnp.asarray([0.1, 0.01, 0.001], jnp.float32)
    return Rates(three, three[2:], three)


def updated(name: str, implementation: str, batch: tuple[int, ...] = ()) -> Callable[..., Any]:
    """`(layers, p, g, moments) -> (step, moments)`, compiled, vmapped over the batch."""
    features, _, exponent = NETWORKS[name]

    def run(layers: Any, p: Any, g: Any, moments: Any) -> Any:
        arguments = (features, layers, 1e-3, p, g, moments, rates(), exponent)
        return lopt_update(*arguments, implementation)

    for _ in batch:
        run = jax.vmap(run)
    return jax.jit(run)


def difference(rng: np.random.Generator, name: str, spec: Any, kernel: str) -> float:
    """Largest difference of the second of two steps, relative to the reference's largest step."""
    layers = draw(rng, name, spec.batch)
    rows = np.geomspace(1e-3, 1e2, spec.shape[0] if spec.shape else 1)
    rows = rows.reshape(-1, *[1] * (len(spec.shape) - 1)) if spec.shape else rows[0]
    drawn = rng.normal(size=(3, *spec.batch, *spec.shape)) * rows
    p, *gradients = (jnp.asarray(x, spec.dtype) for x in drawn)
    start = init_moments(spec.shape, 3, 1, 3)
    start = jax.tree.map(lambda x: jnp.broadcast_to(x, (*spec.batch, *x.shape)), start)
    steps = []
    for implementation in ("reference", kernel):
        run, moments = updated(name, implementation, spec.batch), start
        for g in gradients:
            step, moments = run(layers, p, g, moments)
        steps.append(np.asarray(step))
    return float(np.abs(steps[1] - steps[0]).max() / np.abs(steps[0]).max())


def check(kernels: Sequence[str], over: Callable[[], bool]) -> dict[str, dict[str, float]]:
    """Largest difference of every kernel and network over all calls; NaN counts as infinite."""
    rng = np.random.default_rng()
    found: dict[str, dict[str, float]] = {}
    for kernel in kernels:
        exact = kernel == KERNELS[0]
        for name in NETWORKS if exact else ["adafac 32"]:
            specs = (*arg_specs.SMALL, *arg_specs.TILED) if exact else arg_specs.TILED
            worst = 0.0
            for spec in specs:
                if over():
                    print(f"out of time in {kernel}, {name}")
                    break
                size = difference(rng, name, spec, kernel)
                worst = max(worst, size if np.isfinite(size) else np.inf)
            found.setdefault(kernel, {})[name] = worst
            print(f"{kernel}, {name}: differs from the reference by {worst:.1e}", flush=True)
    return found


def seconds_of(function: Callable[..., Any], *arguments: Any) -> float:
    """Median seconds of a call, of several that are sent one after the other."""
    jax.block_until_ready(function(*arguments))
    times = []
    for _ in range(5):
        started = time.perf_counter()
        results = [function(*arguments) for _ in range(3)]
        jax.block_until_ready(results[-1])
        times.append((time.perf_counter() - started) / 3)
        del results
    return statistics.median(times)


def copy_rate() -> float:
    """Bytes a second, read and written, of adding one to a large array."""
    x = jnp.zeros((1 << 28) if jax.default_backend() == "gpu" else (1 << 24), jnp.float32)
    return 2 * x.nbytes / seconds_of(jax.jit(lambda x: x + 1), x)


def transformation(
    tx: optax.GradientTransformation, shapes: Sequence[tuple[int, ...]]
) -> tuple[Callable[..., Any], Any]:
    params = [jnp.ones(shape) for shape in shapes]
    return jax.jit(lambda g, s, p: tx.update(g, s, p)), (params, tx.init(params), params)


def learned(
    name: str, implementation: str, shapes: Sequence[tuple[int, ...]]
) -> tuple[Callable[..., Any], Any]:
    features, _, exponent = NETWORKS[name]
    layers = draw(np.random.default_rng(0), name)

    def run(layers: Any, params: Any, gradients: Any, moments: Any) -> Any:
        return [
            lopt_update(features, layers, 1e-3, p, g, m, rates(), exponent, implementation)
            for p, g, m in zip(params, gradients, moments, strict=True)
        ]

    params = [jnp.ones(shape) for shape in shapes]
    moments = [init_moments(shape, 3, 1, 3) for shape in shapes]
    return jax.jit(run), (layers, params, params, moments)


def measure(
    model: str, contender: str, made: tuple[Callable[..., Any], Any], rate: float
) -> dict[str, Any]:
    run, arguments = made
    count = sum(int(np.prod(shape)) for shape in MODELS[model])
    started = time.perf_counter()
    program = run.lower(*arguments).compile()  # type: ignore[attr-defined]
    compiled = time.perf_counter() - started
    seconds = seconds_of(program, *arguments)
    return {
        "model": model,
        "contender": contender,
        "parameters": count,
        "compile_seconds": compiled,
        "seconds": seconds,
        "ps_a_parameter": 1e12 * seconds / count,
        "bytes_a_second": BYTES * count / seconds,
        "share_of_floor": BYTES * count / rate / seconds,
    }


def rows(gpu: bool, rate: float, over: Callable[[], bool], only: Sequence[str]) -> list[Any]:
    found = []
    for model, shapes in MODELS.items() if gpu else list(MODELS.items())[:1]:
        makers: dict[str, Callable[[], Any]] = {
            "AdamW (28 bytes)": partial(transformation, optax.adamw(1e-3), shapes)
        }
        for width in (4, 32):
            theta = {
                f"layer_{i}": {"kernel": jnp.ones((a, b)), "bias": jnp.ones(b)}
                for i, (a, b) in enumerate(pairwise((39, width, width, 2)))
            }
            tx = unfolded(theta, full=True)
            makers[f"adafac {width}, unfolded"] = partial(transformation, tx, shapes)
        for name in NETWORKS:
            wide = name == "adafac 32"
            kernels = () if not gpu else KERNELS if wide else KERNELS[:1]
            for way in (*kernels, "reference"):
                makers[f"{name}, {way}"] = partial(learned, name, way, shapes)
        for contender, make in makers.items():
            if only and not any(word in contender for word in only):
                continue
            if over():
                print(f"out of time before {model}, {contender}")
                return found
            try:
                found.append(measure(model, contender, make(), rate))
            except jax.errors.JaxRuntimeError as error:  # out of memory, mostly
                print(f"{model}, {contender}: {str(error).splitlines()[0][:200]}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json")
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--only", nargs="*", default=[], help="contenders whose name holds one")
    options = parser.parse_args()
    started = time.monotonic()

    def over(share: float = 1.0) -> bool:
        return time.monotonic() - started > share * 60 * options.minutes

    device, gpu = jax.devices()[0], jax.default_backend() == "gpu"
    print(
        f"jax {jax.__version__} on {device.device_kind}" + ("" if gpu else ": NO GPU"), flush=True
    )
    differences = check(KERNELS if gpu else (), partial(over, 0.4))
    rate = copy_rate()
    table = rows(gpu, rate, over, options.only)
    print(f"\na copy moves {rate / 1e9:.0f} GB/s" + ("" if gpu else "; this ran on no GPU"))
    print(f"{'model':20} {'':34} {'ps/param':>9} {'GB/s':>7} {'of floor':>9} {'compile s':>9}")
    for row in table:
        print(
            f"{row['model']:20} {row['contender']:34} {row['ps_a_parameter']:9.1f} "
            f"{row['bytes_a_second'] / 1e9:7.0f} {row['share_of_floor']:9.1%} "
            f"{row['compile_seconds']:9.1f}"
        )
    if options.json:
        report = {"device": device.device_kind, "gpu": gpu, "jax": jax.__version__}
        report |= {"copy_bytes_a_second": rate, "differences": differences, "rows": table}
        with open(options.json, "w") as file:
            json.dump(report, file, indent=1)
    wrong = {n: x for n, x in differences.get(KERNELS[0], {}).items() if x > EXACT}
    if wrong:
        sys.exit(f"{KERNELS[0]} differs from the reference by more than {EXACT}: {wrong}")


if __name__ == "__main__":
    main()
