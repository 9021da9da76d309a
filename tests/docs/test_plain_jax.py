"""The example outside the library: it runs on a saved drift, is right, learns, shares nothing."""

import ast
import importlib.util
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl import envs, rules
from metarl.rules import LearnedDriftConfig, learned_drift
from tests.cards import CARD

from .pages import ROOT

EXAMPLE = ROOT / "docs" / "examples" / "plain_jax.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("plain_jax", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # People's code adds biases to batches; the tests' strict setting is for the library's own.
    with jax.numpy_rank_promotion("allow"):
        yield module


@pytest.fixture
def saved(tmp_path, key):
    config = LearnedDriftConfig(hidden=4)
    theta = {name: 0.1 + 0.0 * x for name, x in learned_drift(config).init(key).items()}
    return rules.save(tmp_path / "tiny.safetensors", theta, config, CARD)


@pytest.mark.slow
def test_it_runs_on_a_saved_drift(saved):
    command = [sys.executable, str(EXAMPLE), "--drift", str(saved), "--iterations", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    returns = [float(x) for x in re.findall(r"return +([\d.]+)", done.stdout)]
    assert len(returns) == 2
    assert all(1.0 <= x <= 500.0 for x in returns)


def test_it_takes_only_rules_from_metarl():
    found = set()
    for node in ast.walk(ast.parse(EXAMPLE.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "metarl":
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "metarl"}
    assert found == {"metarl.rules"}


def test_its_cartpole_moves_like_gymnax_cartpole(example, key):
    env = envs.make("gymnax/CartPole-v1")
    _, template = env.reset(key, env.default_params)
    rng = np.random.default_rng(0)
    spread = np.array([3.0, 2.0, 0.3, 2.0])
    for state, action in zip(
        rng.uniform(-spread, spread, (64, 4)), rng.integers(0, 2, 64), strict=True
    ):
        ours, fell = example.cartpole_step(jnp.float32(state), jnp.int32(action))
        x, x_dot, theta, theta_dot = jnp.float32(state)
        theirs = template.replace(x=x, x_dot=x_dot, theta=theta, theta_dot=theta_dot)
        step = env.step(key, theirs, jnp.int32(action), env.default_params)
        # A dozen float32 operations on numbers up to about 10.
        np.testing.assert_allclose(ours, step.obs, atol=12 * 10 * np.finfo(np.float32).eps)
        assert bool(fell) == bool(step.terminated)


def test_its_advantages_are_sums_of_discounted_errors(example):
    """A float64 double sum, straight from the definition, over a path with both kinds of end."""
    steps = 6
    key_params, key_obs = jax.random.split(jax.random.key(1))
    params = {"value": example.init_network(key_params, 1, 1.0)}
    obs, reached = jax.random.normal(key_obs, (2, steps, example.ENVS, 4))
    fell = jnp.zeros((steps, example.ENVS), bool).at[1].set(True)
    done = fell.at[3].set(True)  # the time ran out at step 3
    path = {"obs": obs, "reached": reached, "fell": fell, "done": done}
    advantage, target = example.advantages(params, path)
    now = np.float64(example.values(params, obs))
    then = np.float64(example.values(params, reached))
    expected = np.zeros((steps, example.ENVS))
    for start in range(steps):
        for step in range(start, steps):
            bootstrap = 0.0 if step == 1 else then[step]
            error = 1.0 + example.GAMMA * bootstrap - now[step]
            expected[start] += (example.GAMMA * example.LAMBDA) ** (step - start) * error
            if step in (1, 3):
                break
    rounding = 4 * steps * np.finfo(np.float32).eps * np.abs(expected).max()
    np.testing.assert_allclose(advantage, expected, atol=rounding)
    np.testing.assert_allclose(target, expected + now, atol=2 * rounding)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ppo", "dpo"])
def test_it_learns(example, name):
    returns = example.train(example.choose_drift(name), iterations=50)
    assert np.mean(returns[:3]) < 60  # a random agent balances for about 20 steps
    assert np.mean(returns[-5:]) > 400
