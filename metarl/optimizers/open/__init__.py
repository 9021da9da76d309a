"""OPEN: a learned optimizer for reinforcement learning, and the loader of its published weights."""
