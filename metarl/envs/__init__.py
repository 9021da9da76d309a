"""L1: the environment protocol, adapters to environment libraries, wrappers."""

from metarl.envs.protocol import Environment, Step
from metarl.envs.registry import make, registered
from metarl.envs.spaces import Box, Discrete

__all__ = ["Box", "Discrete", "Environment", "Step", "make", "registered"]
