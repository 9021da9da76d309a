"""Spans, and the scale on which losses compare."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.tasks.families import Span
from metarl.tasks.families.scale import compress


@pytest.mark.parametrize(
    ("written", "low", "high", "whole"),
    [
        ("8-64", 8, 64, True),
        ("1e-2-1e2", 0.01, 100.0, False),
        ("0.5-2", 0.5, 2, False),
        (32, 32, 32, True),
        (0.5, 0.5, 0.5, False),
        (0, 0, 0, True),
        (Span(2, 3), 2, 3, True),
    ],
)
def test_what_is_written(written, low, high, whole):
    span = Span.parse(written)
    assert (span.low, span.high, span.whole) == (low, high, whole)


@pytest.mark.parametrize(
    "written", ["8-", "-8", "8-64-2", "wide", "", True, None, (8, 64), "8 - 64"]
)
def test_what_is_no_span(written):
    with pytest.raises(ConfigError, match="a number or two"):
        Span.parse(written)


@pytest.mark.parametrize("written", ["64-8", "0-8", -1, float("inf"), float("nan")])
def test_spans_that_cannot_be(written):
    with pytest.raises(ConfigError, match="span must have 0 < low <= high"):
        Span.parse(written)


def test_whole_numbers_have_equal_shares_in_the_logarithm():
    draws = 20_000
    drawn = np.asarray(jax.vmap(Span(3, 24).draw)(jax.random.split(jax.random.key(0), draws)))
    assert (drawn.dtype, drawn.min(), drawn.max()) == (np.int32, 3, 24)
    for low, high in [(3, 4), (4, 9), (24, 25)]:
        expected = np.log(high / low) / np.log(25 / 3)
        share = np.mean((drawn >= low) & (drawn < high))
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / draws)


def test_real_numbers_are_log_uniform():
    drawn = np.asarray(jax.vmap(Span(0.01, 100.0).draw)(jax.random.split(jax.random.key(0), 5000)))
    assert drawn.dtype == np.float32
    assert drawn.min() >= 0.01 * (1 - 1e-6)
    assert drawn.max() <= 100 * (1 + 1e-6)
    logs = np.log10(drawn)
    assert abs(logs.mean()) < 4 * np.sqrt(16 / 12 / 5000)
    assert abs(np.mean(np.abs(logs) < 1) - 0.5) < 4 * np.sqrt(0.25 / 5000)


def test_a_span_of_one_number_is_that_number():
    key = jax.random.key(0)
    assert int(Span(7, 7).draw(key)) == 7
    assert float(Span(0, 0).draw(key)) == 0


def test_compressed_losses():
    """Unchanged up to one, continuous with its slope there, logarithmic beyond; order is kept."""
    below = jnp.array([-2.0, 0.0, 0.3, 1.0])
    np.testing.assert_array_equal(compress(below), below)
    np.testing.assert_allclose(compress(jnp.float32(np.e)), 2.0, rtol=1e-6)
    np.testing.assert_allclose(compress(jnp.float32(1e30)), 1 + 30 * np.log(10), rtol=1e-6)
    slopes = jax.vmap(jax.grad(compress))(jnp.array([0.5, 1.0, 1.0001, 4.0]))
    np.testing.assert_allclose(slopes, [1, 1, 1 / 1.0001, 0.25], rtol=1e-6)
    assert np.isnan(compress(jnp.nan))
