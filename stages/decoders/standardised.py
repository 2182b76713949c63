"""Voxels of one mean and one spread, before a network reads them; both numbers are stored with its weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from stages.ground.checks import finite, is_constant

ROWS_AT_A_TIME = 256


class Standardised(nn.Module):
    """A network behind the standardisation of its voxels: it reads (patterns - mean) / scale.

    >>> network = Standardised(nn.Identity())
    >>> network.measure(np.float32([[1, 5], [3, 5], [99, 99]]), rows=np.array([0, 1]))
    >>> network(torch.tensor([[4.0, 5.0]]))
    tensor([[2., 0.]])

    Parameters
    ----------
    network : torch.nn.Module
        Takes a tensor of shape (n, n_voxels).
    n_voxels : int
        So many numbers the mean and the scale are, until they are measured.
    """

    def __init__(self, network, n_voxels=0):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.zeros(n_voxels))
        self.register_buffer("scale", torch.ones(n_voxels))

    def measure(self, responses, rows):
        """Take mean and standard deviation of every voxel over some rows; a voxel that does not vary is 0 from then on.

        Parameters
        ----------
        responses : rows of shape (n_trials, n_voxels)
            Read in blocks.
        rows : int array
            At least one.
        """
        total = np.zeros((2, responses.shape[1]))
        blocks = [rows[first : first + ROWS_AT_A_TIME] for first in range(0, len(rows), ROWS_AT_A_TIME)]
        # About the first row, or the squares of large means would drown what varies.
        origin = np.asarray(responses[rows[:1]], dtype=np.float64)
        for block in blocks:
            values = (
                finite(np.asarray(responses[block], dtype=np.float64), "responses", axis=1, units="voxels") - origin
            )
            total += [values.sum(axis=0), (values**2).sum(axis=0)]
        mean, square = total / len(rows)
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        mean = mean + origin[0]
        deviation[is_constant(mean, deviation)] = np.inf
        self.mean, self.scale = (
            torch.from_numpy(mean.astype(np.float32)),
            torch.from_numpy(deviation.astype(np.float32)),
        )

    def leave_as_they_are(self, n_voxels):
        """Let the network read the voxels as they are: a mean of 0, and a scale of 1."""
        self.mean, self.scale = torch.zeros(n_voxels), torch.ones(n_voxels)

    @property
    def reads_in_training(self):
        """Names of targets that the network reads besides, in training."""
        return tuple(getattr(self.network, "reads_in_training", ()))

    @property
    def sees_whole_batches(self):
        """Whether what the network makes of a sample depends on the others of its batch."""
        return getattr(self.network, "sees_whole_batches", False)

    def forward(self, patterns, *others):
        return self.network((patterns - self.mean) / self.scale, *others)
