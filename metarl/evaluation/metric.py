"""Which number decides a claim: a tiny grammar of dicts, evaluated by code.

    {"kind": "iqm", "rule": R, "env": E}                        interquartile mean of final scores
    {"kind": "mean", "rule": R, "env": E}                       their mean
    {"kind": "iqm_difference", "rule": R, "baseline": B, "env": E}
    {"kind": "normalised_iqm", "rule": R, "envs": [E, ...]}     random agent 0, reference 1, pooled
    {"kind": "normalised_iqm_difference", "rule": R, "baseline": B, "envs": [E, ...]}
    {"kind": "steps_to", "rule": R, "env": E, "threshold": x}   environment steps to a return of x
    {"kind": "ratio", "rule": R, "baseline": B, "env": E}       of losses, task by task
    {"kind": "ratio", "rule": R, "baseline": B, "env": E, "against": F}    B's are those on F
    {"kind": "pooled_ratio", "rule": R, "baseline": B, "envs": [E, ...]}
    {"kind": "rules_better", "rules": [R, ...], "baseline": B, "envs": [E, ...]}
    {"kind": "rules_not_worse", "rules": [R, ...], "baseline": B, "envs": [E, ...]}

The last two count rules, such as those of several meta-training seeds, whose 95% interval of the
normalised difference from the baseline lies above zero, or does not lie below it.

The normalised ones and the counts take an optional `"reference"` (default `ppo`). E may be a family
of tasks, whose scores are losses: a difference is then how much lower, and steps are those to a
loss of x or less. Any of them takes `"of"`, a further measure of the same training runs:

    {"kind": "iqm", "rule": R, "env": E, "of": "speedup"}
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metarl.core.errors import ConfigError, check_choice, nearest
from metarl.evaluation.measures import MEASURES
from metarl.evaluation.results import EnvironmentResult, find_result
from metarl.evaluation.statistics import (
    Interval,
    compare,
    difference_interval,
    interval,
    normalised_scores,
    ratio_interval,
    stratified_bootstrap,
)

Results = Sequence[EnvironmentResult]
_NEVER = 1e6
"""Times the training budget: stands for "never" while seeds are averaged."""


def check_metric(metric: Mapping[str, Any]) -> None:
    """Raises ConfigError unless a metric is well formed: its kind, its fields and their types."""
    if "kind" not in metric:
        raise ConfigError(f"A metric needs a kind, one of {', '.join(sorted(_KINDS))}.")
    kind = _KINDS[check_choice("kind of metric", metric["kind"], _KINDS)]
    permitted = ("kind", *kind.required, *kind.optional, "of")
    for name in metric:
        if name not in permitted:
            raise ConfigError(
                f"Unknown field {name!r} of the metric {metric['kind']!r}."
                f"{nearest(name, permitted)} Permitted: {', '.join(permitted)}."
            )
    for name in kind.required:
        if name not in metric:
            raise ConfigError(f"The metric {metric['kind']!r} needs {name!r}.")
    for name, value in metric.items():
        if not _FIELDS[name](value):
            raise ConfigError(f"The metric {metric['kind']!r} has a bad {name!r}: {value!r}.")


def measure_metric(metric: Mapping[str, Any], results: Results) -> Interval:
    """Evaluates a metric with its 95% interval; may be infinite for `steps_to`.

    Raises:
      ConfigError: a malformed metric, or results without one of its environments or rules.
    """
    check_metric(metric)
    return _KINDS[metric["kind"]].function(metric, results)


def measured_seeds(metric: Mapping[str, Any], results: Results) -> int:
    """Smallest number of seeds among the scores that a metric rests on."""
    envs = metric.get("envs") or [metric["env"]]
    rules = [metric[name] for name in ("rule", "baseline") if name in metric]
    rules += metric.get("rules", [])
    return min(find_result(results, env).finite_scores(rule).size for env in envs for rule in rules)


def steps_to(result: EnvironmentResult, rule: str, threshold: float) -> np.ndarray:
    """Steps at which each seed's curve first reaches a return (or loss), `[S]`; inf if never."""
    curves = result.filled_curves(rule)
    reached = curves <= threshold if result.kind.lower_is_better else curves >= threshold
    first = result.steps[np.argmax(reached, axis=1)]
    return np.where(reached.any(axis=1), first, np.inf)


def _scores(metric: Mapping[str, Any], results: Results, role: str = "rule") -> np.ndarray:
    return _result(metric, results, metric["env"]).finite_scores(metric[role])


def _result(metric: Mapping[str, Any], results: Results, env: str) -> EnvironmentResult:
    return find_result(results, env).of(metric.get("of"))


def _normalised(
    metric: Mapping[str, Any], results: Results, role: str = "rule"
) -> dict[str, np.ndarray]:
    reference = metric.get("reference", "ppo")
    return {
        env: normalised_scores(_result(metric, results, env), metric[role], reference)
        for env in metric["envs"]
    }


def _iqm(metric: Mapping[str, Any], results: Results) -> Interval:
    return interval(_scores(metric, results))


def _mean(metric: Mapping[str, Any], results: Results) -> Interval:
    return stratified_bootstrap({"": _scores(metric, results)}, np.mean)


def _iqm_difference(metric: Mapping[str, Any], results: Results) -> Interval:
    return compare(_result(metric, results, metric["env"]), metric["rule"], metric["baseline"])


def _ratio(metric: Mapping[str, Any], results: Results) -> Interval:
    def scores(envs: Sequence[str], role: str) -> list[np.ndarray]:
        return [_result(metric, results, env).finite_scores(metric[role]) for env in envs]

    envs = metric.get("envs") or [metric["env"]]
    against = [metric["against"]] if "against" in metric else envs
    rule, baseline = scores(envs, "rule"), scores(against, "baseline")
    # By number: the same places, or one against another.
    return ratio_interval(
        {str(i): x for i, x in enumerate(rule)}, {str(i): x for i, x in enumerate(baseline)}
    )


def _normalised_iqm(metric: Mapping[str, Any], results: Results) -> Interval:
    return stratified_bootstrap(_normalised(metric, results))


def _normalised_iqm_difference(metric: Mapping[str, Any], results: Results) -> Interval:
    return difference_interval(
        _normalised(metric, results),
        _normalised(metric, results, "baseline"),
        paired=all(_result(metric, results, env).kind.paired for env in metric["envs"]),
    )


def _count(
    metric: Mapping[str, Any], results: Results, holds: Callable[[Interval], bool]
) -> Interval:
    shared = {name: x for name, x in metric.items() if name != "rules"}
    differences = [
        _normalised_iqm_difference({**shared, "rule": rule}, results) for rule in metric["rules"]
    ]
    count = float(sum(map(holds, differences)))
    return Interval(count, count, count)


def _rules_better(metric: Mapping[str, Any], results: Results) -> Interval:
    return _count(metric, results, lambda difference: difference.low > 0)


def _rules_not_worse(metric: Mapping[str, Any], results: Results) -> Interval:
    return _count(metric, results, lambda difference: difference.high >= 0)


def _steps_to(metric: Mapping[str, Any], results: Results) -> Interval:
    """Interquartile mean over seeds; infinite as soon as a seed of the middle half never arrives.

    "Never" is averaged as a huge number, so that any weight of it lifts the mean over the budget.
    """
    result = _result(metric, results, metric["env"])
    steps = steps_to(result, metric["rule"], metric["threshold"])
    budget = result.steps[-1]
    found = interval(np.where(np.isfinite(steps), steps, _NEVER * budget))
    return Interval(*(x if x <= budget else math.inf for x in found))


@dataclass(frozen=True)
class _Kind:
    function: Callable[[Mapping[str, Any], Results], Interval]
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()


def _is_name(x: Any) -> bool:
    return isinstance(x, str) and bool(x)


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x)


def _are_names(x: Any) -> bool:
    return isinstance(x, list) and bool(x) and all(map(_is_name, x)) and len(set(x)) == len(x)


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "kind": _is_name,
    "rule": _is_name,
    "rules": _are_names,
    "baseline": _is_name,
    "reference": _is_name,
    "env": _is_name,
    "envs": _are_names,
    "threshold": _is_number,
    "against": _is_name,
    "of": MEASURES.__contains__,
}

_KINDS = {
    "iqm": _Kind(_iqm, ("rule", "env")),
    "mean": _Kind(_mean, ("rule", "env")),
    "iqm_difference": _Kind(_iqm_difference, ("rule", "baseline", "env")),
    "normalised_iqm": _Kind(_normalised_iqm, ("rule", "envs"), ("reference",)),
    "normalised_iqm_difference": _Kind(
        _normalised_iqm_difference, ("rule", "baseline", "envs"), ("reference",)
    ),
    "ratio": _Kind(_ratio, ("rule", "baseline", "env"), ("against",)),
    "pooled_ratio": _Kind(_ratio, ("rule", "baseline", "envs")),
    "rules_better": _Kind(_rules_better, ("rules", "baseline", "envs"), ("reference",)),
    "rules_not_worse": _Kind(_rules_not_worse, ("rules", "baseline", "envs"), ("reference",)),
    "steps_to": _Kind(_steps_to, ("rule", "env", "threshold")),
}
