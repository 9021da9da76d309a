"""Software and hardware versions of a run."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "evosax", "gymnax", "numpy", "metarl")


def collect_versions() -> dict[str, Any]:
    """Collects versions, platform, devices (starts the jax backend) and the git commit, if any."""
    devices = jax.devices()
    return {
        "python": platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
        "platform": platform.platform(),
        "backend": devices[0].platform,
        "device_kind": devices[0].device_kind,
        "device_count": len(devices),
        "git_commit": _git_commit(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Returns the commit of this package's checkout, with the suffix `-dirty` if it was edited."""
    root = Path(__file__).resolve().parents[2]
    # An installed package may lie inside the checkout of another project.
    if not (root / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=root, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
