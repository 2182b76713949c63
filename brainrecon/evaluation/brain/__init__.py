"""Scores of pictures by the brain: encoding models and the ceiling of their patterns."""
