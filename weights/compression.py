"""How much compressed bytes can become: what claims more is refused before memory is taken."""

MOST_BY_COMPRESSION = 1032
"""Deflate makes of a byte no more than so many."""
