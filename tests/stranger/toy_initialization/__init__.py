"""A problem outside of the library: an initialization from which gradient descent learns fast."""
