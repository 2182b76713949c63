"""Contrastive losses: each predicted row is to be nearer to its own true row than to those of the other samples.

Cosines of rows, divided by a temperature, are logits of which sample a row belongs to. Scotti et al. (2023), "Reconstructing
the mind's eye", train with two of these in turn: mixed samples first, soft labels after. Temperatures here are divided by, and
losses are averaged over samples and over both directions: which true row belongs to a prediction, which prediction to a true row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, normalize

from stages.ground.checks import OneOf, check
from stages.ground.devices import sent_to

# Of InfoNCE: which true row belongs to a prediction; and which prediction to a true row, too.
DIRECTIONS = ("prediction", "both")


@dataclass(frozen=True)
class Mixture:
    """Which samples of a batch are mixed, and how much of each is left.

    >>> mixture = Mixture(torch.tensor([1, 0]), torch.tensor([0.75, 1.0]))
    >>> mixture.mix(torch.tensor([[4.0], [8.0]])).tolist()
    [[5.0], [8.0]]
    >>> mixture.labels().tolist()
    [[0.75, 0.25], [0.0, 1.0]]

    Attributes
    ----------
    partners : int tensor of shape (n,)
        A permutation: the sample that each is mixed with. A sample may be its own partner.
    shares : tensor of shape (n,)
        What is left of each sample, 1 if it is not mixed; the rest is its partner's.
    """

    partners: Tensor
    shares: Tensor

    def mix(self, values: Tensor) -> Tensor:
        """Mix rows, tensor of shape (n, ...)."""
        shares = self.shares.to(values).reshape(-1, *[1] * (values.ndim - 1))
        return values * shares + values[self.partners] * (1 - shares)

    def labels(self, own_partner: str = "whole") -> Tensor:
        """Return the share of each sample in each mixed row, tensor of shape (n, n).

        Parameters
        ----------
        own_partner : {"whole", "rest"}
            What a sample that is its own partner is labelled with: 1, since nothing was mixed into it, or the rest alone. The
            published code writes the rest over the share, so that an unmixed one is labelled with nothing at all.
        """
        check("own_partner", own_partner, OneOf("whole", "rest"))
        rows = torch.arange(len(self.shares), device=self.shares.device)
        labels = torch.diag(self.shares)
        if own_partner == "rest":
            labels[rows, self.partners] = 1 - self.shares
        else:
            labels[rows, self.partners] += 1 - self.shares
        return labels


def draw_mixture(
    n_samples: int, *, spread: float = 0.15, probability: float = 0.5, device: str | torch.device = "cpu"
) -> Mixture:
    """Draw which samples are mixed, from torch's global generator.

    >>> draw_mixture(4, probability=0.0).shares.tolist()
    [1.0, 1.0, 1.0, 1.0]

    Parameters
    ----------
    n_samples : int
    spread : float
        A share is Beta(spread, spread): near 0 or 1 where it is small. Published: 0.15.
    probability : float
        Of each sample, that it is mixed.
    device : str or torch.device

    Returns
    -------
    mixture : Mixture
    """
    # On the CPU, so that a step draws the same numbers on every device.
    partners = torch.randperm(n_samples)
    shares = torch.distributions.Beta(spread, spread).sample((n_samples,))
    shares = torch.where(torch.rand(n_samples) < probability, shares, torch.ones(()))
    return Mixture(sent_to(device, partners), sent_to(device, shares))


def side_by_side(mixtures: Sequence[Mixture], partners_in: str = "batch") -> Mixture:
    """Make one mixture of those of several groups, whose rows stand one group after the other.

    >>> first = Mixture(torch.tensor([1, 0]), torch.tensor([0.75, 1.0]))
    >>> side_by_side([first, first]).partners.tolist()
    [1, 0, 3, 2]
    >>> side_by_side([first, first], partners_in="group").partners.tolist()
    [1, 0, 1, 0]

    Parameters
    ----------
    mixtures : sequence of Mixture
        Of each group, whose partners are rows of that group.
    partners_in : {"batch", "group"}
        Where partners are looked for: at their rows among all; or where they were in their own group, which are rows of the first
        group and so, for the others, of samples that were not mixed in. The published code of MindEye2 does the latter.
    """
    check("partners_in", partners_in, OneOf("batch", "group"))
    sizes = [len(one.shares) for one in mixtures]
    firsts = [sum(sizes[:place]) if partners_in == "batch" else 0 for place in range(len(sizes))]
    partners = torch.cat([one.partners + first for one, first in zip(mixtures, firsts)])
    return Mixture(partners, torch.cat([one.shares for one in mixtures]))


def info_nce(predicted: Tensor, true: Tensor, temperature: float | Tensor, directions: str = "both") -> Tensor:
    """InfoNCE; symmetric, as CLIP is trained, unless it is told otherwise.

    >>> same = torch.eye(3)
    >>> info_nce(same, same, temperature=0.01).item() < 1e-6
    True

    Parameters
    ----------
    predicted, true : tensors of shape (n, ...)
        Rows that belong together. What lies behind the first axis is one long row; lengths do not matter.
    temperature : float, or tensor without dimensions
    directions : {"both", "prediction"}
        "prediction" asks which true row belongs to a prediction alone.

    Returns
    -------
    loss : tensor without dimensions
    """
    check("directions", directions, OneOf(*DIRECTIONS))
    logits = cosines(predicted, true) / temperature
    if directions == "prediction":
        return -log_softmax(logits, 1).diagonal().mean()
    own = -(log_softmax(logits, 1).diagonal() + log_softmax(logits, 0).diagonal())
    return own.mean() / 2


def mixed_nce(
    predicted: Tensor, true: Tensor, mixture: Mixture, temperature: float, own_partner: str = "whole"
) -> Tensor:
    """InfoNCE for predictions from mixed inputs (BiMixCo): the labels are the shares of the mixture, in both directions.

    >>> mixture = Mixture(torch.tensor([2, 0, 1]), torch.ones(3))
    >>> predicted, true = torch.rand(3, 5), torch.rand(3, 5)
    >>> bool(mixed_nce(predicted, true, mixture, 0.1).isclose(info_nce(predicted, true, 0.1)))
    True

    Parameters
    ----------
    predicted : tensor of shape (n, ...)
        From rows that `mixture` has mixed.
    true : tensor of the same shape
        Of the samples as they are.
    mixture : Mixture
    temperature : float
        Published: 0.006.
    own_partner : {"whole", "rest"}
        See `Mixture.labels`.

    Returns
    -------
    loss : tensor without dimensions
    """
    logits = cosines(predicted, true) / temperature
    labels = sent_to(logits.device, mixture.labels(own_partner)).to(logits)
    return _cross_entropies(labels, log_softmax(logits, 1), log_softmax(logits, 0))


def soft_clip(predicted: Tensor, true: Tensor, temperature: float) -> Tensor:
    """InfoNCE whose labels are soft: how near the true rows are to each other says what may be confused.

    It tends to `info_nce` as the temperature goes to 0, if no two true rows are equal. Its least value, reached where `predicted`
    is `true`, is the entropy of the labels and not 0.

    >>> same = torch.eye(3)
    >>> soft_clip(same, same, temperature=0.01).item() < 1e-6
    True

    Parameters
    ----------
    predicted, true : tensors of shape (n, ...)
        See `info_nce`.
    temperature : float
        Of the labels as of the logits. Published: `soft_clip_temperature`.

    Returns
    -------
    loss : tensor without dimensions
    """
    logits = cosines(predicted, true) / temperature
    labels = (cosines(true, true) / temperature).softmax(1)
    return _cross_entropies(labels, log_softmax(logits, 1), log_softmax(logits, 0).T)


def soft_views(student: Tensor, teacher: Tensor, other_view: Tensor, temperature: float) -> Tensor:
    """Bring a student's rows to where a teacher's are among the rows of another view of the same pictures.

    Labels are how near the teacher's rows are to those of the other view; the student is to be as near to them.

    >>> rows, view = torch.eye(3), torch.eye(3)
    >>> soft_views(rows, rows, view, temperature=0.01).item() < 1e-6
    True

    Parameters
    ----------
    student, teacher, other_view : tensors of shape (n, n_values)
        Of the same places in the same pictures, the last of pictures that were changed.
    temperature : float
        Published: 0.075.

    Returns
    -------
    loss : tensor without dimensions
    """
    judged, labels = cosines(student, other_view) / temperature, cosines(teacher, other_view) / temperature
    there = labels.softmax(1) * log_softmax(judged, 1)
    back = labels.softmax(0) * log_softmax(judged, 0)
    return -(there.sum() + back.sum()) / (2 * len(student))


def soft_clip_temperature(part: float, first: float = 0.004, last: float = 0.0075) -> float:
    """Return the temperature at a part of the way from 0 to 1, along half a cosine.

    >>> soft_clip_temperature(0.0), soft_clip_temperature(1.0), round(soft_clip_temperature(0.5), 5)
    (0.004, 0.0075, 0.00575)
    """
    return last - (last - first) / 2 * (1 + math.cos(math.pi * part))


def cosines(predicted: Tensor, true: Tensor) -> Tensor:
    """Cosine of each predicted row (first axis) with each true one (second), tensor of shape (n, m)."""
    rows, others = (normalize(values.flatten(1).float(), dim=1) for values in (predicted, true))
    return rows @ others.T


def _cross_entropies(labels: Tensor, by_prediction: Tensor, by_truth: Tensor) -> Tensor:
    """Mean over both directions of the cross-entropy with labels, each tensor (n, n) and its logarithms beside its labels."""
    return -(labels * (by_prediction + by_truth)).sum() / (2 * len(labels))
