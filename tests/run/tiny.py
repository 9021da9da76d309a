"""A tiny run: its config and compiled program, and what it left, compared to the bit."""

import functools
import io
import json
import shlex
import signal
import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from metarl.estimators.full_es import FullESConfig
from metarl.evaluation.results import load_results
from metarl.inner.ppo_config import PPOConfig
from metarl.io.runs import RunDirectory
from metarl.networks.actor_critic import NetworkConfig
from metarl.problems.config import EvaluationConfig, LoopConfig, OuterConfig
from metarl.problems.drift.config import EvolveRuleConfig, TaskConfig
from metarl.rules.learned_drift import LearnedDriftConfig
from metarl.run import experiments, outer_loop
from metarl.run.build import build
from metarl.run.progress import Display

CATCH, BANDIT = "gymnax/Catch-bsuite", "gymnax/SimpleBandit-bsuite"

# Large steps of everything, and members that share no random numbers: so short a run would
# otherwise give members of equal fitness, a zero gradient, and a theta that never moves.
TINY = EvolveRuleConfig(
    task=TaskConfig(envs=(CATCH,), window=1.0),
    learner=PPOConfig(
        total_steps=96,
        num_envs=2,
        rollout_length=16,
        epochs=2,
        minibatches=2,
        learning_rate=0.05,
        network=NetworkConfig(hidden=(4,)),
    ),
    rule=LearnedDriftConfig(hidden=4),
    es=FullESConfig(population=4, sigma=1.0, common_random_numbers="none"),
    outer=OuterConfig(generations=6, learning_rate=0.1),
    evaluation=EvaluationConfig(envs=(BANDIT,), rules=("ppo",), learner="same", seeds=3),
    loop=LoopConfig(keep=2),
)

build_once = functools.cache(build)
"""`build`, but an equal config gives the same compiled programs."""


def arguments(config=TINY):
    """What makes this config on the command line."""
    line = experiments.command_line(experiments.load("lpo"), config)
    return shlex.split(line)[1:]


def child(*words, **options):
    """Starts the real command in a process of its own, which SIGINT interrupts.

    A shell starts background jobs, this test session perhaps, with SIGINT ignored, and children
    inherit that.
    """
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return _start(words, options)
    finally:
        signal.signal(signal.SIGINT, inherited)


def _start(words, options):
    return subprocess.Popen(
        [sys.executable, "-m", "metarl.run.cli", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def with_loop(config=TINY, **changes):
    """The config with another loop."""
    return replace(config, loop=replace(config.loop, **changes))


def new_run(path, config=TINY):
    """A run directory in which nothing has happened."""
    return RunDirectory.create(path.parent, "lpo", experiments.to_json(config), path)


def meta_train_in(run, config=TINY):
    """Evolves (on) in a run directory; returns theta and what was shown."""
    shown = io.StringIO()
    with run.lock(), Display(config.outer.generations, stream=shown) as display:
        theta = outer_loop.run_outer_loop(run, build_once(config), display)
    return theta, shown.getvalue()


def rows(path):
    """The metrics of a run as text, without their seconds."""
    found = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert all(row.pop("seconds") > 0 for row in found)
    return [json.dumps(row, sort_keys=True) for row in found]


def last_state(path, config=TINY):
    """The bytes of every leaf of the newest checkpoint, and its generation."""
    training = build_once(config)
    template = jax.eval_shape(training.init, training.key)
    restored = RunDirectory.open(path).checkpoints().latest(template)
    assert not restored.skipped
    return restored.step, [_bytes(x) for x in jax.tree.leaves(restored.state)]


def _bytes(leaf):
    if jnp.issubdtype(jnp.asarray(leaf).dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf).tobytes()


def artifact_bytes(path):
    """The learned weights of a run."""
    (weights,) = (path / "artifacts").glob("*.safetensors")
    return weights.read_bytes()


def results(path):
    """The evaluations of a run as JSON, without their seconds."""
    found = [result.to_json() for result in load_results(path / "results.json")]
    assert all(result.pop("seconds") > 0 for result in found)
    return found


def check_same_meta_training(path, reference, config=TINY):
    """Metrics, and the last state to the bit."""
    assert rows(path) == rows(reference)
    assert last_state(path, config) == last_state(reference, config)


def check_same_run(path, reference):
    """Everything that a run leaves, but its times."""
    check_same_meta_training(path, reference)
    assert artifact_bytes(path) == artifact_bytes(reference)
    assert results(path) == results(reference)
    assert (path / "report.html").is_file()
