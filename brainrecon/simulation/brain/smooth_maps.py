"""Random maps over the brain in which neighbours resemble each other: for tuning, drift and noise."""

import numpy as np
from scipy.ndimage import correlate1d

from brainrecon.simulation.brain.anatomy import Anatomy


def smooth_maps(anatomy: Anatomy, generator: np.random.Generator, count: int, sigma: float) -> np.ndarray:
    """Draw Gaussian maps with mean zero and variance one in every voxel.

    Parameters
    ----------
    anatomy : Anatomy
        The brain the maps cover.
    generator : numpy.random.Generator
        Source of the maps.
    count : int
        How many independent maps.
    sigma : float
        Standard deviation of the Gaussian kernel that white noise is smoothed with, voxels.

    Returns
    -------
    array of shape (count, n_brain), float32
        Voxels inside the brain mask, in C order of (x, y, z).
    """
    reach = int(np.ceil(2.5 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    maps = generator.standard_normal((count, *anatomy.shape), dtype=np.float32)
    variance = np.ones(())
    for axis, length in enumerate(anatomy.shape, start=1):
        maps = correlate1d(maps, kernel, axis=axis, mode="constant")
        # Near a face of the volume the kernel meets fewer voxels; the variance is known, so it is divided
        # out.
        variance = np.multiply.outer(variance, correlate1d(np.ones(length), kernel**2, mode="constant"))
    return maps[:, anatomy.brain] / np.sqrt(variance[anatomy.brain]).astype(np.float32)
