"""What `metarl speed` times: updates of optimizers, and floors: memory moved, products alone."""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from metarl.core.errors import ConfigError
from metarl.core.types import PyTree
from metarl.optimizers import in_place
from metarl.optimizers.kernel_choices import kernel_choices, override_kernels
from metarl.optimizers.parameters import describe
from metarl.optimizers.protocol import UpdateContext
from metarl.problems.optimizer.baselines import BASELINES, baseline
from metarl.problems.optimizer.names import by_name
from metarl.problems.optimizer.trial import OptimizerCandidate

_NUM_STEPS = 1000
_FLOAT = 4
_SIDE = 512
"""Of the matrices that are multiplied; larger ones are not multiplied at a higher rate on a core of
a CPU. On a GPU they are: there this is no floor."""


class Networks(NamedTuple):
    """What is to be updated.

    Attributes:
      params, grads: trees of arrays, with a leading axis if there are several copies.
      copies: how many networks they are.
      in_place: whether updates are written over parameters and state.
    """

    params: PyTree
    grads: PyTree
    copies: int = 1
    in_place: bool = False

    @property
    def size(self) -> int:
        """Number of parameters of all copies."""
        return sum(x.size for x in jax.tree.leaves(self.params))


class Work(NamedTuple):
    """A program to be timed.

    Attributes:
      step: `(moving, given) -> moving`.
      moving: what it moves, such as parameters and state.
      given: what it reads only, such as gradients.
      in_place: whether what moves is overwritten; a run then goes on where the last one ended.
      scale: by which its seconds are multiplied.
    """

    step: Callable[[PyTree, PyTree], PyTree]
    moving: PyTree
    given: PyTree
    in_place: bool
    scale: float = 1.0


BenchmarkTarget: TypeAlias = Callable[[Networks], Work]
"""What stands for a name: the work that it has with networks."""


class Timed(NamedTuple):
    """A compiled program.

    Attributes:
      run: runs it once and returns its seconds.
      compile_seconds: of tracing and compiling it.
      bytes: of arguments, results and temporaries; what is overwritten counts once.
    """

    run: Callable[[], float]
    compile_seconds: float
    bytes: int


def benchmark_target(name: str) -> BenchmarkTarget:
    """Finds what is to be timed.

    Args:
      name: of a baseline or a learned optimizer (see `names.by_name`), of an architecture
        with options, such as `adafac_mlp_lopt?hidden=32`, which gets random weights;
        any of these with `@` and an implementation of its kernel. Or a floor, `bytes:72` (moving
        memory: that many bytes a parameter are read and written) or `flops:3200` (square matrix
        products of that many floating-point operations a parameter).

    Raises:
      ConfigError: nothing is called so, or its implementation cannot run on this machine.
      ArtifactError: a file is missing, altered, or of another kind.
    """
    kind, colon, amount = name.partition(":")
    if colon and kind in _FLOORS:
        return partial(_FLOORS[kind], _amount(name, amount))
    asked, mark, implementation = name.rpartition("@")
    if not mark or not implementation.isidentifier():  # the @ of a path
        return partial(_updated, name, _contender(name), None)
    with override_kernels(implementation):
        return partial(_updated, name, _contender(asked), implementation)


def compiled(work: Work) -> Timed:
    """Compiles a program and runs it once; arrays that are overwritten are given away."""
    before = time.perf_counter()
    jitted = jax.jit(work.step, donate_argnums=(0,) if work.in_place else ())
    program = jitted.lower(work.moving, work.given).compile()
    compile_seconds = time.perf_counter() - before
    memory: Any = program.memory_analysis()
    needed = memory.argument_size_in_bytes + memory.output_size_in_bytes
    needed += memory.temp_size_in_bytes - memory.alias_size_in_bytes
    held = [work.moving]

    def run() -> float:
        before = time.perf_counter()
        made = jax.block_until_ready(program(held[0], work.given))
        seconds = time.perf_counter() - before
        if work.in_place:
            held[0] = made
        return work.scale * seconds

    run()
    return Timed(run, compile_seconds, int(needed))


def together(function: Callable[..., Any], copies: int) -> Callable[..., Any]:
    """The function for several networks at once; a batch of one would be another program."""
    return jax.vmap(function) if copies > 1 else function


def _contender(name: str) -> OptimizerCandidate:
    if name not in BASELINES:
        return by_name(name, untrained=True)
    optimizer = baseline(name)
    return OptimizerCandidate(optimizer, optimizer.init(jax.random.key(0)))


def _amount(name: str, text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not 0 < amount < math.inf:
        raise ConfigError(
            f"{name!r}: {text!r} is no positive number; such as bytes:72 or flops:3200, of each "
            "parameter."
        )
    return amount


def _updated(
    name: str, candidate: OptimizerCandidate, implementation: str | None, networks: Networks
) -> Work:
    """One update of all copies.

    Raises:
      ConfigError: when it is traced, if an implementation was asked for and none is met.
    """
    optimizer, theta = candidate
    context = UpdateContext(
        progress=jnp.float32(0.5),
        epoch_progress=jnp.float32(0.0),
        key=jax.random.key(0),
        value=jnp.float32(1.0),
    )._asdict()

    def start(params: PyTree) -> PyTree:
        return optimizer.transformation(theta, describe(params), _NUM_STEPS).init(params)

    def update(moving: tuple[PyTree, PyTree], grads: PyTree) -> tuple[PyTree, PyTree]:
        params, state = moving
        tx = optimizer.transformation(theta, describe(params), _NUM_STEPS)
        if networks.in_place:
            return in_place(tx)(params, grads, state, **context)
        updates, state = tx.update(grads, state, params, **context)
        return optax.apply_updates(params, updates), state

    def step(moving: tuple[PyTree, PyTree], grads: PyTree) -> Any:
        with kernel_choices() as choices, override_kernels(implementation):
            made = together(update, networks.copies)(moving, grads)
        if implementation is not None and not choices:
            raise ConfigError(f"{name!r}: this optimizer has no kernel, so no implementation.")
        return made

    params = jax.tree.map(jnp.copy, networks.params)  # which may be given away
    state = jax.jit(together(start, networks.copies))(params)
    return Work(step, (params, state), networks.grads, networks.in_place)


def _moving(amount: float, networks: Networks) -> Work:
    """Half of the bytes are read, half are written: over what was read, since new pages cost."""
    wanted = amount * networks.size / (2 * _FLOAT)
    floats = max(1, round(wanted))
    zeros = jnp.zeros(floats, jnp.float32)
    return Work(lambda x, _: x + 1.0, zeros, (), in_place=True, scale=wanted / floats)


def _multiplying(amount: float, networks: Networks) -> Work:
    """One product after the other, in float32."""
    wanted = amount * networks.size / (2 * _SIDE**3)
    products = max(1, round(wanted))
    square = jnp.full((_SIDE, _SIDE), 1.0 / _SIDE, jnp.float32)  # its square is itself

    def multiplied(x: jax.Array, square: jax.Array) -> jax.Array:
        def next_one(_: Any, x: jax.Array) -> jax.Array:
            return jnp.dot(square, x, precision=jax.lax.Precision.HIGHEST)

        return jax.lax.fori_loop(0, products, next_one, x)

    return Work(multiplied, jnp.copy(square), square, in_place=True, scale=wanted / products)


_FLOORS: dict[str, Callable[[float, Networks], Work]] = {"bytes": _moving, "flops": _multiplying}
