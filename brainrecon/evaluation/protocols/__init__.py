"""Protocols: resize, networks, layers, similarity and test set as data, with a hash."""
