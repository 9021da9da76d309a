"""Generated texts: arithmetic, and sentences of a small grammar. Both are deterministic."""

import numpy as np

from metarl.tasks.datasets.dataset import Text

_HELD_OUT = 0.1
"""Fraction of held-out lines."""

_WORDS = {
    "determiner": ("the", "a", "every", "no", "this"),
    "adjective": ("red", "small", "old", "quick", "quiet", "round", "heavy", "bright"),
    "noun": ("fox", "river", "stone", "teacher", "lamp", "garden", "cloud", "wheel", "letter"),
    "name": ("ada", "kurt", "emmy", "alan", "sofia"),
    "verb": ("sees", "moves", "finds", "breaks", "paints", "follows", "keeps"),
    "stands": ("sleeps", "falls", "waits", "shines", "returns"),
    "near": ("under", "behind", "near", "above"),
}


def arithmetic() -> Text:
    """Returns all sums and differences of numbers below 100, such as `17+25=42`, one per line."""
    lines = [f"{a}+{b}={a + b}" for a in range(100) for b in range(100)]
    lines += [f"{a}-{b}={a - b}" for a in range(100) for b in range(100)]
    order = np.random.RandomState(0).permutation(len(lines))
    return _text("arithmetic", [lines[i] for i in order])


def grammar(sentences: int = 5000) -> Text:
    """Returns distinct sentences such as `the old fox sees a lamp near ada.`, one per line."""
    random = np.random.RandomState(0)
    lines: dict[str, None] = {}
    while len(lines) < sentences:
        lines[_sentence(random)] = None
    return _text("grammar", list(lines))


def _sentence(random: np.random.RandomState) -> str:
    words = _thing(random)
    if random.rand() < 0.7:
        words += [_word(random, "verb"), *_thing(random)]
    else:
        words += [_word(random, "stands")]
    if random.rand() < 0.4:
        words += [_word(random, "near"), *_thing(random)]
    return " ".join(words) + "."


def _thing(random: np.random.RandomState) -> list[str]:
    if random.rand() < 0.2:
        return [_word(random, "name")]
    adjectives = [_word(random, "adjective")] if random.rand() < 0.5 else []
    return [_word(random, "determiner"), *adjectives, _word(random, "noun")]


def _word(random: np.random.RandomState, kind: str) -> str:
    words = _WORDS[kind]
    return words[random.randint(len(words))]


def _text(name: str, lines: list[str]) -> Text:
    """Encodes characters as indices, and holds out the last lines."""
    characters = "".join(sorted({"\n"}.union(*lines)))
    number = {character: i for i, character in enumerate(characters)}
    held_out = int(_HELD_OUT * len(lines))

    def encoded(part: list[str]) -> np.ndarray:
        return np.array([number[c] for line in part for c in line + "\n"], np.uint8)

    return Text(name, encoded(lines[:-held_out]), encoded(lines[-held_out:]), characters)
