"""Per-parameter MLP learned optimizers (`mlp_lopt`, `adafac_mlp_lopt`) and their shared parts."""
