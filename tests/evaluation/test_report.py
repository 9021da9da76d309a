import re
from html.parser import HTMLParser

import pytest

from metarl.core.errors import RunError
from metarl.evaluation import style
from metarl.evaluation.report import Picture, ReportInputs, duration, render_report, save_report
from metarl.evaluation.report_page import flatten
from metarl.evaluation.verdict import verdict

EVIL = "<script>alert('x')</script>&\""


class Page(HTMLParser):
    """Collects elements, attributes and text, and checks that elements nest."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.links, self.text = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def inputs(make_result):
    results = [
        make_result("toy/home", {"learned": [12.0] * 4, "start": [1.0] * 4, "ppo": [10.0] * 4}),
        make_result("toy/away", {"learned": [9.0] * 4, "ppo": [10.0] * 4}, held_out=True),
    ]
    return ReportInputs(
        title=f"Run {EVIL}",
        experiment="lpo",
        config={"es": {"sigma": 0.05, "name": EVIL}, "hidden": [64, 64]},
        versions={"jax": "0.9.2"},
        rows=[{"generation": g, "fitness_mean": 10.0 * g, "diverged": 1} for g in (1, 2)],
        description="Drift function: subtract it.",
        pictures={
            "drift": Picture(style.message_figure("Drift", "."), "Drift", "Caption.", ("Text.",))
        },
        example_command="metarl eval {path} ppo a2c --env toy/home",
        results=results,
        cost={
            "seconds": {"evolution": 100.4, "of which compiling": 7, "evaluation": 20},
            "env_steps": 1234567,
            EVIL: 1,
        },
        artifact_path="runs/x/drift.safetensors",
        card={"licence": "Apache-2.0"},
        notes=[EVIL],
    )


def test_stands_alone_and_escapes(inputs):
    text = render_report(inputs)
    page = Page(text)
    assert "script" not in page.tags
    assert page.links
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert not re.search(r"@import|url\(|http", text)
    assert "<script" not in text
    assert EVIL in "".join(page.text)


def test_says_what_the_numbers_say(inputs):
    text = "".join(Page(render_report(inputs)).text)
    assert verdict(inputs.results).headline in text
    assert "beats PPO where it was trained and is" in text
    for fact in (
        "from 10.0 to 20.0", "2 members diverged", "+2.00 [+2.00, +2.00]", "1,234,567",
        "1 min 40 s", "2 min 00 s", "es.sigma", "0.05", "[64, 64]", "metarl run lpo",
        "Drift function: subtract it.", "Caption.", "Text.",
        "metarl eval runs/x/drift.safetensors ppo a2c", "Apache-2.0", "0.9.2", "toy/away",
    ):  # fmt: skip
        assert fact in text, fact
    order = ["What was learned", "How training went", "How it compares", "What it cost",
             "How to reproduce it"]  # fmt: skip
    places = [text.index(heading) for heading in order]
    assert places == sorted(places)


def test_a_run_that_was_killed_early_says_so():
    text = "".join(Page(render_report(ReportInputs("Empty", "lpo"))).text)
    for sentence in ("There is no verdict.", "No generation was recorded", "Nothing was evaluated",
                     "Nothing was drawn", "No cost was recorded"):  # fmt: skip
        assert sentence in text


def test_results_without_a_finite_score_are_shown(make_result):
    lost = make_result("toy/a", {"learned": [float("nan")], "ppo": [float("nan")]})
    lost = make_result("toy/a", lost.scores, random_score=None)
    text = "".join(Page(render_report(ReportInputs("Lost", "lpo", results=[lost]))).text)
    assert text.count("no finite score") >= 2


def test_files_are_written(inputs, tmp_path):
    save_report(tmp_path / "report.html", inputs, tmp_path / "figures")
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == ["drift.png", "learning_curves.png", "scores.png", "training.png"]
    assert not [path for path in tmp_path.iterdir() if "tmp" in path.suffix]
    with pytest.raises(RunError, match="absent"):
        save_report(tmp_path / "absent" / "report.html", ReportInputs("x", "lpo"))


def test_small_helpers():
    assert flatten({"a": {"b": 1, "c": {"d": "x"}}, "e": None}) == {
        "a.b": "1", "a.c.d": "x", "e": "null",
    }  # fmt: skip
    assert [duration(x) for x in (8.44, 200, 7500)] == ["8.4 s", "3 min 20 s", "2 h 05 min"]
