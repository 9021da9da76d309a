"""Hot operations, each in a folder of its own; knows jax and nothing of metarl."""
