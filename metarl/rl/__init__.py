"""L1: the mathematics of reinforcement learning, one concept a file, in the papers' notation."""
