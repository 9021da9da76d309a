"""Names and prose of the code use the field's terms, so that readers of the papers can search."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    path
    for folder in ("metarl", "kernels", "experiments")
    for path in (ROOT / folder).rglob("*.py")
)
WORDS = re.compile(
    r"\b(lives|life|lived|told|believes|hears|nursery|exams?|tickets?|entrants?|contenders?|everyone"
    r"|hand-made|hand_made|written down|shipped|undescribed|remembered|antagonists?)\b",
    re.IGNORECASE,
)
PROPER = {
    # Strings that seed random numbers keep the words of the first version.
    "seeds": re.compile(r"split_named\(|named\(|^\s*key, (\"\w+\",? ?)+$"),
    # Former names of settings, which the command line answers.
    "former settings": re.compile(r'^\s*\(r?"lives'),
    # PAIRED's and GROOVE's own word.
    "cited": re.compile(r"called antagonist by"),
}


def home_made(text: str) -> list[str]:
    """Lines with a word that the field does not use."""
    return [
        line.strip()
        for line in text.splitlines()
        if WORDS.search(line) and not any(proper.search(line) for proper in PROPER.values())
    ]


def test_the_code_speaks_the_fields_language():
    found = {str(path.relative_to(ROOT)): home_made(path.read_text()) for path in FILES}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize("line", ["class Nursery:", "# what it is told", "lives: int = 3"])
def test_the_check_sees_a_home_made_word(line):
    assert home_made(line) == [line]


def test_proper_uses_are_allowed():
    assert home_made('key_a, key_b = split_named(key, "life", "exam")\nlifetime: int') == []
