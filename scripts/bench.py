"""Times the hot paths, as ratios within one run: machines differ and are noisy.

  .venv/bin/python scripts/bench.py [--only PART] [--peer-python peer/bin/python] [--json FILE]

PPO on CartPole-v1 (4 environments x 128 steps, 4 epochs x 4 minibatches, 64-64 tanh, 500k steps) of
one seed, eight and 32, one generation of the default `lpo` experiment, and, where an environment
with rejax is named (see peer_rejax.py), rejax's PPO in the same shape. The floor is the time that
the gradient steps' matrix products would take at the best rate that one device reaches here.
Outer steps of update rules; one update of learned optimizers, as `metarl speed` times it.
"""

import argparse
import json
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from metarl.run import devices

devices.prepare()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from metarl import envs, rules  # noqa: E402
from metarl.core.contracts import Unroll  # noqa: E402
from metarl.core.mesh import Layout, make_mesh, on_mesh  # noqa: E402
from metarl.inner.ppo import PPO  # noqa: E402
from metarl.inner.ppo_config import PPOConfig  # noqa: E402
from metarl.inner.scores import MeanReturnLoss  # noqa: E402
from metarl.problems.config import RunConfig  # noqa: E402
from metarl.problems.optimizer import speed  # noqa: E402
from metarl.problems.update_rule.config import TrainUpdateRuleConfig  # noqa: E402
from metarl.run import experiments, parser  # noqa: E402
from metarl.run.build import build  # noqa: E402
from metarl.tasks.environments import FixedTask  # noqa: E402

CONFIG = PPOConfig(value_clip=0.2)  # the published shape: see the class's defaults
PPO_SEEDS = (1, 8, 32)


def timed(function: Callable[..., Any], *args: Any, repeats: int = 3) -> dict[str, Any]:
    """Compile seconds, and the median of some runs after it."""
    started = time.perf_counter()
    program = function.lower(*args).compile()  # type: ignore[attr-defined]
    compiled = time.perf_counter() - started
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        result = jax.block_until_ready(program(*args))
        times.append(time.perf_counter() - started)
    return {
        "compile_seconds": compiled,
        "run_seconds": statistics.median(times),
        "result": result,
        "temporary_mb": program.memory_analysis().temp_size_in_bytes / 1e6,
    }


def ppo(seeds: int) -> dict[str, Any]:
    """PPO on CartPole over the mesh."""
    env = envs.make("gymnax/CartPole-v1")
    learner = PPO(env, CONFIG, rules.ppo())
    task = env.default_params
    unroll = Unroll(FixedTask(task), learner, CONFIG.updates, MeanReturnLoss(0.1))
    layout = Layout(min(seeds, len(jax.devices())))
    program = on_mesh(
        lambda keys: layout.sharded_vmap(lambda key: unroll.run(key, (), task)[0])(keys),
        make_mesh(layout.devices),
    )
    measured = timed(program, jax.random.split(jax.random.key(0), seeds))
    steps = seeds * CONFIG.updates * CONFIG.batch_size
    measured["steps_per_second"] = steps / measured["run_seconds"]
    measured["mean_return"] = float(-np.mean(measured.pop("result")))
    measured["floor_share"] = seeds * floor_seconds() / layout.devices / measured["run_seconds"]
    return measured


def floor_seconds() -> float:
    """Seconds that the matrix products of one lifetime's gradient steps need at the best rate."""
    obs, width, outputs = 4, 64, 3
    first, rest = 2 * obs * width, 2 * width * width + outputs * width
    # multiply-adds a sample: forward and weight gradient for all layers, input gradient but for
    # the first
    flops = 2 * (2 * first + 3 * rest)
    samples = CONFIG.updates * CONFIG.epochs * CONFIG.batch_size
    return samples * flops / best_rate()


def best_rate(size: int = 512, cache: list[float] = []) -> float:  # noqa: B006
    """Multiply-add FLOP/s of a large float32 matrix product, times the share of one device."""
    if not cache:
        x = jnp.ones((size, size), jnp.float32) / size

        def chain(x: jax.Array) -> jax.Array:
            return jax.lax.fori_loop(0, 50, lambda _, y: x @ y, x)

        seconds = timed(jax.jit(chain), x, repeats=5)["run_seconds"]
        cores = min(len(jax.devices()), devices.available_cores())
        cache.append(50 * 2 * size**3 / seconds / max(cores, 1))
    return cache[0]


def lpg_config(num_parallel: int, num_envs: int, core: Any) -> TrainUpdateRuleConfig:
    """The published shape of LPG: 20-step rollouts, K = 5, a core of 256, all grid worlds."""
    preset = experiments.load("lpg").presets["paper"]
    assert isinstance(preset, TrainUpdateRuleConfig)
    unrolls = replace(preset.backprop.unrolls, num_parallel=num_parallel)
    return replace(
        preset,
        agent=replace(preset.agent, num_envs=num_envs),
        rule=replace(preset.rule, core=core),
        backprop=replace(preset.backprop, unrolls=unrolls),
        loop=replace(preset.loop, chunk=None),
    )


def temporal_config() -> TrainUpdateRuleConfig:
    """One generation of the temporal variant: population 4, 16 environments, 250 updates."""
    preset = experiments.load("ta-lpg").presets["paper"]
    assert isinstance(preset, TrainUpdateRuleConfig)
    return replace(
        preset,
        agent=replace(preset.agent, num_envs=16),
        rule=replace(preset.rule, core="gru"),
        es=replace(preset.es, population=4),
        loop=replace(preset.loop, chunk=None),
    )


def core_flops(config: TrainUpdateRuleConfig) -> float:
    """Of the recurrent core's products in one outer step: forward, again, and twice backwards."""
    width, gates = config.rule.width, {"gru": 3, "lstm": 4}[config.rule.core]
    multiply_adds = gates * width * (width + 5 + config.rule.num_lifetime_features)
    if config.method == "es":
        return 2.0 * multiply_adds * config.steps_per_generation
    steps = config.lifetimes * config.backprop.truncation * config.agent.batch_size
    return 4 * 2.0 * multiply_adds * steps


def generation(config: RunConfig) -> dict[str, Any]:
    """One outer step of an experiment, compiled and then measured three times."""
    training = build(config)
    started = time.perf_counter()
    state = training.init(training.key)
    state, _ = jax.block_until_ready(training.advance(training.key, state, jnp.arange(1)))
    first = time.perf_counter() - started
    times = []
    for number in range(1, 4):
        started = time.perf_counter()
        numbers = jnp.arange(number, number + 1)
        state, _ = jax.block_until_ready(training.advance(training.key, state, numbers))
        times.append(time.perf_counter() - started)
    seconds = statistics.median(times)
    steps = training.config.steps_per_generation
    return {
        "first_seconds": first,
        "run_seconds": seconds,
        "steps_per_second": steps / seconds,
        "peak_memory_mb": devices.peak_memory_mb(),
    }


def show_update_rules(report: dict[str, Any]) -> None:
    """Outer steps of LPG and TA-LPG at the sizes at which the public code was measured."""
    sizes = [(16, 16, "gru"), (16, 16, "lstm"), (32, 64, "gru")]
    configs = {f"lpg_{n}x{b}_{core}": lpg_config(n, b, core) for n, b, core in sizes}
    configs["ta_lpg_generation"] = temporal_config()
    for name, config in configs.items():
        report[name] = row = generation(config)
        rate = core_flops(config) / row["run_seconds"]
        row["core_flops_share"] = rate / (best_rate() * devices.available_cores())
        print(
            f"{name}: {row['run_seconds']:.2f} s an outer step, first after "
            f"{row['first_seconds']:.0f} s, {100 * row['core_flops_share']:.0f}% of the rate of "
            f"matrix products, peak {row['peak_memory_mb']:.0f} MB",
            flush=True,
        )


def show_optimizers(report: dict[str, Any]) -> None:
    """One update beside Adam's, the formula unfolded, and floors, on one network and on many."""
    learned = ["mlp_lopt", "adafac_mlp_lopt?hidden=4", "adafac_mlp_lopt?hidden=32"]
    targets = [*learned, *(f"{name}@unfolded" for name in learned), "flops:3200", "bytes:72"]
    for family in ("mlp/digits?width=1024&depth=2", "512*mlp/digits?width=32"):
        options, _ = parser.parse(["speed", *targets, "--family", family])
        for result in speed.speeds(options, []):
            print(f"{family}:\n{speed.described(result)}", flush=True)
            report[family] = {
                name: {"run_seconds": statistics.median(seconds)}
                for name, seconds in result.scores.items()
            }


def peer(python: str) -> dict[str, Any]:
    """rejax in its own environment."""
    script = Path(__file__).with_name("peer_rejax.py")
    output = subprocess.run([python, script], check=True, capture_output=True, text=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def main() -> None:
    """Runs everything and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", help="interpreter of an environment with rejax")
    parser.add_argument("--json", help="write the numbers there")
    parser.add_argument("--only", choices=("ppo", "update-rules", "optimizers"), help="one part")
    options = parser.parse_args()
    report: dict[str, Any] = {"device": devices.describe(), "jax": jax.__version__}
    if options.only in (None, "ppo"):
        show_ppo(report, options.peer_python)
    if options.only in (None, "update-rules"):
        show_update_rules(report)
    if options.only in (None, "optimizers"):
        show_optimizers(report)
    report["peak_memory_mb"] = devices.peak_memory_mb()
    print(f"peak memory of this process: {report['peak_memory_mb']:.0f} MB")
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1))


def show_ppo(report: dict[str, Any], peer_python: str | None) -> None:
    """PPO, one generation of the default experiment, and the peer."""
    for seeds in PPO_SEEDS:
        report[f"ppo_{seeds}_seeds"] = row = ppo(seeds)
        print(
            f"PPO, {seeds} seed(s): {row['steps_per_second'] / 1e3:.0f}k steps/s, "
            f"compile {row['compile_seconds']:.1f} s, return {row['mean_return']:.0f}, "
            f"{100 * row['floor_share']:.0f}% of the matrix-product floor, "
            f"temporaries {row['temporary_mb']:.1f} MB",
            flush=True,
        )
    experiment = experiments.load("lpo")
    report["lpo_generation"] = row = generation(experiment.presets[experiment.default])
    print(
        f"lpo: {row['run_seconds']:.2f} s a generation, {row['steps_per_second'] / 1e3:.0f}k "
        f"steps/s, first after {row['first_seconds']:.1f} s",
        flush=True,
    )
    if peer_python:
        report["rejax"] = peer(peer_python)
        for seeds in (1, 8):
            theirs = report["rejax"][f"{seeds}_seeds"]["steps_per_second"]
            print(f"rejax, {seeds} seed(s): {theirs / 1e3:.0f}k steps/s")
        for seeds in PPO_SEEDS:
            peer_seeds = min(seeds, 8)
            theirs = report["rejax"][f"{peer_seeds}_seeds"]["steps_per_second"]
            ratio = report[f"ppo_{seeds}_seeds"]["steps_per_second"] / theirs
            print(f"{seeds} seed(s) against rejax's {peer_seeds}: {ratio:.2f}")


if __name__ == "__main__":
    main()
