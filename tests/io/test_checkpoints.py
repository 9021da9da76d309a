"""Checkpoints: to the bit, or skipped and named; nothing lost by a kill or a full disk."""

import errno
import itertools
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metarl.core.errors import CheckpointError, ConfigError, RunError
from metarl.io import checkpoints, orbax_folder
from metarl.io.checkpoints import Checkpoints
from tests.io.states import Pair, state_at

_ROOT = Path(__file__).parents[2]


def _assert_same(restored, saved):
    assert jax.tree.structure(restored) == jax.tree.structure(saved)
    for new, old in zip(jax.tree.leaves(restored), jax.tree.leaves(saved), strict=True):
        if jax.dtypes.issubdtype(getattr(old, "dtype", None) or np.int32, jax.dtypes.prng_key):
            assert str(jax.random.key_impl(new)) == str(jax.random.key_impl(old))
            new, old = jax.random.key_data(new), jax.random.key_data(old)
        if isinstance(old, bool | int | float | complex) and not isinstance(old, np.generic):
            assert type(new) is type(old)
        new, old = np.asarray(new), np.asarray(old)
        assert (new.dtype, new.shape) == (old.dtype, old.shape)
        assert new.tobytes() == old.tobytes()


@pytest.fixture
def store(tmp_path):
    return Checkpoints(tmp_path / "checkpoints")


@pytest.fixture(scope="module")
def two_saved(tmp_path_factory):
    """A folder with checkpoints 1 and 2; tests work on copies."""
    folder = tmp_path_factory.mktemp("two") / "checkpoints"
    for step in (1, 2):
        Checkpoints(folder).save(step, state_at(step), {"step": step})
    return folder


@pytest.fixture
def two(two_saved, tmp_path):
    return Checkpoints(shutil.copytree(two_saved, tmp_path / "checkpoints"))


# ---- what is saved comes back


def test_every_kind_of_leaf_comes_back(store):
    params = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2, jnp.bfloat16)}
    optimizer = optax.chain(optax.clip(1.0), optax.adam(optax.linear_schedule(1.0, 0.0, 9)))
    state = {
        "params": params,
        "opt": optimizer.init(params),
        "keys": [jax.random.key(1), jax.random.split(jax.random.key(2, impl="rbg"), (2, 3))],
        "no_keys": jax.random.split(jax.random.key(1), 2)[:0],
        "numbers": (3, 2.5, True, 1j, np.float64(0.1), np.array(7)),
        "none": None,
        "empty": (np.zeros((0, 4), np.int8), {}, ()),
        "pair": Pair(np.array([np.nan, -0.0]), np.array([1, 2], ml_dtypes.float8_e4m3fn)),
    }
    store.save(0, state, {"note": "x", "best": float("-inf"), "list": (1, np.float32(2))})
    restored = store.latest(state)
    assert (restored.step, restored.skipped) == (0, [])
    assert restored.meta == {"note": "x", "best": float("-inf"), "list": [1, 2.0]}
    _assert_same(restored.state, state)
    draw = jax.random.normal(restored.state["keys"][0], (3,))
    assert draw.tolist() == jax.random.normal(jax.random.key(1), (3,)).tolist()


def test_an_abstract_template_is_enough(store):
    saved = jax.jit(lambda: {"a": jnp.arange(3), "k": jax.random.split(jax.random.key(0))})()
    store.save(4, saved, {})
    template = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), saved)
    _assert_same(store.latest(template).state, saved)


_LEAVES = (
    hnp.arrays(
        st.sampled_from(["?", "i1", "u4", "i8", "f2", "f4", "f8", "c8"]),
        hnp.array_shapes(min_dims=0, min_side=0, max_side=3),
    )
    | st.none()
)
_TREES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.builds(Pair, inner, inner)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=20, deadline=None)
@given(tree=_TREES, meta=st.dictionaries(st.text(), st.integers() | st.text(), max_size=2))
def test_any_tree_round_trips(tmp_path_factory, tree, meta):
    store = Checkpoints(tmp_path_factory.mktemp("c"))
    store.save(3, tree, meta)
    restored = store.latest(tree)
    _assert_same(restored.state, tree)
    assert restored.skipped == []


def test_the_newest_are_kept(store):
    assert store.steps() == []
    assert store.latest(state_at(0)) is None
    for step in (2, 9, 10, 11):
        store.save(step, state_at(step), {})
    assert store.steps() == [9, 10, 11]
    _assert_same(store.latest(state_at(0)).state, state_at(11))
    store.delete_after(9)
    assert store.steps() == [9]
    store.save(10, state_at(77), {})
    _assert_same(store.latest(state_at(0)).state, state_at(77))


def test_saving_the_same_again_is_allowed_and_other_content_is_not(two):
    two.save(2, state_at(2), {"step": 2})
    for step, state, meta in (
        (2, state_at(5), {"step": 2}),
        (2, state_at(2), {"step": 3}),
        (0, state_at(0), {}),
    ):
        with pytest.raises(CheckpointError, match=rf"holds checkpoint 2 .* saved at {step};"):
            two.save(step, state, meta)
    assert two.steps() == [1, 2]


@pytest.mark.parametrize(("leaf", "name"), [("text", "'text'"), (object(), "object")])
def test_what_is_no_number_is_refused(store, leaf, name):
    with pytest.raises(CheckpointError, match=rf"\['a'\].*{name}"):
        store.save(0, {"a": leaf}, {})
    assert store.steps() == []


def test_bad_settings_are_refused(store, tmp_path):
    with pytest.raises(ConfigError, match="keep"):
        Checkpoints(tmp_path, keep=0)
    with pytest.raises(CheckpointError, match="at least 0, got -1"):
        store.save(-1, state_at(0), {})


def test_what_orbax_refuses_is_a_checkpoint_error(two):
    with pytest.raises(CheckpointError, match=r"Cannot save checkpoint 3 .*uint4"):
        two.save(3, {"a": np.ones(3, ml_dtypes.uint4)}, {})
    assert sorted(os.listdir(two.folder)) == ["1", "2"]


# ---- another structure is not damage


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": np.ones(2)}, r"\['extra'\] is expected \(float64\[2\]\) but not saved"),
        ({"opt": Pair(np.int32(0), np.ones(1))}, r"\['opt'\]\.right is expected"),
        ({"opt": Pair(None, None)}, r"\['opt'\]\.left is saved but not expected"),
        ({"opt": Pair(np.int64(0), None)}, r"\.left is int32\[\] where int64\[\] is expected"),
        ({"theta": {"w": np.ones((8, 32), "f4"), "b": np.ones(5)}}, r"float32\[32, 8\] where"),
        ({"key": np.zeros(2, np.uint32)}, r"\['key'\] is key<fry>\[\] where uint32\[2\]"),
        ({"key": jax.random.key(0, impl="rbg")}, r"key<fry>\[\] where key<rbg>\[\]"),
    ],
)
def test_a_structural_difference_names_the_leaf(two, change, message):
    with pytest.raises(CheckpointError, match=message) as raised:
        two.latest(state_at(0) | change)
    assert "truncated" not in str(raised.value)


# ---- damage


def _files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _damages(data, rng):
    for _ in range(3):
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        yield bytes(flipped)
    for size in sorted({0, len(data) // 2, len(data) - 1}):
        yield data[:size]
    yield data + b"\0"
    yield None


def _write_or_delete(path, data):
    path.unlink() if data is None else path.write_bytes(data)


def test_damage_to_any_file_is_found_or_harmless(two):
    rng = random.Random(0)
    for path in _files(two.folder / "2"):
        data = path.read_bytes()
        for damaged in _damages(data, rng):
            _write_or_delete(path, damaged)
            restored = two.latest(state_at(0))
            _assert_same(restored.state, state_at(restored.step))
            # Only the manifest, JSON with blanks in it, has bytes that say nothing.
            if path.name != "manifest.json" or restored.step == 1:
                assert restored.step == 1
                [skipped] = restored.skipped
                assert skipped.startswith("checkpoint 2 is truncated or altered: ")
                assert path.name in skipped or path.name == "manifest.json"
            path.write_bytes(data)
    assert two.latest(state_at(0)).step == 2


def test_what_the_manifest_says_is_vouched_for_too(two):
    path = two.folder / "2" / "manifest.json"
    text = path.read_text()
    for old, new in [
        ('"step": 2', '"step": 3'),
        ("['theta']['w']", "['theta']['v']"),
        ("float32", "float16"),
        ("threefry2x32", "rbg"),
        ("state/_METADATA", "state/_METADATa"),
    ]:
        assert old in text
        path.write_text(text.replace(old, new))
        assert two.latest(state_at(0)).step == 1, (old, new)


def test_a_checkpoint_under_another_step_is_found(two):
    shutil.copytree(two.folder / "1", two.folder / "3")
    restored = two.latest(state_at(0))
    assert restored.step == 2
    assert "SHA-256" in restored.skipped[0]


def test_when_all_are_damaged_all_are_named(two):
    (two.folder / "1" / "manifest.json").unlink()
    shutil.rmtree(two.folder / "2" / "state")
    with pytest.raises(CheckpointError, match=r"checkpoint 2 is .*; checkpoint 1 is .*manifest"):
        two.latest(state_at(0))


def test_a_checkpoint_that_we_may_not_read_is_not_taken_for_damaged(two, monkeypatch):
    def closed(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(orbax_folder, "_hash_file", closed)
    with pytest.raises(RunError, match=r"Cannot read checkpoint .*EACCES") as raised:
        two.latest(state_at(0))
    assert not isinstance(raised.value, CheckpointError)


# ---- disks that fail


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("where", ["state", "manifest", "sync", "rename"])
def test_a_failing_disk_is_described_and_costs_nothing(two, monkeypatch, code, where):
    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    owner, name = {
        "state": (orbax_folder._orbax().PyTreeCheckpointer, "save"),
        "manifest": (orbax_folder.Path, "write_text"),
        "sync": (orbax_folder, "sync_file"),
        "rename": (orbax_folder.os, "replace"),
    }[where]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        with pytest.raises(RunError) as raised:
            two.save(3, state_at(3), {})
    message = str(raised.value)
    assert f"Cannot save checkpoint 3 in {two.folder}" in message
    assert errno.errorcode[code] in message
    assert "the newest good one is 2" in message
    assert sorted(os.listdir(two.folder)) == ["1", "2"]
    _assert_same(two.latest(state_at(0)).state, state_at(2))
    two.save(3, state_at(3), {})
    assert two.latest(state_at(0)).step == 3


def test_a_nearly_full_disk_is_refused_before_orbax_writes(two, monkeypatch):
    usage = shutil.disk_usage(two.folder)._replace(free=10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(RunError, match=r"ENOSPC.*newest good one is 2.*Free some space"):
        two.save(3, state_at(3), {})


_LIMITED = """
import resource, sys, numpy as np
from pathlib import Path
from metarl.core.errors import RunError
from metarl.io.checkpoints import Checkpoints

store = Checkpoints(Path(sys.argv[1]))
state = {"w": np.random.default_rng(0).normal(size=30_000)}
store.save(3, {"w": np.zeros(30_000)}, {})
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    store.save(4, state, {})
except RunError as error:
    print(error)
"""


def test_a_write_that_the_kernel_refuses_inside_tensorstore_is_described(two):
    child = _python(_LIMITED, two.folder)
    output, _ = child.communicate(timeout=120)
    assert "Cannot save checkpoint 4" in output
    assert "EFBIG" in output
    assert "the newest good one is 3" in output
    assert two.steps() == [1, 2, 3]
    assert sorted(os.listdir(two.folder)) == ["1", "2", "3"]


# ---- kills


class _Killed(BaseException):
    """Ends a save where it stands, as a kill does: nothing of ours runs after it."""


def test_a_save_cut_at_any_step_of_the_disk_loses_nothing(two_saved, tmp_path, monkeypatch):
    cuts = 0
    while True:
        folder = shutil.copytree(two_saved, tmp_path / str(cuts))
        store = Checkpoints(folder, keep=2)
        with monkeypatch.context() as patch:
            _cut_after(patch, cuts)
            try:
                store.save(3, state_at(3), {})
            except _Killed:
                cuts += 1
            else:
                break
        restored = store.latest(state_at(0))
        assert restored.skipped == []
        assert restored.step in (2, 3)
        _assert_same(restored.state, state_at(restored.step))
        store.delete_after(2)
        store.save(3, state_at(3), {})
        assert sorted(os.listdir(folder)) == ["2", "3"]
    # Every file, folder, rename and deletion was a place to stop; how many there are varies by a
    # few, since tensorstore may split what it writes into more or fewer files.
    assert cuts > 15


def _cut_after(patch, calls):
    """Raises _Killed at the call number `calls` that changes the disk."""
    counter = itertools.count()

    def cutting(function):
        def call(*args, **kwargs):
            if next(counter) == calls:
                raise _Killed
            return function(*args, **kwargs)

        return call

    for owner, name in [
        (orbax_folder, "sync_file"),
        (orbax_folder, "_save_state"),
        (orbax_folder.Path, "write_text"),
        (os, "replace"),
        (checkpoints.shutil, "rmtree"),
        (os, "unlink"),
    ]:
        patch.setattr(owner, name, cutting(getattr(owner, name)))


_SAVER = """
import sys
from pathlib import Path
from tests.io.states import state_at
from metarl.io.checkpoints import Checkpoints

store = Checkpoints(Path(sys.argv[1]), keep=2)
restored = store.latest(state_at(0))
step = 0 if restored is None else restored.step
while True:
    step += 1
    store.save(step, state_at(step), {"step": step})
    print(step, flush=True)
"""


def _python(program, *args):
    command = [sys.executable, "-c", program, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT)


def test_a_kill_at_any_moment_loses_nothing(store):
    rng = random.Random(0)
    reported = 0
    for _ in range(8):
        child = _python(_SAVER, store.folder)
        try:
            reported = int(child.stdout.readline())
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(rng.uniform(0.0, 0.2))
        finally:
            child.kill()
        reported = max([reported, *map(int, child.communicate()[0].split())])
        restored = store.latest(state_at(0))
        assert restored.skipped == []
        assert restored.step in (reported, reported + 1)
        assert restored.meta == {"step": restored.step}
        _assert_same(restored.state, state_at(restored.step))
    store.save(restored.step + 1, state_at(0), {})
    assert all(name.isdigit() for name in os.listdir(store.folder))
