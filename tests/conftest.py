"""Strict settings for every test: two host devices, promotion errors, a compilation cache."""

import os
import tempfile
from pathlib import Path

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

_CACHE = Path(tempfile.gettempdir()) / f"metarl-test-cache-{os.getuid()}"
jax.config.update("jax_compilation_cache_dir", str(_CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def key():
    """The one seed of the tests."""
    return jax.random.key(0)
