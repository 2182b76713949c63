"""What layers of CLIP's image tower are called, and how their pictures are prepared: what can be told without a network."""

EMBEDDING = "embedding"
# Kernel and antialiasing.
RESAMPLINGS = {
    "bicubic": ("bicubic", False),
    "bilinear": ("bilinear", False),
    "bicubic, antialiased": ("bicubic", True),
    "bilinear, antialiased": ("bilinear", True),
}
NORMALISATIONS = ("ImageNet", "own")


def block_name(number):
    """Name of the hidden layer of a block, counted from 1.

    >>> block_name(6)
    'block 6'
    """
    return f"block {number}"
