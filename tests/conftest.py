"""Settings of every test: two host devices, strict promotion, quick compilation, a cache."""

import ctypes
import gc
import os
import tempfile
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

from tests import quick_compilation

pytest_plugins = ["tests.cost_report", "tests.hang_guard", "tests.sampling"]

_CACHE = Path(tempfile.gettempdir()) / f"metarl-test-cache-{os.getuid()}"


def pytest_configure(config):
    """Sets XLA's flags before the backend starts, and makes garbage collection rare.

    Most of the tests' time is compilation, and their programs run once, so they are optimized as
    little as XLA can: a third of the time. Slow tests run long programs, optimized as users run
    them. Tracing allocates so much that frequent collections are a tenth of the rest.
    """
    gc.set_threshold(200_000, 50, 100)
    flags = ["--xla_force_host_platform_device_count=2"]
    if config.getoption("markexpr") != "slow":
        flags.extend(quick_compilation.flags())
    os.environ["XLA_FLAGS"] = " ".join([*flags, os.environ.get("XLA_FLAGS", "")]).strip()
    jax.config.update("jax_compilation_cache_dir", str(_CACHE))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True, scope="module")
def _forget_programs():
    """Drops the programs of a file when it ends: a worker would hold gigabytes of them."""
    yield
    jax.clear_caches()
    gc.collect()
    _return_memory()


def _return_memory():
    """Gives freed memory back to the system, where the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def pytest_collection_finish():
    """Modules and cases live as long as the process: collections need not look at them."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def key():
    """The one seed of the tests."""
    return jax.random.key(0)
