"""`metarl speed`: what it times, and what it refuses."""

import numpy as np
import pytest

from metarl.evaluation.metric import measure_metric
from metarl.evaluation.results import load_results
from metarl.run import cli

FAMILY = "quadratic?dimension=2"


def test_optimizers_are_timed_beside_adam(tmp_path, capsys):
    path = tmp_path / "speed.json"
    words = ["speed", "lopt-digits", "--family", FAMILY, "--family", f"3*{FAMILY}"]
    assert cli.main([*words, "--repeats", "2", "--json", str(path)]) == 0
    one, three = load_results(path)
    assert (one.env, three.env) == (FAMILY, f"3*{FAMILY}")
    assert (one.settings["parameters"], three.settings["parameters"]) == (2, 6)
    for result in (one, three):
        assert result.rules == ("adam", "lopt-digits")
        assert all(x.shape == (2,) and np.all(x > 0) for x in result.scores.values())
    # What a claim makes of it: the longer of the two against the shorter, repetition by repetition.
    metric = {"kind": "ratio", "rule": "adam", "baseline": "lopt-digits", "env": FAMILY}
    found = measure_metric({**metric, "against": f"3*{FAMILY}"}, [one, three])
    ratios = one.scores["adam"] / three.scores["lopt-digits"]
    assert found.value == pytest.approx(np.sqrt(ratios.prod()))  # the mean of two, in logarithms
    assert "lopt-digits: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["adm", "--family", FAMILY], "Did you mean 'adam'?"),
        (["adam", "--family", "quadratik"], "Did you mean 'quadratic'?"),
        (["adam", "--family", f"x*{FAMILY}"], "'x' is no number of networks"),
        (["adam", "--family", f"0*{FAMILY}"], "'0' is no number of networks"),
        (["adam", "--family", FAMILY, "--repeats", "0"], "repeats must be positive"),
        (["adam", "--family", FAMILY, "--json", "nowhere/x.json"], "there is no folder nowhere"),
    ],
)
def test_refused(words, message, capsys):
    assert cli.main(["speed", *words]) == 1
    assert message in capsys.readouterr().err
