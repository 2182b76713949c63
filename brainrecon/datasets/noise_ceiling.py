"""How much of a voxel's variance a perfect model could explain."""

import numpy as np


def noise_ceiling(ncsnr, repeats):
    """Noise ceiling of repeat-averaged patterns, in percent of variance.

    100 s² / (s² + mean of 1/k over the stimuli), with s the noise-ceiling signal-to-noise ratio and k the
    trials of a stimulus: the NSD data manual's formula ("Functional data"), where A1 stimuli with one trial,
    A2 with two and A3 with three give (A1 + A2/2 + A3/3) / (A1 + A2 + A3).

    Parameters
    ----------
    ncsnr : array of shape (n_voxels,)
        Standard deviation of the signal over that of the noise of one trial, 0 or more.
    repeats : sequence of int, length n_stimuli
        Trials averaged for each stimulus, 1 or more.

    Returns
    -------
    percent : array of shape (n_voxels,), float32
        0 to 100; 0 where ncsnr is not finite.
    """
    ncsnr = np.asarray(ncsnr, dtype=np.float64)
    signal = np.where(np.isfinite(ncsnr), ncsnr, 0.0) ** 2
    noise = np.mean(1.0 / np.asarray(repeats, dtype=np.float64))
    return (100.0 * signal / (signal + noise)).astype(np.float32)
