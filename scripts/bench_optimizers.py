"""One update of a 993k-parameter MLP: Adam, learned optimizers, and their formulas unfolded.

The unfolded spelling, an implementation of the library's own, makes an array of all channels of all
parameters, as the formula reads; the others never do. Time is in the first bias in both, so that 28
channels are spread and not 39, which favours the unfolded one.
The floor is the time of the folded network's products at the best rate of one device; that of large
square products, which thin ones of 32 rows do not reach.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metarl import optimizers

SIZES = (784, 723, 580, 10)

Timed = Callable[..., dict[str, Any]]


def multiply_adds(varying: int, hidden: int) -> int:
    """Of the folded network, a parameter: layers, and both outputs."""
    return varying * hidden + hidden * hidden + 2 * hidden


def parameters(seed: int = 0) -> dict[str, Any]:
    """An MLP's."""
    rng = np.random.default_rng(seed)
    return {
        f"layer_{i}": {
            "kernel": jnp.asarray(rng.normal(size=shape) * shape[0] ** -0.5, jnp.float32),
            "bias": jnp.zeros(shape[1]),
        }
        for i, shape in enumerate(pairwise(SIZES))
    }


def contenders() -> dict[str, tuple[optax.GradientTransformation, float]]:
    """By name: the transformation, and the multiply-adds of its network a parameter."""
    key = jax.random.key(0)
    found: dict[str, tuple[optax.GradientTransformation, float]] = {"adam": (optax.adam(1e-3), 0)}

    def add(name: str, make: Callable[..., Any], products: float) -> None:
        found[name] = (make(implementation=None), products)
        found[f"{name} unfolded"] = (make(implementation="unfolded"), 0)

    config = optimizers.MLPLoptConfig()
    theta = optimizers.mlp_lopt_init(config, key)
    add("mlp_lopt", partial(optimizers.mlp_lopt, theta, config), multiply_adds(8, 32))
    for hidden in (4, 32):
        adafac = optimizers.AdafacMLPLoptConfig(hidden=hidden)
        theta = optimizers.adafac_mlp_lopt_init(adafac, key)
        make = partial(optimizers.adafac_mlp_lopt, theta, adafac)
        add(f"adafac_mlp_lopt {hidden}", make, multiply_adds(16, hidden))
    return found


def show(report: dict[str, Any], timed: Timed, best_rate: float) -> None:
    """Measures and prints all rows.

    Args:
      report: rows are added to it by name.
      timed: `(compiled function, *arguments) -> measurements`.
      best_rate: FLOP/s of one device.
    """
    params, gradient = parameters(), parameters(1)
    gradient = jax.tree.map(lambda x: 1e-2 * x, gradient)
    count = sum(x.size for x in jax.tree.leaves(params))
    seconds: dict[str, float] = {}
    for name, (tx, products) in contenders().items():

        def step(g: Any, state: Any, p: Any, tx: Any = tx) -> Any:
            updates, state = tx.update(g, state, p)
            return optax.apply_updates(p, updates), state

        row = timed(jax.jit(step), gradient, tx.init(params), params, repeats=9)
        del row["result"]
        seconds[name] = row["run_seconds"]
        row["ratio_to_adam"] = seconds[name] / seconds["adam"]
        row["floor_share"] = 2.0 * products * count / best_rate / seconds[name]
        folded = name.removesuffix(" unfolded")
        row["ratio_to_folded"] = seconds[name] / seconds[folded]
        report[name] = row
        print(
            f"{name}: {1e3 * seconds[name]:.1f} ms an update, "
            f"{row['ratio_to_adam']:.1f} times Adam's, "
            f"{row['ratio_to_folded']:.1f} times the folded one's, "
            f"{100 * row['floor_share']:.0f}% of the matrix-product floor, "
            f"compile {row['compile_seconds']:.1f} s, temporaries {row['temporary_mb']:.1f} MB",
            flush=True,
        )
