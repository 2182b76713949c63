"""Targets to images."""
