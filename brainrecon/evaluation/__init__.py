"""Metrics, protocols and confidence intervals."""
