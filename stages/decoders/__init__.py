"""Voxels to targets."""
