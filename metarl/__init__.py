"""metarl: meta-reinforcement learning and learned optimizers in JAX.

Importing the package is cheap and touches neither a device nor the network; the rooms
(`metarl.rules`, `metarl.envs`, `metarl.inner`, ...) are imported when they are named.
"""

__version__ = "0.1.0"
