"""A linear model for each unit of a network, on voxels of its own choice: the decoders of Kamitani's group."""
