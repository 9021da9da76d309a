"""L5: the composition root: config, build, loop, devices, command line."""
