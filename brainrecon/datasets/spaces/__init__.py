"""Where values are: in a volume, on the cortical surface, at sensors, and the way back to a file of it."""
