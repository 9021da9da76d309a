"""`metarl score` and `metarl envelope`, and claims that are measured by them."""

import json

import numpy as np
import pytest

from metarl.evaluation.claims import Claim, load_claims, save_claim
from metarl.evaluation.results import load_results
from metarl.problems.optimizer.envelope_files import load_envelopes
from metarl.run import claims, cli

FAMILY = "quadratic?dimension=2&condition=1&curvature=1"
SMALL = ["--steps", "6", "--tasks", "2", "--rates", "0.1", "0.5", "--reach", "2"]


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Results of a score of a baseline that is trained in any case, and of one that is not."""
    path = tmp_path_factory.mktemp("score") / "results.json"
    words = ["score", "adam", "adamw-cosine", "--family", FAMILY, *SMALL, "--json", str(path)]
    assert cli.main(words) == 0
    return path


def test_a_score(scored, capsys):
    (result,) = load_results(scored)
    assert result.env == FAMILY
    assert result.rules == ("adam", "adamw", "sgd", "adamw-cosine")
    assert all(x.size == 2 for x in result.scores.values())
    assert set(result.further["speedup"]) == set(result.rules)
    # Nobody beats the envelope of which it is a part.
    for name in ("adam", "adamw", "sgd"):
        assert (result.of("speedup").scores[name] <= 1 + 1e-6).all()
    capsys.readouterr()


def test_a_claim_about_optimizers_is_measured_again(scored, tmp_path, monkeypatch, capsys):
    claim = Claim(
        name="toy",
        statement="Adam against SGD",
        paper="nobody",
        system="C1",
        config={"command": ["score", "adam", "--family", FAMILY, *SMALL]},
        metric={"kind": "ratio", "rule": "adam", "baseline": "sgd", "env": FAMILY},
        threshold=1e6,
        direction="<=",
        criterion="interval",
    )
    save_claim(tmp_path, claim)
    monkeypatch.setattr(claims, "folder", lambda: tmp_path)
    assert cli.main(["claims", "verify", "toy", "--results", str(scored), "--write"]) == 0
    (saved,) = load_claims(tmp_path)
    (result,) = load_results(scored)
    ratio = np.exp(np.log(result.scores["adam"] / result.scores["sgd"]).mean())
    # The interquartile mean of two is their mean; claims keep what JSON keeps.
    assert saved.measured[0].value == pytest.approx(ratio, rel=1e-12)
    assert saved.measured[0].seeds == 2
    assert "passed" in capsys.readouterr().out
    # And by running the command, through the same code as `metarl score`.
    assert cli.main(["claims", "verify", "toy", "--write"]) == 0
    again = load_claims(tmp_path)[0].measured[1]
    assert again.value == pytest.approx(ratio, rel=1e-6)


@pytest.mark.slow
def test_an_envelope_and_a_score_against_it(tmp_path, capsys):
    path = tmp_path / "toy.json"
    words = ["envelope", FAMILY, "--out", str(path), "--steps", "12", "--points", "12"]
    words += ["--tasks", "2", "--seeds", "1", "--rates", "0.1", "0.5", "--baselines", "adam"]
    assert cli.main(words) == 0
    stored = load_envelopes(path)
    assert stored.made["rates"] == [0.1, 0.5]
    assert [entry.steps[-1] for entry in stored.envelopes] == [12, 12]
    assert "task 2: " in capsys.readouterr().out

    out = tmp_path / "results.json"
    words = ["score", "adam", "--family", FAMILY, *SMALL, "--envelope", str(path)]
    assert cli.main([*words, "--json", str(out)]) == 0
    (result,) = load_results(out)
    assert result.rules == ("adam",)
    # The same tasks, networks and batches: Adam here is a part of that envelope.
    assert (result.of("speedup").scores["adam"] <= 1 + 1e-5).all()
    assert cli.main([*words, "--seed", "1"]) == 1
    assert "of seed 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["score", "adma", "--family", FAMILY], "Did you mean 'adam'"),
        (["score", "adam", "--family", "quadratik"], "Did you mean 'quadratic'"),
        (["score", "adam", "--family", FAMILY, "--steps", "0"], "steps must be positive"),
        (["score", "adam", "--family", FAMILY, "--horizons", "0"], "must be positive"),
        (["score", "adam", "--family", FAMILY, "--envelope", "mlp"], "Unknown envelope"),
        (["score", "adam", "--family", FAMILY, "--json", "/nowhere/x.json"], "no folder"),
        (["envelope", FAMILY, "--out", "x.json", "--baselines", "sdg"], "Did you mean 'sgd'"),
        (["envelope", FAMILY, "--out", "/nowhere/x.json"], "no folder"),
        (["envelope", FAMILY, "--out", "x.json", "--rates", "-1"], "must be positive"),
    ],
)
def test_refused(words, message, capsys):
    assert cli.main(words) == 1
    assert message in capsys.readouterr().err


def test_results_are_strict_json(scored):
    def refuse(constant):
        raise AssertionError(constant)

    json.loads(scored.read_text(), parse_constant=refuse)
