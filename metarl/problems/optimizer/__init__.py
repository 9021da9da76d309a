"""Meta-learning an optimizer on families of training tasks."""
