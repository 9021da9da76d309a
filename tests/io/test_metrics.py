"""The metrics log: strict JSON lines, torn tails, resuming, full disks."""

import errno
import json
import math
import os

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarl.core.errors import RunError
from metarl.io import metrics
from metarl.io.metrics import MetricsLog

_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text().filter(lambda text: text not in ("NaN", "Infinity", "-Infinity")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def log(tmp_path):
    return MetricsLog(tmp_path / "metrics.jsonl")


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.dictionaries(st.text(), _VALUES, max_size=4), max_size=4))
def test_any_rows_round_trip(tmp_path_factory, rows):
    log = MetricsLog(tmp_path_factory.mktemp("m") / "m.jsonl")
    for row in rows:
        log.append(row)
    assert log.rows() == rows


def test_no_file_has_no_rows(log):
    assert log.rows() == []
    log.truncate_after("generation", 3)
    assert not log.path.exists()


def test_array_scalars_are_written_exactly(log):
    log.append(
        {
            "f4": np.float32(0.1),
            "jax": jnp.float32(0.1),
            "bf16": jnp.bfloat16(1.5),
            "int": np.int64(2**40),
            "bool": np.bool_(True),
            "list": jnp.arange(3),
        }
    )
    [row] = log.rows()
    # A float32 widens to a double without loss: 0.1 is 13421773 / 2**27 in float32.
    assert row["f4"] == row["jax"] == 13421773 / 2**27
    assert (row["bf16"], row["int"], row["list"]) == (1.5, 2**40, [0, 1, 2])
    assert row["bool"] is True


def test_non_finite_numbers_are_strict_json_and_come_back(log):
    log.append({"a": math.nan, "b": jnp.inf, "c": [np.float32("-inf")]})

    def refuse(name):
        raise AssertionError(name)

    line = json.loads(log.path.read_text(), parse_constant=refuse)
    assert line == {"a": "NaN", "b": "Infinity", "c": ["-Infinity"]}
    [row] = log.rows()
    assert math.isnan(row["a"])
    assert row["b"] == math.inf
    assert row["c"] == [-math.inf]


def test_a_value_without_json_form_writes_nothing(log):
    log.append({"a": 1})
    for bad in (object(), {1: 2}, np.array([object()])):
        with pytest.raises(TypeError):
            log.append({"a": bad})
    assert log.rows() == [{"a": 1}]


def test_every_tear_loses_the_last_row_only(log):
    log.append({"generation": 0, "text": "é"})
    whole = log.path.read_bytes()
    log.append({"generation": 1, "text": "é"})
    data = log.path.read_bytes()
    for size in range(len(whole), len(data)):
        log.path.write_bytes(data[:size])
        assert [row["generation"] for row in log.rows()] == [0]
        log.append({"generation": 9})
        assert [row["generation"] for row in log.rows()] == [0, 9]


def test_an_altered_line_is_named(log):
    for generation in range(3):
        log.append({"generation": generation})
    lines = log.path.read_text().splitlines(keepends=True)
    for bad in ("{\n", "[]\n", "\n", '{"a": NaN}\n'):
        log.path.write_text(lines[0] + bad + lines[2])
        with pytest.raises(RunError, match=r"Line 2 of .*metrics\.jsonl"):
            log.rows()


def test_truncating_drops_later_rows_and_the_torn_one(log):
    for generation in range(5):
        log.append({"generation": generation})
        log.append({"note": generation})
    with log.path.open("a") as file:
        file.write('{"generation": 1, "torn')
    log.truncate_after("generation", 2)
    assert [row["generation"] for row in log.rows() if "generation" in row] == [0, 1, 2]
    assert [row["note"] for row in log.rows() if "note" in row] == [0, 1, 2, 3, 4]
    assert log.path.read_bytes().endswith(b"}\n")


def test_truncating_keeps_lines_to_the_byte(log):
    text = '{"generation": 1,   "x": 1e-3}\n'
    log.path.write_text(text + '{"generation": 2}\n')
    log.truncate_after("generation", 1)
    assert log.path.read_text() == text


def test_a_long_torn_line_is_removed(log):
    log.append({"generation": 0})
    with log.path.open("a") as file:
        file.write('{"x": "' + "y" * 10_000)
    log.append({"generation": 1})
    assert log.rows() == [{"generation": 0}, {"generation": 1}]


def test_a_full_device():
    with pytest.raises(RunError, match=r"write the metrics at /dev/full: No space.*Free some"):
        MetricsLog("/dev/full").append({"a": 1})


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fills_within_a_row_leaves_whole_rows(log, monkeypatch, code):
    log.append({"a": 1})

    def half(descriptor, data):
        os.write(descriptor, data[: len(data) // 2])
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(metrics, "write_all", half)
        with pytest.raises(RunError, match=errno.errorcode[code]):
            log.append({"a": 2})
    assert log.path.read_bytes() == b'{"a":1}\n'
    log.append({"a": 3})
    assert log.rows() == [{"a": 1}, {"a": 3}]
