"""L3: learners: the inner loop of meta-learning."""
