"""Meta-learning an update rule (LPG, TA-LPG, GROOVE)."""
