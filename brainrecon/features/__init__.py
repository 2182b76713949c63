"""The feature store: encode once, read by blocks of columns."""
