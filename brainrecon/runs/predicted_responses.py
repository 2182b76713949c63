"""The responses that a run predicts, beside the measured ones."""

from __future__ import annotations

import numpy as np

from brainrecon.datasets.noise_ceiling import measured_noise_ceiling
from brainrecon.evaluation.tasks.responses import MeasuredResponses
from brainrecon.runs.values import RunValues


def predicted_responses(run):
    """(measured, predicted) responses of a run whose chain encodes, those of all folds below each other.

    Parameters
    ----------
    run : brainrecon.runs.run.Run

    Returns
    -------
    measured : brainrecon.evaluation.tasks.responses.MeasuredResponses
        Each stimulus beside the mean of the responses that its part was trained on.
    predicted : array of shape (n_stimuli, n_voxels)
    """
    measured, means, predicted = [], [], []
    for part in run.parts:
        test, step = part.subject.test, part.chain.giver(part.chain.output)
        mean = part.subject.train.patterns.mean(axis=0, dtype=np.float64)
        measured.append(np.asarray(test.patterns))
        means.append(np.broadcast_to(mean, measured[-1].shape))
        predicted.append(np.asarray(RunValues(part).predicted("test", step)[part.chain.output]))
    ceiling = measured_noise_ceiling(run.parts[0].subject)
    # One row stands for all where there is one part.
    mean = means[0][0] if len(means) == 1 else np.concatenate(means)
    return MeasuredResponses(np.concatenate(measured), mean, ceiling), np.concatenate(predicted)
