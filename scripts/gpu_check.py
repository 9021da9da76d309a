"""Checks the kernels of learned optimizers on a GPU, then times them; one command, some minutes.

  .venv/bin/python scripts/gpu_check.py [--json FILE] [--minutes 7] [--only NAME...]

First every implementation against the reference, on all kinds of calls and fresh random numbers,
with steps and in place; it ends with an error if one differs by more than its products explain.
Then updates of all tensors of a model, many in one loop on the device: optax's AdamW, the formula
as it reads (unfolded), the reference (folded jnp) and each kernel, also in place, as picoseconds a
parameter and as a share of the 72 bytes a parameter that an update must move, at the rate of a copy
measured in the same run. Populations of small networks, each with weights of its own, stand beside
one network as large. Without a GPU it says so, and times the smallest models with what can run.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gpu_timing import KERNELS, NETWORKS, copy_rate, draw, rates, rows
from metarl.kernels.lopt_update import arg_specs, init_moments, lopt_apply, lopt_update

BOUNDS = {
    "pallas_gpu": 3e-6,
    "pallas_gpu_tf32x3": 3e-6,
    "pallas_gpu_bfloat16x3": 4 * 2.0**-16,
    "pallas_gpu_tf32": 4 * 2.0**-10,
    "pallas_gpu_bfloat16": 4 * 2.0**-8,
}
"""Of differences relative to the largest step: fifty roundings of float32, a few of a product."""


def updated(
    name: str, implementation: str, batch: tuple[int, ...] = (), in_place: bool = False
) -> Callable[..., Any]:
    """`(layers, p, g, moments) -> (step or parameter, moments)`, vmapped over the batch."""
    features, _, exponent = NETWORKS[name]
    update = lopt_apply if in_place else lopt_update

    def run(layers: Any, p: Any, g: Any, moments: Any) -> Any:
        arguments = (features, layers, 1e-3, p, g, moments, rates(), exponent)
        return update(*arguments, implementation)

    for _ in batch:
        run = jax.vmap(run)
    return jax.jit(run)


def started(spec: Any) -> Any:
    """Moments of a call that has seen no gradient."""
    start = init_moments(spec.shape, 3, 1, 3)
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (*spec.batch, *x.shape)), start)


def difference(rng: np.random.Generator, name: str, spec: Any, kernel: str) -> float:
    """Largest difference of the second of two steps, relative to the reference's largest step.

    And of what float32 parameters are moved to, less the rounding of that sum.
    """
    layers = draw(rng, name, spec.batch)
    rows = np.geomspace(1e-3, 1e2, spec.shape[0] if spec.shape else 1)
    rows = rows.reshape(-1, *[1] * (len(spec.shape) - 1)) if spec.shape else rows[0]
    drawn = rng.normal(size=(3, *spec.batch, *spec.shape)) * rows
    p, *gradients = (jnp.asarray(x, spec.dtype) for x in drawn)
    steps = []
    for implementation in ("reference", kernel):
        run, moments = updated(name, implementation, spec.batch), started(spec)
        for g in gradients:
            step, moments = run(layers, p, g, moments)
        steps.append(np.asarray(step))
    size = np.abs(steps[0]).max()
    apart = np.abs(steps[1] - steps[0]).max()
    if p.dtype == jnp.float32:
        moved, _ = updated(name, kernel, spec.batch, True)(layers, p, gradients[0], started(spec))
        step, _ = updated(name, "reference", spec.batch)(layers, p, gradients[0], started(spec))
        wanted = np.float64(p) - np.float64(step)
        rounding = np.abs(wanted) * np.finfo(np.float32).eps
        apart = max(apart, (np.abs(moved - wanted) - rounding).max())
    return float(apart / size)


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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json")
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--only", nargs="*", default=[], help="candidates whose name holds one")
    options = parser.parse_args()
    begun = time.monotonic()

    def over(share: float = 1.0) -> bool:
        return time.monotonic() - begun > share * 60 * options.minutes

    device, gpu = jax.devices()[0], jax.default_backend() == "gpu"
    print(
        f"jax {jax.__version__} on {device.device_kind}" + ("" if gpu else ": NO GPU"), flush=True
    )
    differences = check(KERNELS if gpu else (), partial(over, 0.4))
    rate = copy_rate()
    table = rows(gpu, rate, over, options.only)
    print(f"\na copy moves {rate / 1e9:.0f} GB/s" + ("" if gpu else "; this ran on no GPU"))
    print(f"{'model':18} {'':32} ps/param   GB/s  of floor  bytes/param  compile s")
    for row in table:
        print(
            f"{row['model']:18} {row['candidate']:32} {row['ps_a_parameter']:8.1f} "
            f"{row['bytes_a_second'] / 1e9:6.0f} {row['share_of_floor']:9.1%} "
            f"{row['bytes_a_parameter']:12.1f} {row['compile_seconds']:10.1f}"
        )
    if options.json:
        report = {"device": device.device_kind, "gpu": gpu, "jax": jax.__version__}
        report |= {"copy_bytes_a_second": rate, "differences": differences, "rows": table}
        with open(options.json, "w") as file:
            json.dump(report, file, indent=1)
    wrong = [
        f"{kernel}, {name}: {size:.1e} from the reference, more than {BOUNDS[kernel]:.1e}"
        for kernel, found in differences.items()
        for name, size in found.items()
        if size > BOUNDS[kernel]
    ]
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
