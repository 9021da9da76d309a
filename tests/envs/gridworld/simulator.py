"""Grid worlds in plain Python, written from the rules; no array library decides anything here."""

import itertools
from functools import cache
from typing import NamedTuple

import numpy as np

from metarl.envs.gridworld import LevelDistribution, RandomItems, ScatteredWalls

MOVES = {0: (-1, 0), 1: (1, 0), 2: (0, -1), 3: (0, 1), 4: (0, 0)}

# Small and full of events: crowded, quick to respawn, not too quick to end.
EVENTFUL = LevelDistribution(
    horizon=(3, 12),
    items=RandomItems((1, 3), p_terminate=(0.05, 0.5), p_respawn=(0.1, 0.9)),
    height=(2, 4),
    width=(3, 4),
    layout=ScatteredWalls(5),
)


def host(tree):
    """The same NamedTuple with NumPy leaves."""
    return type(tree)(*(np.asarray(leaf) for leaf in tree))


def pick(tree, i):
    """Entry i of a batch."""
    return type(tree)(*(leaf[i] for leaf in tree))


class Plain(NamedTuple):
    """A state: cells are (row, column), `objects[i]` is None where object i is absent."""

    time: int
    agent: tuple
    objects: tuple


def free_cells(level):
    return {
        (r, c)
        for r in range(int(level.height))
        for c in range(int(level.width))
        if not level.walls[r][c]
    }


def to_cell(level, flat):
    return divmod(int(flat), len(level.walls[0]))


def move(level, agent, action):
    target = (agent[0] + MOVES[action][0], agent[1] + MOVES[action][1])
    return target if target in free_cells(level) else agent


def play(level, state, draws, action):
    """One step with given random numbers; returns (state, reward, terminated, truncated)."""
    agent = move(level, state.agent, int(action))
    reward, ends, objects = 0.0, False, list(state.objects)
    for i, cell in enumerate(state.objects):
        if cell == agent:
            reward += float(level.rewards[i])
            ends = ends or bool(draws.terminate < level.p_terminate[i])
            objects[i] = None
    candidates = [to_cell(level, flat) for flat in draws.cells if flat >= 0]
    for i, cell in enumerate(state.objects):
        if level.exists[i] and cell is None and draws.respawn[i] < level.p_respawn[i]:
            if not level.random_objects:
                objects[i] = tuple(int(x) for x in level.objects[i])
                continue
            vacant = [c for c in candidates if c != agent and c not in objects]
            objects[i] = vacant[0] if vacant else None
    time = state.time + 1
    return Plain(time, agent, tuple(objects)), reward, ends, time >= level.horizon and not ends


def exact_value(level, policy=None):
    """Expected return by recursion over every outcome, in Python floats: an expectimax.

    `policy` maps (time, agent, presence) to probabilities; None = the best action.
    """
    cells = [tuple(int(x) for x in cell) for cell in level.objects]
    exist = [bool(x) for x in level.exists]
    horizon = int(level.horizon)

    @cache
    def value(time, agent, present):
        if time == horizon:
            return 0.0
        values = []
        for action in MOVES:
            at = move(level, agent, action)
            taken = [i for i, here in enumerate(present) if here and cells[i] == at]
            reward = sum(float(level.rewards[i]) for i in taken)
            goes_on = np.prod([1.0 - float(level.p_terminate[i]) for i in taken])
            options = []
            for i, here in enumerate(present):
                comes = float(level.p_respawn[i]) if exist[i] and not here else 0.0
                stays = float(here and i not in taken)
                options.append(((True, stays + comes), (False, 1.0 - stays - comes)))
            future = 0.0
            for outcome in itertools.product(*options):
                weight = np.prod([p for _, p in outcome])
                if weight > 0 and goes_on > 0:
                    future += weight * value(time + 1, at, tuple(x for x, _ in outcome))
            values.append(reward + goes_on * future)
        if policy is None:
            return max(values)
        return float(np.dot(policy(time, agent, present), values))

    starts = [tuple(int(x) for x in level.start)]
    if level.random_start:
        starts = sorted(free_cells(level))
    return float(np.mean([value(0, start, tuple(exist)) for start in starts]))
