"""What a published encoding model is held against: a subject's test responses, prepared as those that it learned were.

GNet learned z-scored responses of the voxels of nsdgeneral. MindEye2 (Scotti et al. 2024) compares what it predicts with the
average of three trials of a picture; of one that was shown less often, the first trials count again. Regions are the whole, V1 to
V4, and all other voxels, "higher_vis".
"""

from __future__ import annotations

import re

import numpy as np

from brainrecon.datasets.padded_trials import padded_patterns
from brainrecon.datasets.split import ROWS_PER_BLOCK
from brainrecon.evaluation.brain.pattern_ceiling import FEWEST_TRAINING, error_of_mean, pattern_reliability
from brainrecon.evaluation.tasks.reconstruction import Measured
from stages.ground.checks import is_constant

EARLY = {"V1": ("V1",), "V2": ("V2",), "V3": ("V3",), "V4": ("V4", "hV4")}
"""What MindEye2 calls a region, and what the dataset may call it."""
HIGHER = "higher_vis"


def number_of(name):
    """Number of a subject of NSD, or None.

    >>> number_of("subj05"), number_of("sub-xp1")
    (5, None)
    """
    found = re.fullmatch(r"subj0*(\d+)", name)
    return int(found[1]) if found else None


def regions_of(subject):
    """Voxels of V1 to V4 and of all others, bool arrays (n_voxels,) by name; without the others if one of the four is absent.

    >>> from types import SimpleNamespace
    >>> rois = {name: np.arange(6) == place for place, name in enumerate(("V1", "V2", "V3", "hV4"))}
    >>> {name: mask.nonzero()[0].tolist() for name, mask in regions_of(SimpleNamespace(rois=rois)).items()}
    {'V1': [0], 'V2': [1], 'V3': [2], 'V4': [3], 'higher_vis': [4, 5]}

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    """
    found = {}
    for name, called in EARLY.items():
        if known := [one for one in called if one in subject.rois]:
            found[name] = np.asarray(subject.rois[known[0]], dtype=bool)
    if len(found) == len(EARLY):
        found[HIGHER] = ~np.logical_or.reduce(list(found.values()))
    return {name: mask for name, mask in found.items() if mask.any()}


def measured(subject):
    """Test responses of a subject, their reliability and regions.

    Responses that are not z-scored yet are, voxel by voxel, by the training trials.

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject

    Returns
    -------
    measured : brainrecon.evaluation.tasks.reconstruction.Measured
    """
    train, test, shared = subject.train, subject.test, 0.0
    mean, std = np.zeros(test.n_voxels), np.ones(test.n_voxels)
    if test.standardized == "no":
        mean, std = _statistics(train.betas)
        if train.n_trials >= FEWEST_TRAINING:
            shared = error_of_mean(train.betas, mean, std)
    factor = np.divide(1.0, std, out=np.zeros_like(std), where=std > 0)
    reliability = pattern_reliability(test.betas, test.trial_stimulus_ids, test.stimulus_ids, mean, std, shared=shared)
    patterns = ((padded_patterns(test) - mean) * factor).astype(np.float32)
    return Measured(patterns, reliability, regions_of(subject))


def _statistics(betas):
    """Mean and standard deviation of each voxel over all trials, read in blocks; the deviation is 0 if only rounding varies."""
    n, starts = betas.shape[0], range(0, betas.shape[0], ROWS_PER_BLOCK)
    mean = sum(np.asarray(betas[start : start + ROWS_PER_BLOCK]).sum(axis=0, dtype=np.float64) for start in starts) / n
    squares = (((np.asarray(betas[start : start + ROWS_PER_BLOCK]) - mean) ** 2).sum(axis=0) for start in starts)
    std = np.sqrt(sum(squares) / n)
    std[is_constant(mean, std)] = 0.0
    return mean, std
