"""L4: held-out evaluation, statistics, figures, reports."""
