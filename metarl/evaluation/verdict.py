"""The summary sentences of a report, generated from its results."""

from collections.abc import Sequence
from typing import NamedTuple

from metarl.core.errors import ConfigError
from metarl.evaluation.measures import Measure
from metarl.evaluation.results import EnvironmentResult
from metarl.evaluation.statistics import (
    Interval,
    compare,
    difference_interval,
    interval,
    normalised_scores,
)
from metarl.evaluation.style import START, baselines, label, references


class Verdict(NamedTuple):
    """A verdict.

    Attributes:
      headline: one sentence.
      paragraph: the numbers behind it.
    """

    headline: str
    paragraph: str


def reference_of(results: Sequence[EnvironmentResult]) -> str:
    """The baseline that stands for 1 in normalized scores: the first registered one measured."""
    present = {rule for result in results for rule in result.rules}
    candidates = [*references(), *baselines()]
    return next((name for name in candidates if name in present), next(iter(candidates), START))


def _baselines_in(results: Sequence[EnvironmentResult], learned: str) -> list[str]:
    """Theta before meta-training and every measured baseline, in the order of the results."""
    present = dict.fromkeys(rule for result in results for rule in result.rules)
    known = [rule for rule in present if rule in baselines()]
    return [rule for rule in (START, *known) if rule in present and rule != learned]


def verdict(results: Sequence[EnvironmentResult], learned: str = "learned") -> Verdict:
    """Says whether the learned rule beats its start, PPO and DPO, seen and unseen environments.

    "Beats" means that the 95% interval of the difference of interquartile means lies above zero.
    """
    judged = [r for r in results if learned in r.rules and r.worst_score() is not None]
    if not judged:
        return Verdict(
            "There is no verdict.",
            f"The rule {learned!r} was not evaluated, or no evaluation has a finite score: the run "
            "may have ended before its evaluation.",
        )
    seen = [r for r in judged if not r.held_out]
    unseen = [r for r in judged if r.held_out]
    parts = [_seen_words(r, learned) for r in seen]
    reference = reference_of(results)
    parts.append(_unseen_words(unseen, learned, reference, judged[0].kind))
    return Verdict(_headline(seen, unseen, learned, reference), " ".join(parts))


def describe_difference(difference: Interval, baseline: str) -> str:
    """Says whether a difference from a baseline is an improvement, with its interval."""
    numbers = with_bounds(difference, signed=True)
    if difference.verdict == "better":
        return f"beats {baseline} by {numbers}"
    if difference.verdict == "worse":
        return f"does not beat {baseline}: it is worse, {numbers}"
    return f"does not beat {baseline}: the difference {numbers} includes zero"


def number(x: float, size: float | None = None, *, signed: bool = False) -> str:
    """Formats to three significant digits of `size` (default `|x|`): `495`, `24.9`, `-0.512`."""
    size = abs(x) if size is None else size
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    text = f"{x:+,.{digits}f}" if signed else f"{x:,.{digits}f}"
    if not float(text.replace(",", "")):
        return f"{0:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def with_bounds(x: Interval, *, signed: bool = False) -> str:
    """Formats an interval, all its numbers with the same decimals: `495 [491, 498]`."""
    size = max(map(abs, x))
    value, low, high = (number(entry, size, signed=signed) for entry in x)
    return f"{value} [{low}, {high}]"


def pooled_difference(
    results: Sequence[EnvironmentResult], learned: str, baseline: str, reference: str
) -> tuple[Interval, int] | None:
    """Difference of interquartile means of normalised scores pooled over environments.

    A score is normalised so that the random agent has 0 and the reference 1.

    Returns:
      The difference and the number of environments that could be normalised; None without any.
    """
    a, b = {}, {}
    paired = all(result.kind.paired for result in results)
    for result in results:
        try:
            ours = normalised_scores(result, learned, reference)
            theirs = normalised_scores(result, baseline, reference)
        except ConfigError:
            continue
        a[result.env], b[result.env] = ours, theirs
    return (difference_interval(a, b, paired=paired), len(a)) if a else None


def _seen_words(result: EnvironmentResult, learned: str) -> str:
    score = interval(result.finite_scores(learned))
    text = (
        f"On {result.env}, where it was trained, the {result.kind.learned} reaches "
        f"{with_bounds(score)} (interquartile mean of {result.scores[learned].size} "
        f"{result.kind.unit}s)"
    )
    compared = _baselines_in([result], learned)
    words = [describe_difference(compare(result, learned, b), _name(b)) for b in compared]
    text += f": it {'; it '.join(words)}." if words else "."
    return text + _lost_words(result, learned)


def _unseen_words(
    results: Sequence[EnvironmentResult], learned: str, reference: str, kind: Measure
) -> str:
    if not results:
        return f"It was not evaluated on any {kind.place} that it had never seen."
    compared = [r for r in results if reference in r.rules]
    if not compared:
        return f"On {kind.places} it never saw it was not compared with {_name(reference)}."
    verdicts = [compare(r, learned, reference).verdict for r in compared]
    better, unclear, worse = (verdicts.count(v) for v in ("better", "undecided", "worse"))
    name, place = _name(reference), kind.places if len(compared) != 1 else kind.place
    text = (
        f"Against {name} on {len(compared)} {place} that it never saw, it is better on "
        f"{better}, not clearly different on {unclear}, worse on {worse}."
    )
    words, pooled = [], 0
    for baseline in _baselines_in(results, learned):
        having = [r for r in results if baseline in r.rules]
        if found := pooled_difference(having, learned, baseline, reference):
            words.append(describe_difference(found[0], _name(baseline)))
            pooled = max(pooled, found[1])
    if words:
        which = "all of them" if pooled == len(results) else f"the {pooled} that can be rescaled"
        text += f" Over {which} ({kind.floor} 0, {name} 1) it {'; it '.join(words)}."
    return text + "".join(_lost_words(r, learned) for r in results)


def _lost_words(result: EnvironmentResult, learned: str) -> str:
    lost = result.unscored(learned)
    if not lost:
        return ""
    return (
        f" On {result.env}, {lost} of its {result.kind.unit}s {result.kind.lost}, which counts as "
        "the worst score there."
    )


def _headline(
    seen: Sequence[EnvironmentResult],
    unseen: Sequence[EnvironmentResult],
    learned: str,
    reference: str,
) -> str:
    """One sentence on the comparison with the reference, and one if even the start is unbeaten."""
    name, kind = _name(reference), [*seen, *unseen][0].kind
    at_home = [compare(r, learned, reference).verdict for r in seen if reference in r.rules]
    pooled = pooled_difference(unseen, learned, reference, reference)
    away = pooled[0].verdict if pooled else None
    text = f"The {kind.learned} " + _outcome(_joint(at_home), away, name, kind.places)
    starts = [compare(r, learned, START) for r in seen if START in r.rules]
    if any(d.verdict != "better" for d in starts):
        text += " It does not beat its own start."
    return text


def _joint(verdicts: Sequence[str]) -> str | None:
    """Verdict over several places: worse where any is, better where all are; None without one."""
    if not verdicts:
        return None
    if "worse" in verdicts:
        return "worse"
    return "better" if set(verdicts) == {"better"} else "undecided"


_VERBS = {"better": "beats", "undecided": "is level with", "worse": "is worse than"}


def _outcome(home: str | None, away: str | None, name: str, places: str) -> str:
    """Words for two verdicts, where it was trained and on held-out places; None = not measured."""
    here, there = "where it was trained", f"on held-out {places}"
    if home is None and away is None:
        return f"was not compared with {name}."
    if home is None or away is None:
        place, verdict = (there, away) if home is None else (here, home)
        return f"{_VERBS[verdict or 'undecided']} {name} {place}."
    if home == away:
        return f"{_VERBS[home]} {name}, both {here} and {there}."
    return f"{_VERBS[home]} {name} {here} and {_VERBS[away]} it {there}."


def _name(baseline: str) -> str:
    return "its own start" if baseline == START else label(baseline)
