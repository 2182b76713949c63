"""Voxels of one mean and one spread, before a network reads them; both numbers are stored with its weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from stages.ground.checks import finite, is_constant
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

ROWS_AT_A_TIME = 256
TOGETHER = "all voxels together"
WAYS = (True, TOGETHER, False)


class Voxels(nn.Module):
    """The standardisation of a subject's voxels: (patterns - mean) / scale.

    >>> voxels = Voxels()
    >>> voxels.measure(np.float32([[1, 5], [3, 5], [99, 99]]), rows=np.array([0, 1]))
    >>> voxels(torch.tensor([[4.0, 5.0]]))
    tensor([[2., 0.]])

    Parameters
    ----------
    n_voxels : int
        So many numbers the mean and the scale are, until they are measured.
    """

    def __init__(self, n_voxels=0):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_voxels))
        self.register_buffer("scale", torch.ones(n_voxels))

    def measure(self, responses, rows, together=False):
        """Take mean and standard deviation of every voxel over some rows; a voxel that does not vary is 0 from then on.

        >>> voxels = Voxels()
        >>> voxels.measure(np.float32([[1, 5], [3, 7]]), rows=np.array([0, 1]), together=True)
        >>> voxels.mean, voxels.scale
        (tensor([4., 4.]), tensor([2.2361, 2.2361]))

        Parameters
        ----------
        responses : rows of shape (n_trials, n_voxels)
            Read in blocks.
        rows : int array
            At least one.
        together : bool
            Take one mean and one standard deviation of all voxels, so that what differs between voxels stays.
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
        if together:
            between = np.sqrt((deviation**2).mean() + mean.var())
            mean, deviation = np.full_like(mean, mean.mean()), np.full_like(mean, between)
        deviation[is_constant(mean, deviation)] = np.inf
        self.mean, self.scale = (
            torch.from_numpy(mean.astype(np.float32)),
            torch.from_numpy(deviation.astype(np.float32)),
        )

    def leave_as_they_are(self):
        """Let the network read the voxels as they are: a mean of 0, and a scale of 1."""
        self.mean, self.scale = torch.zeros_like(self.mean), torch.ones_like(self.scale)

    def forward(self, patterns):
        return (patterns - self.mean) / self.scale


class Standardised(Voxels):
    """A network behind the standardisation of its voxels.

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
        super().__init__(n_voxels)
        self.network = network

    @property
    def n_voxels(self):
        """Voxels of a pattern."""
        return len(self.mean)

    @property
    def reads_in_training(self):
        """Names of targets that the network reads besides, in training."""
        return tuple(getattr(self.network, "reads_in_training", ()))

    @property
    def sees_whole_batches(self):
        """Whether what the network makes of a sample depends on the others of its batch."""
        return getattr(self.network, "sees_whole_batches", False)

    def voxels(self, subject):
        """Voxels of the one subject, whatever its name."""
        return self

    def of_subject(self, patterns, subject):
        """Outputs for patterns (n, n_voxels) of the one subject, whatever its name."""
        return self(patterns)

    def prepared(self, patterns, subject):
        """What the network makes of patterns before all else, by its own `prepared`."""
        return self.network.prepared(super().forward(patterns))

    def of_prepared(self, rows, subject):
        """Outputs for what `prepared` gave."""
        return self.network(rows)

    def forward(self, patterns, *others):
        return self.network(super().forward(patterns), *others)


class StandardisedSubjects(nn.Module):
    """A network of several subjects behind the standardisation of the voxels of each.

    >>> class Sum(nn.Module):
    ...     def forward(self, patterns):
    ...         return torch.cat([values.sum(dim=1) for values in patterns.values()])
    >>> network = StandardisedSubjects(Sum(), {"subj01": 2, "subj02": 3})
    >>> network({"subj02": torch.ones(1, 3), "subj01": torch.ones(2, 2)})
    tensor([3., 2., 2.])

    Parameters
    ----------
    network : torch.nn.Module
        Takes a dict of subject to tensor (n, n_voxels); ``network.subject_tensors(subject)`` names the tensors that are that
        subject's alone, dict of a name to store it by to its name in the state dict.
    n_voxels : dict of str to int
        By subject.
    """

    def __init__(self, network, n_voxels):
        super().__init__()
        self.network = network
        self.subjects = tuple(n_voxels)
        self._voxels = nn.ModuleList(map(Voxels, n_voxels.values()))

    @property
    def n_voxels(self):
        """Voxels of a pattern by subject."""
        return {subject: len(self.voxels(subject).mean) for subject in self.subjects}

    reads_in_training = Standardised.reads_in_training
    sees_whole_batches = Standardised.sees_whole_batches

    def voxels(self, subject):
        """Voxels of a subject; by default of the only one.

        Raises
        ------
        InputError
            The network does not know the subject, or none is named and there are several.
        """
        if subject is None and len(self.subjects) == 1:
            (subject,) = self.subjects
        if subject not in self.subjects:
            told = "nobody is said to be their subject" if subject is None else f"patterns of {subject} were given"
            meant = "" if subject is None else did_you_mean(subject, self.subjects)
            raise InputError(
                f"The decoder was fitted on {', '.join(self.subjects)} but {told}{meant}; pass subject="
                f"{self.subjects[0]!r} with patterns of that subject, or fit the decoder on this one."
            )
        return self._voxels[self.subjects.index(subject)]

    def of_subject(self, patterns, subject):
        """Outputs for patterns (n, n_voxels) of a subject; by default of the only one."""
        return self({self.subjects[0] if subject is None else subject: patterns})

    def prepared(self, patterns, subject):
        """What the network makes of a subject's patterns before all else, by its own `prepared`."""
        return self.network.prepared(self.voxels(subject)(patterns))

    def of_prepared(self, rows, subject):
        """Outputs for what `prepared` gave."""
        return self.network({self.subjects[0] if subject is None else subject: rows})

    def subject_tensors(self, subject):
        """Tensors that belong to a subject alone: dict of a name to store it by to its name in the state dict."""
        own = {name: f"_voxels.{self.subjects.index(subject)}.{name}" for name in ("mean", "scale")}
        return own | {
            f"network.{name}": f"network.{place}" for name, place in self.network.subject_tensors(subject).items()
        }

    def forward(self, patterns, *others):
        return self.network({name: self.voxels(name)(values) for name, values in patterns.items()}, *others)


def standardised(network, n_voxels):
    """A network behind the standardisation of voxels: of one subject, or of several if `n_voxels` has them by name."""
    kind = StandardisedSubjects if isinstance(n_voxels, Mapping) else Standardised
    return kind(network, n_voxels)
