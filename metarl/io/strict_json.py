"""Strict JSON for configs, cards and metrics, also of NumPy values, NaN and infinities.

NaN and the infinities are not valid JSON. They are written as the strings `"NaN"`, `"Infinity"`
and `"-Infinity"`; `floats_from_strings` converts exactly these three back.
"""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def plain(value: Any) -> Any:
    """Converts `value` to dict, list, str, int, float, bool and None only.

    NumPy and JAX scalars and arrays, tuples, paths and dataclasses are converted.

    Raises:
      TypeError: the value, or a key of a mapping, has no JSON form.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int) and not isinstance(value, np.generic):
        return int(value)
    if isinstance(value, float):
        return _plain_float(float(value))
    if isinstance(value, Mapping):
        return {_plain_key(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if hasattr(value, "__array__"):
        return _plain_array(np.asarray(value))
    raise TypeError(f"{type(value).__name__} {value!r} has no JSON form.")


def canonical(value: Any) -> str:
    """Returns the canonical one-line JSON of a value: sorted keys, no spaces."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def pretty(value: Any) -> str:
    """Returns the readable JSON of a value: sorted, indented, with a final newline."""
    text = json.dumps(plain(value), sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False)
    return text + "\n"


def parse(text: str | bytes) -> Any:
    """Parses strict JSON.

    Raises:
      ValueError: the text is not JSON (NaN and Infinity are not) or not UTF-8.
    """
    return json.loads(text, parse_constant=_refuse_constant)


def floats_from_strings(value: Any) -> Any:
    """Converts the strings for NaN and the infinities back to floats, at every depth."""
    if isinstance(value, str):
        return _FLOATS.get(value, value)
    if isinstance(value, dict):
        return {key: floats_from_strings(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [floats_from_strings(entry) for entry in value]
    return value


def _plain_float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _plain_array(array: np.ndarray) -> Any:
    # Narrow floats (bfloat16 too) widen to double without loss.
    if array.dtype.kind not in "biufUV" or array.dtype.names:
        raise TypeError(f"An array of dtype {array.dtype} has no JSON form.")
    return plain(array.astype(np.float64).tolist() if array.dtype.kind == "V" else array.tolist())


def _plain_key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"The key {key!r} is not a string.")
    return key


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON.")
