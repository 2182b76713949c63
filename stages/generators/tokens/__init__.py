"""Generators of discrete tokens."""
