"""L0: types, interfaces, named PRNG keys, pytrees, numerics, validation, the device mesh."""
