"""Architectures that several rooms share."""
