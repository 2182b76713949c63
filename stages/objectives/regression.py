"""Objectives that bring each value near its true one."""

from __future__ import annotations

from torch.nn.functional import cosine_similarity, l1_loss, mse_loss, normalize


class MeanSquaredError:
    """The mean squared difference: loss = weight * mean((output - target)**2), over samples and values.

    >>> import torch
    >>> loss, parts = MeanSquaredError("vdvae", weight=2.0)({"vdvae": torch.ones(4, 3)}, {"vdvae": torch.zeros(4, 3)}, step=0)
    >>> loss.item(), parts["vdvae error"].item()
    (2.0, 1.0)

    Parameters
    ----------
    name : str
        The output, and the target of the same name.
    weight : float
    """

    def __init__(self, name, weight=1.0):
        self.reads, self.weight = (name,), weight

    def __call__(self, outputs, targets, step):
        (name,) = self.reads
        error = mse_loss(outputs[name].float(), targets[name].float())
        return self.weight * error, {f"{name} error": error.detach()}

    def __repr__(self):
        return f"MeanSquaredError({self.reads[0]!r}, weight={self.weight})"


class MeanAbsoluteError(MeanSquaredError):
    """The mean absolute difference: loss = weight * mean(abs(output - target)), over samples and values.

    >>> import torch
    >>> loss, parts = MeanAbsoluteError("vdvae", weight=2.0)({"vdvae": torch.ones(4, 3)}, {"vdvae": torch.zeros(4, 3)}, step=0)
    >>> loss.item(), parts["vdvae difference"].item()
    (2.0, 1.0)

    Parameters
    ----------
    name : str
        The output, and the target of the same name.
    weight : float
    """

    def __call__(self, outputs, targets, step):
        (name,) = self.reads
        error = l1_loss(outputs[name].float(), targets[name].float())
        return self.weight * error, {f"{name} difference": error.detach()}

    def __repr__(self):
        return f"MeanAbsoluteError({self.reads[0]!r}, weight={self.weight})"


class UnitSquaredError(MeanSquaredError):
    """The mean squared difference of rows of unit length, which tells their angle.

    loss = weight * mean(2 - 2 cos(output, target)) / n_values, over samples.

    >>> import torch
    >>> ones = torch.ones(4, 2, 3)
    >>> loss, parts = UnitSquaredError("clip_text", weight=8.0)({"clip_text": ones}, {"clip_text": -ones}, step=0)
    >>> round(loss.item(), 4), round(parts["clip_text error"].item(), 4)
    (5.3333, 0.6667)

    Parameters
    ----------
    name : str
        The output, and the target of the same name; what lies behind the first axis is one long row.
    weight : float
        MindBridge (CVPR 2024): 10,000.
    """

    def __call__(self, outputs, targets, step):
        (name,) = self.reads
        rows, true = (normalize(values[name].float().flatten(1), dim=1) for values in (outputs, targets))
        error = mse_loss(rows, true)
        return self.weight * error, {f"{name} error": error.detach()}

    def __repr__(self):
        return f"UnitSquaredError({self.reads[0]!r}, weight={self.weight})"


class MeanSquare:
    """The mean square of an output that is an error already: loss = mean(output**2), over samples and values.

    A network that learns to give back what it reads finds its errors itself: no true value stands beside the responses.

    >>> import torch
    >>> loss, parts = MeanSquare("response_error")({"response_error": torch.full((4, 3), 2.0)}, {}, step=0)
    >>> loss.item(), list(parts)
    (4.0, ['response_error'])

    Parameters
    ----------
    name : str
        The output.
    weight : float
    """

    reads = ()

    def __init__(self, name, weight=1.0):
        self.name, self.weight = name, weight

    def __call__(self, outputs, targets, step):
        loss = outputs[self.name].float().square().mean()
        return self.weight * loss, {self.name: loss.detach()}

    def __repr__(self):
        return f"MeanSquare({self.name!r})"


class CosineDistance(MeanSquaredError):
    """The mean angle's cosine, from 1: loss = weight * mean(1 - cos(output, target)), over samples and tokens.

    >>> import torch
    >>> ones = torch.ones(4, 7, 3)
    >>> loss, parts = CosineDistance("clip_text", weight=2.0)({"clip_text": 5 * ones}, {"clip_text": -ones}, step=0)
    >>> loss.item(), parts["clip_text distance"].item()
    (4.0, 2.0)

    Parameters
    ----------
    name : str
        The output, and the target of the same name; vectors lie along the last axis.
    weight : float
    """

    def __call__(self, outputs, targets, step):
        (name,) = self.reads
        distance = 1 - cosine_similarity(outputs[name].float(), targets[name].float(), dim=-1).mean()
        return self.weight * distance, {f"{name} distance": distance.detach()}

    def __repr__(self):
        return f"CosineDistance({self.reads[0]!r}, weight={self.weight})"
