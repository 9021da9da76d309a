"""What the report of a run on levels shows: levels, an episode, and how a curriculum moved."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metarl.core.contracts import Curriculum
from metarl.core.keys import split_named
from metarl.core.types import Array, Key, PyTree, Theta
from metarl.envs.gridworld.level import Level
from metarl.evaluation.report import Picture
from metarl.inner.rule_agent import RuleAgent
from metarl.problems.update_rule.curriculum_figure import (
    SCORE,
    CurriculumMoment,
    LevelHistogram,
    curriculum_figure,
    summarise,
)
from metarl.problems.update_rule.level_pictures import episode_figure, levels_figure
from metarl.rl.distributions import Categorical, action_noise
from metarl.rules.update_rule import LOGITS
from metarl.tasks.curricula.level_replay import LevelReplay
from metarl.tasks.lifetimes import Lifetimes

_FEATURES: Mapping[str, Callable[[Level], Array]] = {
    "Rows": lambda level: level.height,
    "Objects": lambda level: jnp.sum(level.exists, axis=-1),
    "Horizon": lambda level: level.horizon,
}
_EDGES: Mapping[str, np.ndarray] = {
    "Rows": np.arange(2.5, 14.0),
    "Objects": np.arange(0.5, 8.0),
    "Horizon": np.round(np.geomspace(5, 2000, 13)),
    SCORE: np.linspace(-2.0, 4.0, 25),
}


def level_pictures(
    agent: RuleAgent, tasks: Lifetimes, key: Key, theta: Theta
) -> dict[str, Picture]:
    """Levels of training, and an episode of an agent that learned on one; only of grid worlds."""
    if not isinstance(agent.env.default_params, Level):
        return {}
    key_levels, key_task, key_life, key_episode = split_named(
        key, "levels", "task", "life", "episode"
    )
    task = jax.jit(tasks.sample)(key_task)

    @jax.jit
    def learn(key: Key, theta: Theta) -> PyTree:
        key_init, key_steps = split_named(key, "init", "steps")
        state = agent.init(key_init, theta, task)
        keys = jax.random.split(key_steps, agent.config.updates)
        return jax.lax.scan(
            lambda state, key: (agent.step(key, theta, task, state)[0], None), state, keys
        )[0].params

    params = learn(key_life, theta)

    def policy(key: Key, obs: Array) -> Array:
        noise = action_noise(key, (agent.actions,), True)
        return Categorical(agent.apply(params, obs)[LOGITS]).sample(noise)

    return {
        "levels": Picture(
            levels_figure(agent.env, key_levels),
            "Levels of training",
            "Some of the levels. Blue squares pay, orange ones cost, the stronger the more; the "
            "disc is the agent, dark cells are walls.",
        ),
        "episode": Picture(
            episode_figure(agent.env, task.task, policy, key_episode),
            "An episode",
            "An agent that was trained by the learned rule, on a fresh level; a hollow "
            "square was collected.",
        ),
    }


def observe(curriculum: Curriculum, state: PyTree) -> dict[str, Any]:
    """Counts what a curriculum keeps, as one row of a file; empty for one that keeps nothing."""
    if not isinstance(curriculum, LevelReplay):
        return {}
    moment = _moment(curriculum, jax.device_get(state))
    counts = {name: entry.counts.tolist() for name, entry in moment.features.items()}
    return {**counts, SCORE: moment.scores.counts.tolist()}


def _moment(curriculum: LevelReplay, state: PyTree) -> CurriculumMoment:
    snapshot = curriculum.snapshot(state)
    levels = snapshot["levels"].task
    features = _FEATURES if isinstance(levels, Level) else {}
    of_env = {name: lambda tasks, f=f: f(tasks.task) for name, f in features.items()}
    return summarise(0.0, snapshot, of_env, _EDGES)


def curriculum_picture(rows: Sequence[Mapping[str, Any]], score: str) -> dict[str, Picture]:
    """How the distribution of levels moved; nothing without rows.

    Args:
      rows: of `observe`, each with its `generation`.
      score: what levels were scored by.
    """
    if not rows:
        return {}
    moments = [
        CurriculumMoment(
            float(row["generation"]),
            {n: LevelHistogram(_EDGES[n], np.asarray(row[n])) for n in _FEATURES if n in row},
            LevelHistogram(_EDGES[SCORE], np.asarray(row[SCORE])),
        )
        for row in rows
    ]
    return {
        "curriculum": Picture(
            curriculum_figure(moments, score_label=score.replace("_", " ").capitalize()),
            "How the distribution of levels moved",
            "The levels that the buffer keeps, and their scores, over outer steps.",
        )
    }
