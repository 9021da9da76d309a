"""`metarl speed`: how long an update of an optimizer takes beside Adam's, on real networks."""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metarl.core.errors import ConfigError, check_positive, check_range
from metarl.core.keys import named
from metarl.core.types import Key, PyTree
from metarl.evaluation.baselines import BASELINES, baseline
from metarl.evaluation.measures import SECONDS
from metarl.evaluation.optimizer_trial import OptimizerContender
from metarl.evaluation.results import EnvironmentResult, save_results
from metarl.optimizers.parameters import describe
from metarl.optimizers.protocol import UpdateContext
from metarl.run.config import LARGEST_SEED
from metarl.run.files import check_folder
from metarl.run.finish import describe_result
from metarl.run.optimizer_names import by_name
from metarl.tasks import families
from metarl.tasks.family import TaskFamily

REFERENCE = "adam"
"""Whom everyone is timed beside."""

_NUM_STEPS = 1000


def command(options: argparse.Namespace, overrides: list[str]) -> int:
    """`metarl speed OPTIMIZER ... --family [N*]FAMILY ...`."""
    check_folder("--json", options.json)
    results = []
    for result in speeds(options, overrides):
        adam = np.median(result.scores[REFERENCE])
        print(describe_result(result))
        for name, seconds in result.scores.items():
            compiled = result.settings["compile_seconds"][name]
            ratio = np.median(seconds) / adam
            print(f"  {name}: {ratio:.1f} times Adam, compiled in {compiled:.1f} s", flush=True)
        results.append(result)
        if options.json:
            save_results(options.json, results)
    return 0


def speeds(options: argparse.Namespace, overrides: list[str]) -> Iterator[EnvironmentResult]:
    """Yields one result a family: seconds of every repetition, all optimizers taking turns."""
    del overrides
    check_positive(repeats=options.repeats)
    check_range(0, LARGEST_SEED, seed=options.seed)
    everyone = {REFERENCE: _contender(REFERENCE)}
    everyone |= {name: _contender(name) for name in options.optimizers}
    jobs = [_family(name) for name in dict.fromkeys(options.family)]
    for name, (family, copies) in zip(dict.fromkeys(options.family), jobs, strict=True):
        key = named(jax.random.key(options.seed), f"speed {name}")
        yield _timed(name, family, copies, everyone, options.repeats, key)


def _contender(name: str) -> OptimizerContender:
    if name not in BASELINES:
        return by_name(name)
    optimizer = baseline(name)
    return OptimizerContender(optimizer, optimizer.init(jax.random.key(0)))


def _family(name: str) -> tuple[TaskFamily, int]:
    """`512*mlp/digits?width=32` is 512 networks in one call."""
    count, star, family = name.rpartition("*")
    if star and not (count.isdecimal() and int(count) > 0):
        raise ConfigError(f"--family {name}: {count!r} is no number of networks; such as 512*mlp.")
    return families.make(family), int(count) if star else 1


def _timed(
    name: str,
    family: TaskFamily,
    copies: int,
    everyone: Mapping[str, OptimizerContender],
    repeats: int,
    key: Key,
) -> EnvironmentResult:
    started = time.perf_counter()
    over = jax.vmap if copies > 1 else _alone
    keys = jax.random.split(key, copies) if copies > 1 else key
    params = jax.jit(over(lambda k: family.init(k, family.sample(k))))(keys)
    grads = jax.tree.map(lambda x: 0.01 * jax.random.normal(key, x.shape, x.dtype), params)
    updates, compiled = {}, {}
    for rule, contender in everyone.items():
        before = time.perf_counter()
        updates[rule] = _compiled(contender, params, grads, over)
        compiled[rule] = time.perf_counter() - before
    seconds = {rule: np.zeros(repeats) for rule in everyone}
    for i in range(repeats):
        for rule, update in updates.items():
            before = time.perf_counter()
            update()
            seconds[rule][i] = time.perf_counter() - before
    size = sum(x.size for x in jax.tree.leaves(params))
    return EnvironmentResult(
        env=name,
        steps=np.array([1]),
        curves={rule: values[:, None] for rule, values in seconds.items()},
        scores=seconds,
        settings={"parameters": size, "copies": copies, "compile_seconds": compiled},
        seconds=time.perf_counter() - started,
        diverged=dict.fromkeys(everyone, 0),
        measure=SECONDS,
    )


def _alone(function: Callable[..., Any]) -> Callable[..., Any]:
    """What `jax.vmap` is to several networks; a batch of one would be another program."""
    return function


def _compiled(
    contender: OptimizerContender, params: PyTree, grads: PyTree, over: Callable[..., Any]
) -> Callable[[], Any]:
    """One update of all copies, compiled and run once; its arguments stay where they are."""
    optimizer, theta = contender
    told = UpdateContext(
        progress=jnp.float32(0.5),
        epoch_progress=jnp.float32(0.0),
        key=jax.random.key(0),
        value=jnp.float32(1.0),
    )

    def start(params: PyTree) -> PyTree:
        return optimizer.transformation(theta, describe(params), _NUM_STEPS).init(params)

    def update(grads: PyTree, state: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
        tx = optimizer.transformation(theta, describe(params), _NUM_STEPS)
        updates, state = tx.update(grads, state, params, **told._asdict())
        return optax.apply_updates(params, updates), state

    state = jax.jit(over(start))(params)
    program = jax.jit(over(update)).lower(grads, state, params).compile()
    jax.block_until_ready(program(grads, state, params))
    return lambda: jax.block_until_ready(program(grads, state, params))
