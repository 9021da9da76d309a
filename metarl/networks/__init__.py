"""L1: flax modules."""
