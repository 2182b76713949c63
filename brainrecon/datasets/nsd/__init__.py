"""The Natural Scenes Dataset, as it lies on disk."""
