"""What the documentation shows is what the library does: its code runs, its commands parse.

The Python blocks of a page run in order in one namespace, in an empty folder; nothing is skipped.
"""

import shlex
from pathlib import Path

import jax
import pytest

from metarl import envs
from metarl.envs.names import base_name
from metarl.evaluation import claim_tables, claims
from metarl.run import experiments, parser

from .pages import PAGES, ROOT, blocks, commands, links, read_blocks

GUIDES = [page for page in PAGES if page.startswith("docs/guides/")]


def metarl_commands(page):
    for block in read_blocks(page, "bash", "console", "sh"):
        for command in commands(block):
            words = shlex.split(command)
            if words and Path(words[0]).name == "metarl":
                yield words[1:]


def check_command(words):
    """Raises (SystemExit or a MetarlError) unless the command line understands the words."""
    options, overrides = parser.parse(words)
    if options.command == "run" and not options.settings:
        experiment = experiments.load(options.experiment)
        experiments.configure(experiment, options.preset, overrides)
    for name in getattr(options, "env", None) or ():
        assert base_name(name) in envs.registered()


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.slow
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page"}
    with jax.numpy_rank_promotion("allow"):  # as on a reader's machine
        for block in read_blocks(page, "python"):
            # Empty lines before it make a traceback name the line of the page.
            code = "\n" * (block.line - 1) + block.text
            exec(compile(code, str(ROOT / page), "exec"), namespace)


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_understood(page):
    for words in metarl_commands(page):
        check_command(words)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    folder = (ROOT / page).parent
    missing = [t for t in links((ROOT / page).read_text("utf-8")) if not (folder / t).exists()]
    assert missing == []


@pytest.mark.parametrize("page", ["README.md", *GUIDES])
def test_a_page_for_users_shows_code(page):
    assert read_blocks(page, "python")


def test_the_readme_names_the_commands_that_ci_runs():
    shown = [command for b in read_blocks("README.md", "bash", "sh") for command in commands(b)]
    assert "python3 -m venv .venv" in shown
    assert '.venv/bin/pip install -e ".[dev]"' in shown
    assert ".venv/bin/metarl run lpo" in shown
    assert any(command.startswith(".venv/bin/python -m pytest") for command in shown)


def test_the_reader_of_pages_sees_blocks_commands_and_links():
    shell = "```bash\nx \\\n  y && z  # no\n```\n"
    page = f"a [b](c.md#d) [e](https://f)\n{shell}```python\n1 / 0\n```\n"
    shell, python = blocks(page)
    assert (shell.language, shell.line, commands(shell)) == ("bash", 3, ["x    y", "z"])
    assert (python.text, python.line) == ("1 / 0\n", 7)
    assert links(page) == ["c.md"]
    with pytest.raises(ValueError, match="never ends"):
        blocks("```python\n1\n")


@pytest.mark.parametrize(
    "words",
    ["run lpo --outer.generation 3", "run lop", "evaluate ppo", "run lpo --es.population -1"],
)
def test_the_check_of_commands_finds_a_wrong_one(words):
    with pytest.raises((SystemExit, ValueError)):
        check_command(words.split())


def test_the_tables_are_the_claims():
    """What stands between the markers is what `metarl claims table` writes there."""
    found = claims.load_claims(ROOT / "docs" / "claims")
    for page, generated in (
        ("README.md", claim_tables.headline_table(found)),
        ("docs/claims.md", claim_tables.page(found)),
    ):
        text = (ROOT / page).read_text(encoding="utf-8")
        again = "run: metarl claims table --readme README.md --page docs/claims.md"
        assert claim_tables.replace_marked(text, generated) == text, again


def test_claims_fit_a_line_and_ten_are_headlines():
    found = claims.load_claims(ROOT / "docs" / "claims")
    assert [claim.name for claim in found if len(claim.statement) > 90] == []
    assert 0 < sum(claim.headline for claim in found) <= 10
    shown = {claim.measured[-1].status for claim in found if claim.headline}
    assert shown == {"passed", "failed"}
