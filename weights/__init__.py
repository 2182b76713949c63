"""The checkpoints: what there is, where it lies, whether it is whole."""
