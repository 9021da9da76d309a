"""`metarl claims`, on claims of our own."""

import json
import re

import pytest

from metarl.core.errors import RunError
from metarl.evaluation.claims import Claim, load_claims, save_claim
from metarl.evaluation.results import EnvironmentResult, save_results
from metarl.run import claims, cli, commands

CLAIM = Claim(
    name="ppo-toy",
    statement="PPO reaches 475",
    paper="Schulman et al. 2017",
    system="G1",
    config={"command": ["eval", "ppo", "--env", "toy/a", "--seeds", "5", "--learner.gamma", "0.9"]},
    metric={"kind": "iqm", "rule": "ppo", "env": "toy/a"},
    threshold=475.0,
)


def _result(score):
    return EnvironmentResult(
        env="toy/a",
        steps=[10.0],
        curves={"ppo": [[score]] * 5},
        scores={"ppo": [score] * 5},
        seconds=3.0,
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    path = tmp_path / "claims"
    path.mkdir()
    save_claim(path, CLAIM)
    monkeypatch.setattr(claims, "folder", lambda: path)
    return path


@pytest.fixture
def asked(monkeypatch):
    """What is evaluated in place of agents: a fixed score, and the words that asked for it."""
    words = {"score": 480.0}

    def evaluations(options, overrides):
        words.update(options=options, overrides=overrides)
        yield _result(words["score"])

    monkeypatch.setattr(commands, "evaluations", evaluations)
    return words


def test_list_and_table(folder, capsys):
    assert cli.main(["claims", "list"]) == 0
    shown = capsys.readouterr().out
    assert shown.split() == ["ppo-toy", "not", "measured", *CLAIM.statement.split()]
    assert cli.main(["claims", "table"]) == 0
    assert "| [PPO reaches 475](claims/ppo-toy.json) | not measured |" in capsys.readouterr().out


def test_tables_are_written_into_files(folder, tmp_path, capsys):
    readme, page = tmp_path / "README.md", tmp_path / "claims.md"
    for file in (readme, page):
        file.write_text("top\n<!-- claims:begin -->\n<!-- claims:end -->\n")
    words = ["claims", "table", "--readme", str(readme), "--page", str(page)]
    assert cli.main(words) == 0
    assert capsys.readouterr().out == ""
    assert "PPO reaches 475" not in readme.read_text()  # it is no headline
    assert "- `ppo-toy`: Source: Schulman et al. 2017." in page.read_text()


def test_verify_measures_again(folder, asked, capsys):
    assert cli.main(["claims", "verify", "ppo-toy"]) == 0
    shown = capsys.readouterr().out
    assert "metarl eval ppo --env toy/a" in shown
    assert "passed: 480.0 [480.0, 480.0], threshold >= 475.0, 5 seeds" in shown
    assert asked["options"].env == ["toy/a"]
    assert asked["options"].seeds == 5
    assert asked["overrides"] == ["--learner.gamma", "0.9"]
    assert load_claims(folder) == [CLAIM]  # nothing is recorded unasked


def test_a_failure_is_told_and_recorded(folder, asked, capsys):
    asked["score"] = 100.0
    assert cli.main(["claims", "verify", "ppo-toy", "--write"]) == 1
    assert "failed: 100.0" in capsys.readouterr().out
    (claim,) = load_claims(folder)
    (measured,) = claim.measured
    assert (measured.status, measured.value, measured.seeds) == ("failed", 100.0, 5)
    assert re.fullmatch(r"(1 CPU core|\d+ CPU cores) \(\w+\)", measured.hardware)
    assert {"jax", "python", "metarl"} <= set(measured.versions)
    assert cli.main(["claims", "list"]) == 0
    assert "failed" in capsys.readouterr().out


def test_results_measured_before_are_judged(folder, tmp_path, capsys):
    save_results(tmp_path / "results.json", [_result(476.0)])
    words = ["claims", "verify", "ppo-toy", "--results", str(tmp_path / "results.json")]
    assert cli.main(words) == 0
    assert "passed: 476.0" in capsys.readouterr().out


def test_refused(folder, capsys):
    assert cli.main(["claims", "verify", "ppo-tyo"]) == 1
    assert "Did you mean 'ppo-toy'?" in capsys.readouterr().err
    path = folder / "ppo-toy.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "config": {"command": ["run", "lpo"]}}))
    assert cli.main(["claims", "verify", "ppo-toy"]) == 1
    assert "is measured by `metarl run`, which cannot be run again" in capsys.readouterr().err


def test_a_library_without_its_repository_has_no_claims(tmp_path, monkeypatch):
    monkeypatch.setattr(claims.metarl, "__file__", str(tmp_path / "metarl" / "__init__.py"))
    with pytest.raises(RunError, match="come with the repository"):
        claims.folder()
