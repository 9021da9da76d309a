"""Weights of learned optimizers that other projects published: names, loaders, file readers."""
