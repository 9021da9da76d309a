"""L1: outer optimizers of theta: optax transformations and evosax strategies."""
