"""L1: estimators of the meta-gradient, independent of reinforcement learning and networks."""
