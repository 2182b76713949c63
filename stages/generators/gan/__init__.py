"""Generative adversarial networks that draw in one pass."""
