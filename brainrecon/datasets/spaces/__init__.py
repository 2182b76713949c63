"""Where values are: in a volume, on the cortical surface, and the way back to a file of it."""
