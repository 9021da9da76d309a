"""Grid worlds with levels as data: dynamics, published distributions, exact optimum, rendering."""

from metarl.envs.gridworld.distributions import LevelDistribution, LevelMixture
from metarl.envs.gridworld.dynamics import ACTIONS, GridState, state_index
from metarl.envs.gridworld.environment import NAMES, grid_world, make
from metarl.envs.gridworld.items import GivenItems, RandomItems
from metarl.envs.gridworld.layouts import DrawnWalls, MazeWalls, NoWalls, ScatteredWalls
from metarl.envs.gridworld.level import (
    Item,
    Level,
    LevelShape,
    check_level,
    level_from_map,
    shape_of,
)
from metarl.envs.gridworld.modes import MODES, mode
from metarl.envs.gridworld.optimal import optimal_policy, optimal_return, policy_return
from metarl.envs.gridworld.render import render, render_episode

__all__ = [
    "ACTIONS",
    "MODES",
    "NAMES",
    "DrawnWalls",
    "GivenItems",
    "GridState",
    "Item",
    "Level",
    "LevelDistribution",
    "LevelMixture",
    "LevelShape",
    "MazeWalls",
    "NoWalls",
    "RandomItems",
    "ScatteredWalls",
    "check_level",
    "grid_world",
    "level_from_map",
    "make",
    "mode",
    "optimal_policy",
    "optimal_return",
    "policy_return",
    "render",
    "render_episode",
    "shape_of",
    "state_index",
]
