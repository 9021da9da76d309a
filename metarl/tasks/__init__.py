"""L2: distributions over tasks."""
