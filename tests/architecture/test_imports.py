"""Importing the library starts no backend, opens no connection, and stays cheap."""

import subprocess
import sys

PROBE = """
import socket
def refuse(*args, **kwargs):
    raise AssertionError("network at import")
socket.socket.connect = refuse
import importlib, pkgutil, metarl, metarl.experiments
for package in (metarl, metarl.experiments):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
import sys
from jax._src import xla_bridge
assert not xla_bridge._backends, "a backend was started by an import"
for heavy in ("brax", "gymnax", "evosax", "orbax.checkpoint"):
    assert heavy not in sys.modules, heavy + " is imported eagerly"
"""


def test_importing_everything_is_pure():
    subprocess.run([sys.executable, "-c", PROBE], check=True, timeout=120)
