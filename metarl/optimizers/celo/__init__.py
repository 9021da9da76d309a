"""Celo, Celo2 and Celo-Adam, and the learned step-size schedule of Celo."""
