"""One update of a 993k-parameter MLP: Adam, learned optimizers, and their formulas unfolded.

The unfolded spelling builds an array of all inputs of all parameters, as the formula reads; the
library never does. It costs what the formula costs, but does not mind which axis is the larger.
The floor is the time of the folded network's products at the best rate of one device; that of large
square products, which thin ones of 32 rows do not reach.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metarl import optimizers

SIZES = (784, 723, 580, 10)
DECAYS = (0.9, 0.99, 0.999)
MOMENTA = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
TIMES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)

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


def average(decays: Sequence[float], old: jax.Array, new: jax.Array) -> jax.Array:
    d = jnp.asarray(decays).reshape(-1, *[1] * new.ndim)
    return d * old + (1 - d) * new[None]


def unfolded(theta: Any, full: bool) -> optax.GradientTransformation:
    """`adafac_mlp_lopt` if `full`, else `mlp_lopt`, with theta's layers `(kernel, bias)`."""
    layers = [(theta[f"layer_{i}"]["kernel"], theta[f"layer_{i}"]["bias"]) for i in range(3)]
    momenta = DECAYS if full else MOMENTA

    def start(p: jax.Array) -> dict[str, jax.Array]:
        state = {"m": jnp.zeros((len(momenta), *p.shape))}
        if full:
            row, col = (p.mean(1), p.mean(0)) if p.ndim == 2 else (p, p)
            state |= {"v": jnp.zeros((1, *p.shape))}
            state |= {"row": jnp.zeros((3, *row.shape)), "col": jnp.zeros((3, *col.shape))}
        return state

    def factored(g: jax.Array, s: dict[str, jax.Array]) -> tuple[dict[str, jax.Array], list[Any]]:
        square = g * g
        row, col = (square.mean(1), square.mean(0)) if g.ndim == 2 else (square, square)
        s = s | {"v": average((0.999,), s["v"], square)}
        s = s | {"row": average(DECAYS, s["row"], row), "col": average(DECAYS, s["col"], col)}
        rows, cols = (s["row"][:, :, None], s["col"][:, None]) if g.ndim == 2 else (s["row"],) * 2
        scale = jax.lax.rsqrt(rows + 1e-9)
        if g.ndim == 2:
            mean = rows.mean(1, keepdims=True)
            scale = jax.lax.rsqrt(rows / (mean + 1e-9)) * jax.lax.rsqrt(cols + 1e-9)
        inverse = jax.lax.rsqrt(s["v"] + 1e-6)
        made = [s["v"], s["m"] * inverse, inverse, g[None] * scale, rows, cols]
        made += [jax.lax.rsqrt(rows + 1e-8), jax.lax.rsqrt(cols + 1e-8), s["m"] * scale]
        return s, made

    def step(g: jax.Array, p: jax.Array, s: dict[str, jax.Array], t: jax.Array) -> Any:
        s = s | {"m": average(momenta, s["m"], g)}
        kinds = [g[None], p[None], s["m"]]
        if full:
            s, more = factored(g, s)
            kinds += more
        spread = [jnp.broadcast_to(kind, (len(kind), *p.shape)) for kind in kinds]
        inputs = jnp.moveaxis(jnp.concatenate(spread), 0, -1)
        axes = tuple(range(p.ndim))
        inputs *= jax.lax.rsqrt(1e-5 + jnp.mean(inputs**2, axes, keepdims=True))
        time = jnp.tanh(t / jnp.asarray(TIMES) - 1)
        units = jnp.concatenate([inputs, jnp.broadcast_to(time, (*p.shape, len(TIMES)))], -1)
        for i, (kernel, bias) in enumerate(layers):
            units = (jax.nn.relu(units) if i else units) @ kernel + bias
        return -1e-3 * units[..., 0] * jnp.exp(1e-3 * units[..., 1]), s

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        count, memory = state
        leaves, treedef = jax.tree.flatten(updates)
        ps, states = treedef.flatten_up_to(params), treedef.flatten_up_to(memory)
        both = [step(*given, count) for given in zip(leaves, ps, states, strict=True)]
        steps, states = zip(*both, strict=True)
        return treedef.unflatten(steps), (count + 1, treedef.unflatten(states))

    return optax.GradientTransformation(
        lambda params: (jnp.float32(0), jax.tree.map(start, params)), update
    )


def contenders() -> dict[str, tuple[optax.GradientTransformation, float]]:
    """By name: the transformation, and the multiply-adds of its network a parameter."""
    key = jax.random.key(0)
    found: dict[str, tuple[optax.GradientTransformation, float]] = {"adam": (optax.adam(1e-3), 0)}
    config = optimizers.MLPLoptConfig()
    theta = optimizers.mlp_lopt_init(config, key)
    found["mlp_lopt"] = (optimizers.mlp_lopt(theta, config), multiply_adds(8, 32))
    found["mlp_lopt unfolded"] = (unfolded(theta, full=False), 0)
    for hidden in (4, 32):
        adafac = optimizers.AdafacMLPLoptConfig(hidden=hidden)
        theta = optimizers.adafac_mlp_lopt_init(adafac, key)
        name = f"adafac_mlp_lopt {hidden}"
        found[name] = (optimizers.adafac_mlp_lopt(theta, adafac), multiply_adds(16, hidden))
        found[f"{name} unfolded"] = (unfolded(theta["network"], full=True), 0)
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
