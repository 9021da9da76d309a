"""Results and durations as lines of text."""

from metarl.evaluation.measures import MEASURES
from metarl.evaluation.results import EnvironmentResult
from metarl.evaluation.statistics import interquartile_mean


def duration(seconds: float) -> str:
    """Formats seconds as `42s`, `3m05s` or `2h07m`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def describe_result(result: EnvironmentResult) -> str:
    """One line for people: the interquartile mean of every rule, and how many agents diverged."""
    means = interquartile_means(result)
    text = ", ".join(
        f"{rule} {'no finite score' if mean is None else format(mean, '.4g')}"
        for rule, mean in means.items()
    )
    lost = ", ".join(f"{count} of {rule}" for rule, count in result.diverged.items() if count)
    diverged = f"; diverged: {lost}" if lost else ""
    further = "".join(f"; {_further(result, name)}" for name in result.further)
    return f"{result.env}: {text}{further}  ({duration(result.seconds)}){diverged}"


def _further(result: EnvironmentResult, name: str) -> str:
    means = interquartile_means(result.of(name)).items()
    values = ", ".join(f"{rule} {'none' if x is None else format(x, '.3g')}" for rule, x in means)
    return f"{MEASURES[name].label.lower()}: {values}"


def interquartile_means(result: EnvironmentResult) -> dict[str, float | None]:
    """The interquartile mean of every rule; None where no score is finite."""
    if result.worst_score() is None:
        return dict.fromkeys(result.scores)
    return {rule: float(interquartile_mean(result.finite_scores(rule))) for rule in result.scores}
