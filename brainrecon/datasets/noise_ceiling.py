"""How much of a voxel's variance a perfect model could explain."""

import numpy as np

from brainrecon.datasets.responses import as_responses
from stages.decoders.ridge.voxel_selection import noise_ceiling as ceiling_of_repeats
from stages.ground.errors import InputError

FEW_VALUES = 2**25
"""Responses up to this many are read for their noise ceiling: a subject of GOD, not one of NSD, which has it in its files."""


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


def measured_noise_ceiling(subject):
    """Noise ceiling of a subject's test patterns: the dataset's own, or that of the test stimuli's repeats.

    If all stimuli are tested in folds, it is that of all stimuli. How signal and noise are told apart is described in
    `stages.decoders.ridge.voxel_selection.signal_and_noise`.

    >>> from brainrecon.datasets import load
    >>> from brainrecon.datasets.arrays.writing import write_template
    >>> write_template("my-study")
    >>> measured_noise_ceiling(load("arrays:my-study")).shape
    (50,)

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject

    Returns
    -------
    percent : array of shape (n_voxels,), float, or None
        0 to 100. None if the dataset has none, and no test stimulus is repeated, just one is tested, or there are more than
        `FEW_VALUES` responses.

    Raises
    ------
    InputError
        A response is NaN or infinite.
    """
    if subject.noise_ceiling is not None:
        return subject.noise_ceiling
    tested = [subject.train, subject.test] if "fold" in subject.details else [subject.test]
    ids = np.concatenate([split.trial_stimulus_ids for split in tested])
    n_stimuli = sum(split.n_stimuli for split in tested)
    if n_stimuli < 2 or len(ids) == n_stimuli or len(ids) * subject.n_voxels > FEW_VALUES:
        return None
    first, *others = (as_responses(split.betas) for split in tested)
    return ceiling_of_repeats(first.joined(others), ids)


def median_noise_ceiling(subject):
    """Median over voxels of `measured_noise_ceiling`, to a tenth of a percent.

    >>> from brainrecon.datasets import load
    >>> median_noise_ceiling(load("arrays:my-study"))  # doctest: +SKIP
    34.2

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject

    Returns
    -------
    percent : float or None
        0 to 100. None where the ceiling is not known: see `measured_noise_ceiling`; or a response is NaN or infinite.
    """
    try:
        ceiling = measured_noise_ceiling(subject)
    except InputError:
        # Pictures from elsewhere can be scored beside responses that no method can learn from.
        return None
    return None if ceiling is None else round(float(np.median(ceiling)), 1)
