"""Preparing jax before its backend starts: one host device per core, the compilation cache.

On CPU one XLA device per core, with the population laid over them, beats one device with many
threads; on GPUs and TPUs the devices are what they are.
"""

import os
from pathlib import Path
from typing import Any

_HOST_DEVICES = "--xla_force_host_platform_device_count"
_GATHER_TIMEOUT = "--xla_cpu_collective_call_terminate_timeout_seconds"
_DAY = 86_400


def available_cores() -> int:
    """Number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def prepare(host_devices: int | None = None) -> None:
    """Sets one host device per core (unless XLA_FLAGS already says) and the compilation cache.

    Must run before jax is imported. The cache lies in `$METARL_CACHE`, by default
    `~/.cache/metarl/xla`; an empty `METARL_CACHE` turns it off.
    """
    # On CPU every program that comes from the cache prints a screenful about features of this very
    # machine ("could lead to SIGILL"). What goes wrong for good is raised as a Python error.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _add_flag(_HOST_DEVICES, host_devices or available_cores())
    # Host devices meet only after whole lifetimes. Where another process slows one core down, one
    # waits for long, and XLA would abort the process after 40 seconds.
    _add_flag(_GATHER_TIMEOUT, _DAY)
    import jax

    folder = os.environ.get("METARL_CACHE", str(Path.home() / ".cache" / "metarl" / "xla"))
    if folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _add_flag(name: str, value: int) -> None:
    """Sets a flag of XLA that the user has not set."""
    flags = os.environ.get("XLA_FLAGS", "")
    if name not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {name}={value}".strip()


def describe() -> dict[str, Any]:
    """Says what this program runs on: platform, kind and number of devices, cores."""
    import jax

    devices = jax.devices()
    return {
        "platform": devices[0].platform,
        "device_kind": devices[0].device_kind,
        "devices": len(devices),
        "cores": available_cores(),
    }


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MB."""
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024.0 * 1024.0 if sys.platform == "darwin" else 1024.0)
