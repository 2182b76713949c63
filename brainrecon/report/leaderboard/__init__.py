"""The report of a benchmark: many runs in one table."""
