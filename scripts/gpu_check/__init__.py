"""What a device computes, whether it is right, and how fast: see `gpu_check.__main__`."""
