"""Frozen networks that compare pictures."""
