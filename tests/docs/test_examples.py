"""The example scripts run, with small sizes."""

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "examples"
SMALL = {
    "learned_loss": {"steps": 1, "population": 2, "total_steps": 512},
    "learned_optimizer": {"steps": 2, "lifetime": 20, "num_parallel": 2},
    "own_estimator": {"steps": 20, "updates": 5},
    "own_task_family": {"steps": 2, "updates": 2},
}


def test_every_example_is_tested():
    others = {"plain_jax"}  # see test_plain_jax.py
    assert {path.stem for path in FOLDER.glob("*.py")} - others == set(SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_an_example_runs(name, capsys):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    theta = module.main(**SMALL[name])
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(theta))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step")]
    assert lines
    if name == "own_estimator":
        losses = [float(line.split()[-1]) for line in lines]
        assert losses[-1] < losses[0]
