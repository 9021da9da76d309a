"""Rendering of levels to NumPy images.

Objects are squares, blue for positive and orange for negative rewards, more saturated for larger
ones; an absent object is an outline. The agent is a dark disc.
"""

from typing import Any

import jax
import numpy as np

from metarl.core.errors import check_range
from metarl.envs.gridworld.dynamics import GridState
from metarl.envs.gridworld.level import Level, shape_of

# Okabe and Ito's blue and vermilion, distinct under every common color blindness.
GOOD, BAD = np.array([0, 114, 178]), np.array([213, 94, 0])
FLOOR, LINE, WALL = np.array([250, 250, 248]), np.array([226, 228, 230]), np.array([84, 90, 97])
OUTSIDE, AGENT, RIM = np.array([255, 255, 255]), np.array([24, 26, 29]), np.array([255, 255, 255])
FAINTEST = 0.3
"""Saturation of the color of a reward near zero; the largest reward of the level has 1."""


def render(level: Level, state: GridState | None = None, cell: int = 20) -> np.ndarray:
    """Renders a level.

    Args:
      level: single level; only its `height` rows and `width` columns are rendered.
      state: state of an episode; None = the start of an episode (fixed cells).
      cell: side of a cell in pixels, at least 6.

    Returns:
      RGB image, uint8 `[height * cell + 1, width * cell + 1, 3]`.

    Raises:
      ConfigError: `cell` is too small.
    """
    check_range(6, 1000, cell=cell)
    host = jax.tree.map(np.asarray, level)
    agent, objects, present = _positions(host, state)
    picture = _Picture(int(host.height), int(host.width), cell)
    for row, column in np.argwhere(host.walls[: picture.rows, : picture.columns]):
        picture.fill((row, column), WALL)
    largest = max(np.abs(host.rewards[host.exists]).max(initial=0.0), 1e-6)
    for i in np.flatnonzero(host.exists):
        strength = FAINTEST + (1 - FAINTEST) * abs(host.rewards[i]) / largest
        color = GOOD if host.rewards[i] >= 0 else BAD
        color = strength * color + (1 - strength) * FLOOR
        picture.square(objects[i], color, bool(present[i]))
    picture.disc(agent)
    return picture.pixels


def render_episode(
    level: Level, states: GridState, cell: int = 12, columns: int = 8, most: int = 32
) -> np.ndarray:
    """Renders the frames of an episode in one image, row by row.

    Args:
      level: single level.
      states: states of an episode, `[T, ...]`.
      cell: side of a cell in pixels.
      columns: number of frames per row.
      most: maximum number of frames; a longer episode is shown at evenly spaced times, including
        the first and the last.

    Returns:
      RGB image, uint8.

    Raises:
      ConfigError: a number is out of range.
    """
    check_range(1, float("inf"), columns=columns, most=most)
    length = len(np.asarray(states.time))
    times = np.unique(np.linspace(0, length - 1, min(length, most)).round().astype(int))
    host = jax.tree.map(np.asarray, states)
    frames = [render(level, jax.tree.map(lambda x, t=t: x[t], host), cell) for t in times]
    return _strip(frames, min(columns, len(frames)), gap=cell // 2)


def _positions(level: Any, state: GridState | None) -> tuple[Any, np.ndarray, np.ndarray]:
    width = shape_of(level).width
    if state is None:
        return level.start, level.objects, level.exists
    objects = np.stack(np.divmod(np.asarray(state.objects), width), axis=-1)
    return divmod(int(state.agent), width), objects, np.asarray(state.present)


def _strip(frames: list[np.ndarray], columns: int, gap: int) -> np.ndarray:
    rows = -(-len(frames) // columns)
    height, width = frames[0].shape[0] + gap, frames[0].shape[1] + gap
    canvas = np.empty((rows * height + gap, columns * width + gap, 3), np.uint8)
    canvas[:] = OUTSIDE
    for k, frame in enumerate(frames):
        top, left = gap + (k // columns) * height, gap + (k % columns) * width
        canvas[top : top + frame.shape[0], left : left + frame.shape[1]] = frame
    return canvas


class _Picture:
    """An image that is addressed by cells."""

    def __init__(self, rows: int, columns: int, cell: int) -> None:
        self.rows, self.columns, self.cell = rows, columns, cell
        self.pixels = np.empty((rows * cell + 1, columns * cell + 1, 3), np.uint8)
        self.pixels[:] = FLOOR
        self.pixels[::cell], self.pixels[:, ::cell] = LINE, LINE

    def _patch(self, place: Any, margin: int) -> np.ndarray:
        top, left = (int(x) * self.cell + 1 for x in place)
        side = self.cell - 1
        return self.pixels[top + margin : top + side - margin, left + margin : left + side - margin]

    def fill(self, place: Any, color: np.ndarray) -> None:
        """Fills a cell."""
        self._patch(place, 0)[:] = color

    def square(self, place: Any, color: np.ndarray, full: bool) -> None:
        """Draws an object, or its outline."""
        margin = max(1, self.cell // 6)
        self._patch(place, margin)[:] = color
        if not full:
            self._patch(place, margin + max(1, self.cell // 12))[:] = FLOOR

    def disc(self, place: Any) -> None:
        """Draws the agent, with a light rim so that it stands out from an object below it."""
        patch = self._patch(place, 0)
        center = (len(patch) - 1) / 2
        y, x = np.ogrid[: len(patch), : len(patch)]
        distance = np.hypot(y - center, x - center) / self.cell
        patch[distance <= 0.34] = RIM
        patch[distance <= 0.27] = AGENT
