"""Spaces to predict: images and captions to target arrays, and back where a target can be decoded."""
