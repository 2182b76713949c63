"""A metric: how alike the mean colours of two pictures are. `protocol.toml` asks for it."""

import numpy as np

from brainrecon.evaluation.metrics.metric import Metric


def colour_agreement(reference, predicted):
    """1 less the mean absolute difference of the mean colours, float64 (n,); pictures (n, height, width, 3) in 0 to 1."""
    means = (np.asarray(pictures, dtype=np.float64).mean(axis=(1, 2)) for pictures in (reference, predicted))
    return 1 - np.abs(np.subtract(*means)).mean(axis=1)


COLOUR = Metric(colour_agreement, takes="pixels", higher_is_better=True, bounds=(0.0, 1.0), chance=None, percent=False)
