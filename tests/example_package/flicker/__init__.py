"""An example package that adds a part of every kind to brainrecon."""
