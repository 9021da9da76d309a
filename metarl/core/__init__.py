"""L0: types, randomness by name, pytrees, numerics, boundary checks, contracts, the device mesh."""
