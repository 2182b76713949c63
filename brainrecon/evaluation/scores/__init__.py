"""Scores per stimulus, and their files."""
