"""DiscoRL: a discovered update rule, with a loader for its published meta-parameters.

Reference: Oh et al. 2025, "Discovering state-of-the-art reinforcement learning algorithms", Nature
648:312.
"""

from metarl.rules.disco.config import DiscoConfig
from metarl.rules.disco.descent import disco_descent
from metarl.rules.disco.load import LoadedDisco, load
from metarl.rules.disco.rule import DiscoState, DiscoTargets, disco

__all__ = [
    "DiscoConfig",
    "DiscoState",
    "DiscoTargets",
    "LoadedDisco",
    "disco",
    "disco_descent",
    "load",
]
