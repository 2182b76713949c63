"""Reading and writing tensors, strictly."""
