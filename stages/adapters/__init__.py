"""What brings the voxels of several subjects into one space."""
