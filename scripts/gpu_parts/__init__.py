"""The parts of `gpu_check`: a function each that yields rows of its table."""
