"""One short file an experiment; each returns a frozen config."""
