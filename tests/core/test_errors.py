"""Boundary checks name the value, the permitted ones and the nearest."""

import pytest

from metarl.core.errors import ConfigError, check_choice, check_positive, check_range, nearest


def test_choice():
    assert check_choice("colour", "red", ["red", "blue"]) == "red"
    with pytest.raises(ConfigError, match=r"colour 'rde'.*Did you mean 'red'.*blue, red"):
        check_choice("colour", "rde", ["red", "blue"])


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_positive(value):
    with pytest.raises(ConfigError, match="width must be positive"):
        check_positive(width=value)
    check_positive(width=1, unset=None)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_range(value):
    with pytest.raises(ConfigError, match="gamma must lie"):
        check_range(0.0, 1.0, gamma=value)


def test_nearest_finds_nothing_far_away():
    assert nearest("zzzz", ["cartpole"]) == ""
