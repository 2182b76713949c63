"""A module per published system, named after it: its parts, its paper's settings, its citation."""
