"""What a score is: its direction, and the words in which people read about it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType


@dataclass(frozen=True)
class Measure:
    """A kind of score.

    Attributes:
      label: of an axis, such as `Return`.
      score: what one score is; goes on "the interquartile mean of ...".
      lower_is_better: whether it is a loss.
      paired: whether the n-th scores of two candidates are of the same task, so that they are
        compared task by task.
      steps: what the axis of a curve counts.
      counter: under which metrics and costs count them.
      floor: who has `random_score`: 0 on a normalised scale.
      learned: what was learned, with a noun.
      place: what it is measured on; `places`: several.
      unit: what one score is of, such as a seed.
      lost: what became of a candidate without a finite score.
      progress: label of the losses or fitnesses of meta-training.
    """

    label: str
    score: str
    lower_is_better: bool = False
    paired: bool = False
    steps: str = "environment steps"
    counter: str = "env_steps"
    floor: str = "random agent"
    learned: str = "learned rule"
    place: str = "environment"
    places: str = "environments"
    unit: str = "seed"
    lost: str = "diverged or finished no episode"
    progress: str = "Fitness (mean return)"


def _of_training(label: str, score: str, lower_is_better: bool = True) -> Measure:
    return Measure(
        label=label,
        score=score,
        lower_is_better=lower_is_better,
        paired=True,
        steps="updates",
        counter="inner_updates",
        floor="untrained network",
        learned="learned optimizer",
        place="family of tasks",
        places="families of tasks",
        unit="task",
        lost="diverged",
        progress="Meta-loss",
    )


RETURN, TRAINING_LOSS, HELD_OUT_LOSS, SPEEDUP, MEMORY, SECONDS, BYTES = (
    "return",
    "training_loss",
    "held_out_loss",
    "speedup",
    "memory",
    "seconds",
    "bytes",
)

MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        RETURN: Measure(
            "Return", "the mean return of the episodes that ended in the last tenth of training"
        ),
        TRAINING_LOSS: _of_training(
            "Training loss", "the training loss after the last update, where 1 is nothing learned"
        ),
        HELD_OUT_LOSS: _of_training(
            "Loss on held-out data",
            "the loss on data that training never sees, where 1 is nothing learned",
        ),
        SPEEDUP: _of_training(
            "Speed-up",
            "the updates in which the best tuned baseline reaches the same training loss, in units "
            "of the updates taken",
            lower_is_better=False,
        ),
        MEMORY: Measure(
            "Memory",
            "the bytes of a device that one outer step needs beside its state",
            lower_is_better=True,
            paired=True,
            steps="updates of the longest lifetime",
            counter="inner_updates",
            place="experiment",
            places="experiments",
            unit="program",
        ),
        SECONDS: replace(
            _of_training("Seconds an update", "the seconds that one update takes"),
            unit="repetition",
        ),
        BYTES: replace(
            _of_training(
                "Bytes a parameter",
                "the bytes of a device that one update needs for each parameter, which are those "
                "of parameters, gradients and state too",
            ),
            unit="program",
        ),
    }
)
"""Every measure, by the name that results and claims use."""
