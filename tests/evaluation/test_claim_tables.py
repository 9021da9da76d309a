"""The Markdown that is generated from claims."""

from dataclasses import replace

import pytest

from metarl.core.errors import ConfigError
from metarl.evaluation.claim_tables import full_table, headline_table, page, replace_marked
from metarl.evaluation.claims import measure

from .test_claims import CLAIM


@pytest.fixture
def failed(make_result):
    results = [make_result("toy/a", {"ppo": [480.0] * 5}, seconds=12.34)]
    claim = replace(CLAIM, threshold=481, criterion="interval")
    old = measure(CLAIM, results, date="2025-01-01")
    new = measure(claim, results, hardware="2 CPU", date="2026-01-02", note="Slow.")
    return claim.with_measurement(old).with_measurement(new)


def test_tables_keep_failures_and_the_unmeasured(failed):
    header, rule, first, second = full_table([failed, CLAIM]).splitlines()
    columns = {line.replace("\\|", "").count("|") for line in (header, rule, first, second)}
    assert columns == {11}
    assert first == (
        "| [PPO solves CartPole \\| really](claims/ppo-cartpole.json) | 480 [480, 480] "
        "| interval ≥ 481 | **failed** | 500 | 5 | 12 s | 2 CPU | 2026-01-02 | `ppo-cartpole` |"
    )
    assert second.count("not measured") == 2
    assert "| ≥ 475 |" in second


def test_the_readme_has_the_headlines_only(failed):
    assert len(headline_table([failed, CLAIM]).splitlines()) == 2
    shown = headline_table([replace(failed, headline=True), CLAIM]).splitlines()
    assert shown[2:] == [
        "| [PPO solves CartPole \\| really](docs/claims/ppo-cartpole.json) | 480 [480, 480] "
        "| interval ≥ 481 | **failed** |"
    ]


def test_the_page_says_what_is_measured(failed):
    claim = replace(failed, details="Mean return.", notes="Read it\nso.")
    text = page([claim])
    assert text.startswith(full_table([claim]))
    assert text.splitlines()[-1] == (
        "- `ppo-cartpole`: Mean return. Read it so. Slow. Source: Schulman et al. 2017."
    )


def test_the_marked_part_is_replaced_and_nothing_else():
    text = "# Top\n<!-- claims:begin -->\nold\n<!-- claims:end -->\ntail\n"
    once = replace_marked(text, "| new |")
    assert once == "# Top\n<!-- claims:begin -->\n| new |\n<!-- claims:end -->\ntail\n"
    assert replace_marked(once, "| new |") == once


@pytest.mark.parametrize(
    "text",
    [
        "no markers",
        "<!-- claims:end --> <!-- claims:begin -->",
        "<!-- claims:begin --> a <!-- claims:begin --> b <!-- claims:end -->",
    ],
)
def test_a_file_without_markers_is_refused(text):
    with pytest.raises(ConfigError, match="claims:begin"):
        replace_marked(text, "x")
