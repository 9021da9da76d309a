"""Checkpoints: what is saved comes back to the bit, and another structure is named."""

import os

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metarl.core.errors import CheckpointError, ConfigError
from metarl.io.checkpoints import Checkpoints

from .states import Pair, assert_same, state_at


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
    assert_same(restored.state, state)
    draw = jax.random.normal(restored.state["keys"][0], (3,))
    assert draw.tolist() == jax.random.normal(jax.random.key(1), (3,)).tolist()


def test_an_abstract_template_is_enough(store):
    saved = jax.jit(lambda: {"a": jnp.arange(3), "k": jax.random.split(jax.random.key(0))})()
    store.save(4, saved, {})
    template = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), saved)
    assert_same(store.latest(template).state, saved)


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
    assert_same(restored.state, tree)
    assert restored.skipped == []


def test_the_newest_are_kept(store):
    assert store.steps() == []
    assert store.latest(state_at(0)) is None
    for step in (2, 9, 10, 11):
        store.save(step, state_at(step), {})
    assert store.steps() == [9, 10, 11]
    assert_same(store.latest(state_at(0)).state, state_at(11))
    store.delete_after(9)
    assert store.steps() == [9]
    store.save(10, state_at(77), {})
    assert_same(store.latest(state_at(0)).state, state_at(77))


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
