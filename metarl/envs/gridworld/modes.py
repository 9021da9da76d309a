"""Published distributions over grid worlds, by name.

Sources: LPG = Oh et al. 2020, arXiv:2007.08794, appendix A, whose numbers are taken from three
public re-implementations that agree; GROOVE = Jackson et al. 2023, arXiv:2310.02782, and its public
code. Agents have five actions as in GROOVE; LPG has nine or eighteen (diagonal moves, collecting as
an action). The start of the agent in LPG is [unchecked]; here it is one cell per level, as in
GROOVE.

Lifetimes count updates of 20 steps in 64 environments. They are GROOVE's.
"""

from dataclasses import replace

from metarl.core.errors import check_choice
from metarl.envs.gridworld.distributions import LevelDistribution, LevelMixture
from metarl.envs.gridworld.items import GivenItems, RandomItems
from metarl.envs.gridworld.layouts import DrawnWalls, MazeWalls, ScatteredWalls
from metarl.envs.gridworld.level import Item

# Updates.
_SHORT, _MEDIUM, _TABULAR, _RANDOM = (250, 250), (1000, 1000), (2500, 2500), (25_000, 25_000)

LONGER_MAP = """
    ....#....
    .........
    ....#....
    ...###...
    ....#....
    .........
    ....#....
"""
"""LPG's two rooms with two corridors; in GROOVE they are square, 9 by 9."""

LONG_DENSE_MAP = """
    ...........
    .....#.....
    .....#.....
    .....#.....
    ##.#####.##
    .....#.....
    .....#.....
    ...........
    .....#.....
    .....#.....
    .....#.....
"""
"""LPG's four rooms; in GROOVE the upper corridor is where it is here."""

SMALL_MAP = """
    .......
    ..#....
    .......
    ....#..
    .......
"""
"""LPG's small random grid; in GROOVE it is square, 7 by 7."""

ROOMS_MAP = """
    ......#......
    ......#......
    .............
    ......#......
    ......#......
    ......#......
    ##.#######.##
    ......#......
    ......#......
    ......#......
    .............
    ......#......
    ......#......
"""

SPIRAL_MAP = """
    .............
    .###########.
    .#.........#.
    .#.#######.#.
    .#.#.....#.#.
    .#.#.###.#.#.
    .#.#.#...#.#.
    .#.#.#####.#.
    .#.#.......#.
    .#.#########.
    .#...........
    .############
    .............
"""

COMB_MAP = """
    .............
    .#.#.#.#.#.#.
    .#.#.#.#.#.#.
    .#.#.#.#.#.#.
    .#.#.#.#.#.#.
    ##.#.#.#.#.##
    .............
    ##.#.#.#.#.##
    .#.#.#.#.#.#.
    .#.#.#.#.#.#.
    .#.#.#.#.#.#.
    .#.#.#.#.#.#.
    .............
"""

_GOOD_FAST, _GOOD_SLOW = Item(1.0, 0.0, 0.05), Item(1.0, 0.0, 0.01)
_DENSE = GivenItems((_GOOD_FAST, _GOOD_FAST, Item(-1.0, 0.5, 0.1), Item(-1.0, 0.0, 0.5)))
_LONG = GivenItems((_GOOD_SLOW,) * 2 + (Item(-1.0, 0.5, 1.0),) * 2)

dense = LevelDistribution((500, 500), _DENSE, (11, 11), lifetime=_TABULAR)
sparse = LevelDistribution(
    (50, 50), GivenItems((Item(1.0, 1.0), Item(-1.0, 1.0))), (13, 13), lifetime=_TABULAR
)
long = LevelDistribution((1000, 1000), _LONG, (11, 11), lifetime=_TABULAR)
longer = LevelDistribution(
    (2000, 2000),
    GivenItems((Item(1.0, 0.1, 0.01),) * 2 + (Item(-1.0, 0.8, 1.0),) * 5),
    height=(7, 7),
    width=(9, 9),
    layout=DrawnWalls(LONGER_MAP),
    lifetime=_TABULAR,
)
long_dense = LevelDistribution(
    (2000, 2000),
    GivenItems((Item(1.0, 0.0, 0.005),) * 4),
    (11, 11),
    layout=DrawnWalls(LONG_DENSE_MAP),
    lifetime=_TABULAR,
)

debug = LevelDistribution(
    (5, 10), RandomItems((1, 2)), (3, 4), layout=ScatteredWalls(4), lifetime=(4, 4)
)
small = LevelDistribution(
    (20, 100), RandomItems((1, 3)), (4, 6), layout=ScatteredWalls(7), lifetime=_SHORT
)
medium = LevelDistribution(
    (100, 250), RandomItems((2, 4)), (6, 8), layout=ScatteredWalls(10), lifetime=_MEDIUM
)
large = LevelDistribution(
    (250, 750), RandomItems((2, 5)), (8, 10), layout=ScatteredWalls(15), lifetime=_TABULAR
)
every = LevelDistribution(
    (20, 750), RandomItems((1, 5)), (4, 10), layout=ScatteredWalls(15), lifetime=_MEDIUM
)

rand_dense = replace(dense, random_objects=True, lifetime=_RANDOM)
rand_small = LevelDistribution(
    (500, 500),
    GivenItems((_GOOD_FAST,) * 2 + (Item(-1.0, 0.5, 0.1),) * 2),
    height=(5, 5),
    width=(7, 7),
    layout=DrawnWalls(SMALL_MAP),
    random_objects=True,
    lifetime=_RANDOM,
)
rand_sparse = LevelDistribution(
    (50, 50),
    GivenItems((Item(1.0, 1.0, 1.0),) + (Item(-1.0, 1.0, 1.0),) * 2),
    height=(5, 5),
    width=(7, 7),
    random_objects=True,
    lifetime=_RANDOM,
)
rand_very_dense = replace(
    rand_dense, horizon=(2000, 2000), items=GivenItems((Item(1.0, 0.0, 1.0),)), shape=None
)
rand_tiny = LevelDistribution(
    (50, 50),
    GivenItems((Item(1.0, 0.0, 1.0),) * 2),
    height=(3, 3),
    random_objects=True,
    lifetime=_SHORT,
)

# Three objects, none of them bad, as in GROOVE; the maps are this library's own.
maze = LevelDistribution(
    (25, 50),
    RandomItems((3, 3), rewards=(0.0, 1.0)),
    (13, 13),
    layout=MazeWalls(),
    lifetime=_TABULAR,
)
maze_rooms = replace(maze, layout=DrawnWalls(ROOMS_MAP))
maze_spiral = replace(maze, layout=DrawnWalls(SPIRAL_MAP))
maze_comb = replace(maze, layout=DrawnWalls(COMB_MAP))

MODES: dict[str, LevelDistribution | LevelMixture] = {
    # LPG's five tabular grids; object and start cells differ from level to level.
    "dense": dense,
    "sparse": sparse,
    "long": long,
    "longer": longer,
    "long_dense": long_dense,
    "tabular": LevelMixture((dense, sparse, long, longer, long_dense)),
    # LPG's five random grids: objects elsewhere in every episode. `rand_tiny` is GROOVE's.
    "rand_dense": rand_dense,
    "rand_long": replace(long, random_objects=True, lifetime=_RANDOM),
    "rand_small": rand_small,
    "rand_sparse": rand_sparse,
    "rand_very_dense": rand_very_dense,
    "rand_tiny": rand_tiny,
    # GROOVE's families of random levels.
    "debug": debug,
    "small": small,
    "medium": medium,
    "large": large,
    "all": every,
    "all_shortlife": replace(every, lifetime=_SHORT),
    "all_randlife": replace(every, lifetime=(50, 250)),
    "all_vrandlife": replace(every, lifetime=(10, 250)),
    "rand_all": replace(every, random_objects=True, lifetime=_RANDOM),
    # Mazes: every free cell can be reached from every other.
    "maze": maze,
    "maze_rooms": maze_rooms,
    "maze_spiral": maze_spiral,
    "maze_comb": maze_comb,
    "mazes": LevelMixture((maze, maze_rooms, maze_spiral, maze_comb)),
}
"""Name to distribution."""


def mode(name: str) -> LevelDistribution | LevelMixture:
    """Returns a published distribution by its name.

    Raises:
      ConfigError: the name is unknown.
    """
    check_choice("grid world mode", name, MODES)
    return MODES[name]
