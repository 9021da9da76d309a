"""Spans: ranges from which a family samples a setting."""

import math
import re
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from metarl.core.errors import ConfigError
from metarl.core.types import Array, Key

_NUMBER = r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"
_SPAN = re.compile(f"({_NUMBER})-({_NUMBER})")


@dataclass(frozen=True)
class Span:
    """A log-uniform distribution over `[low, high]`.

    It samples integers if both bounds are integers, else floats. If `low` is zero, `high` must be
    zero too.

    Attributes:
      low: lower bound, at least 0.
      high: upper bound, inclusive.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high < math.inf or (self.low == 0) != (self.high == 0):
            raise ConfigError(
                f"A span must have 0 < low <= high, or be 0 alone, got {self.low}-{self.high}."
            )

    @classmethod
    def parse(cls, value: Any) -> "Span":
        """Parses a span, a number (a constant), or text such as `8-64` or `1e-2-1e2`.

        Raises:
          ConfigError: the value is none of these.
        """
        if isinstance(value, Span):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return cls(value, value)
        found = _SPAN.fullmatch(value) if isinstance(value, str) else None
        if not found:
            raise ConfigError(f"A span is a number or two, such as 32 or 8-64, got {value!r}.")
        return cls(*(_number(text) for text in found.groups()))

    @property
    def whole(self) -> bool:
        """Whether the span samples integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def draw(self, key: Key) -> Array:
        """Samples one number, an int32 or float32 scalar."""
        dtype = jnp.int32 if self.whole else jnp.float32
        if self.low == self.high:
            return jnp.asarray(self.low, dtype)
        share = jax.random.uniform(key)
        top = self.high + 1 if self.whole else self.high
        drawn = self.low * jnp.exp(share * math.log(top / self.low))
        if self.whole:
            drawn = jnp.floor(drawn)
        return jnp.clip(drawn, self.low, self.high).astype(dtype)


def check_whole(name: str, span: Span, least: int = 1) -> None:
    """Raises ConfigError unless a span samples integers of at least `least`."""
    if not span.whole or span.low < least:
        raise ConfigError(
            f"{name} must be whole numbers of at least {least}, got {span.low}-{span.high}."
        )


def _number(text: str) -> float:
    return int(text) if text.isdigit() else float(text)
