"""L5: problems, one package a kind of thing that is meta-learned; found by name, see `registry`."""
