"""Ridge regression from voxels to targets, by blocks of targets."""
