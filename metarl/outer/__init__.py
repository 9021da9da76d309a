"""L1: how theta moves: optax transformations, evosax strategies, fitness shaping."""
