"""What `scripts/gpu_check.py` does on a GPU, as far as a machine without one can tell."""

import importlib
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from metarl.kernels.lopt_update import NAMES, arg_specs

from tests.kernels.cross_lowering import lowered_for_gpu

pytestmark = pytest.mark.kernel
SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield importlib.import_module
    for name in ("gpu_check", "gpu_timing"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        ("adafac 4, pallas_gpu, in place", 4),
        ("adafac 32, pallas_gpu_tf32x3", 4),
        ("celo2, pallas_gpu", 4),
        ("adafac 4, unfolded", 0),
        ("AdamW (28 bytes)", 0),
    ],
)
def test_loops_are_programs_for_a_gpu(script, monkeypatch, name, kernels):
    """Two kernels for each of two matrices of different shapes; the vectors need none."""
    timing = script("gpu_timing")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    model = timing.Model([(32, 48), (5, 33), (7,), (9,)], copies=3)
    contender = timing.makers(True)[name](model)
    shapes = jax.eval_shape(contender.step, contender.moving, contender.given)
    assert jax.tree.map(np.shape, shapes) == jax.tree.map(np.shape, contender.moving)
    text = lowered_for_gpu(timing.looped(contender), contender.moving, contender.given)
    assert text.count("@__gpu$xla.gpu.triton") == kernels
    assert "stablehlo.while" in text


def test_all_models_fit_their_names(script):
    timing = script("gpu_timing")
    sizes = {name: model.size for name, model in timing.MODELS.items()}
    assert {name: round(size, -len(str(size)) + 2) for name, size in sizes.items()} == {
        "MLP, 1.2M": 1_200_000,
        "512 MLPs of 2,410": 1_200_000,
        "ViT-B, 86M": 86_000_000,
        "GPT-2 medium, 355M": 350_000_000,
        "decoder, 1.3B": 1_300_000_000,
    }


def test_the_reference_does_not_differ_from_itself(script):
    check = script("gpu_check")
    rng = np.random.default_rng(0)
    spec = arg_specs.ArgSpec("", (6, 5), (2,))
    assert check.difference(rng, "adafac 4", spec, "reference") < 1e-6
    assert check.difference(rng, "adafac 4", spec, "unfolded") < check.BOUNDS["pallas_gpu"]
    assert check.difference(rng, "adafac 4", spec, "unfolded") > 0


def test_every_kernel_is_compared(script):
    assert set(script("gpu_check").BOUNDS) == set(script("gpu_timing").KERNELS)
    assert set(script("gpu_timing").KERNELS) == {n for n in NAMES if n.startswith("pallas_gpu")}


def test_without_a_gpu_it_says_so(script, monkeypatch, capsys, tmp_path):
    check = script("gpu_check")
    path = tmp_path / "report.json"
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--minutes", "0", "--json", str(path)])
    check.main()
    said = capsys.readouterr().out
    for words in ("NO GPU", "this ran on no GPU", "out of time"):
        assert words in said
    assert '"gpu": false' in path.read_text()
