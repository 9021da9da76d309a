"""L1: reinforcement learning math (advantages, losses, ...), one concept per file."""
