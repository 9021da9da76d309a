"""L1: where the outer gradient comes from. Knows no reinforcement learning and no networks."""
