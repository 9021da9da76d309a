"""Meta-learning a drift function for the actor-critic (LPO, TA-LPO)."""
