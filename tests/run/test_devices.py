"""What is set before jax starts."""

import json
import os
import subprocess
import sys

import pytest

from metarl.run import devices

_PROBE = """
import json, sys
from metarl.run import devices
devices.prepare()
import os, jax
print(json.dumps({
    "devices": jax.device_count(),
    "cache": jax.config.jax_compilation_cache_dir,
    "log": os.environ["TF_CPP_MIN_LOG_LEVEL"],
    "cores": devices.available_cores(),
    "told": devices.describe(),
    "memory": devices.peak_memory_mb(),
}))
"""


def _prepared(**changes):
    environment = {
        name: value for name, value in {**os.environ, **changes}.items() if value is not None
    }
    done = subprocess.run(
        [sys.executable, "-c", _PROBE], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_a_device_for_each_core_and_a_cache(tmp_path):
    found = _prepared(
        XLA_FLAGS=None, TF_CPP_MIN_LOG_LEVEL=None, METARL_CACHE=None, HOME=str(tmp_path)
    )
    assert found["devices"] == found["cores"] == len(os.sched_getaffinity(0))
    assert found["cache"] == str(tmp_path / ".cache" / "metarl" / "xla")
    assert found["log"] == "3"
    assert found["told"]["platform"] == "cpu"
    assert found["told"]["devices"] == found["devices"]
    assert 10 < found["memory"] < 10_000  # a Python with jax, in MB and in no other unit


@pytest.mark.parametrize("folder", ["", "elsewhere"])
def test_what_the_user_says_is_kept(folder):
    found = _prepared(
        XLA_FLAGS="--xla_force_host_platform_device_count=3",
        TF_CPP_MIN_LOG_LEVEL="1",
        METARL_CACHE=folder,
    )
    assert found["devices"] == 3
    assert found["log"] == "1"
    assert found["cache"] == (folder or None)


_UNEVEN = """
from metarl.run import devices
devices.prepare(host_devices=2)
import jax, jax.numpy as jnp
from metarl.core.mesh import Layout, make_mesh, on_mesh

def live(steps):
    return jax.lax.fori_loop(0, steps, lambda _, x: jnp.sin(x) + 1, jnp.ones(32))

program = on_mesh(lambda x: Layout(2).sharded_vmap(live)(x), make_mesh(2))
jax.block_until_ready(program(jnp.array([1, 40_000_000])))
"""
_IMPATIENT = "--xla_cpu_collective_call_warn_stuck_timeout_seconds=1"


@pytest.mark.parametrize(
    ("flags", "survives"),
    [(_IMPATIENT, True), (f"{_IMPATIENT} {devices._GATHER_TIMEOUT}=1", False)],
    ids=["as prepared", "with XLA's patience cut short"],
)
@pytest.mark.sampled(1)
def test_a_slow_device_is_waited_for(flags, survives):
    """A core that another process slows down must not abort the run; XLA's default would."""
    done = subprocess.run(
        [sys.executable, "-c", _UNEVEN],
        env={**os.environ, "XLA_FLAGS": flags},
        capture_output=True,
    )
    assert (done.returncode == 0) is survives
