"""Performance-critical operations, one sub-package each; imports jax and nothing of metarl."""
