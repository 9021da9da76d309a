import numpy as np
import pytest
from jax import numpy as jnp

from metarl.problems.drift.plane import DriftGrid, drift_grid, quadrants, reversed_share


def test_grid_against_closed_forms():
    grid = drift_grid("square", lambda r, a: a**2 * (r - 1) ** 2)
    assert grid.drift.shape == grid.objective_gradient.shape == (61, 121)
    assert np.any(grid.ratios == 1.0)
    assert (grid.ratios[0], grid.ratios[-1]) == (0.5, 1.7)
    a, r = grid.advantages[:, None], grid.ratios[None, :]
    # float32 arithmetic on numbers up to about 10: a few units in the last place.
    tolerance = 10 * 8 * np.finfo(np.float32).eps
    np.testing.assert_allclose(grid.drift, a**2 * (r - 1) ** 2, atol=tolerance)
    np.testing.assert_allclose(grid.objective_gradient, a - 2 * a**2 * (r - 1), atol=tolerance)


def test_own_axes():
    grid = drift_grid("none", lambda r, a: jnp.zeros_like(r), np.array([0.9, 1.1]), np.array([2.0]))
    np.testing.assert_array_equal(grid.objective_gradient, [[2.0, 2.0]])
    assert quadrants(grid) == []
    assert reversed_share(grid) == 0.0


@pytest.mark.parametrize(
    ("sign", "side", "words"),
    [
        (1, 1, "a good action has become more likely"),
        (1, -1, "a good action has become less likely"),
        (-1, 1, "a bad action has become more likely"),
        (-1, -1, "a bad action has become less likely"),
    ],
)
def test_quadrants_are_named_rightly(sign, side, words):
    grid = drift_grid("one", lambda r, a: jnp.where((a * sign > 0) & (r * side > side), 1.0, 0.0))
    first, *others = quadrants(grid)
    assert (first.words, first.share) == (words, 1.0)
    assert [q.share for q in others] == [0.0] * 3


def test_reversed_share_counts_only_turned_gradients():
    gradient = np.array([[1.0, 0.0, -0.5, -2.0], [-1.0, 3.0, 0.0, -1.0], [9.0, -9.0, 0.0, 0.0]])
    advantages = np.array([1.0, -1.0, 0.0])
    ratios = np.linspace(0.5, 1.7, 4)
    grid = DriftGrid("x", ratios, advantages, np.zeros((3, 4)), gradient)
    assert reversed_share(grid) == 3 / 8  # of the eight entries with an advantage
