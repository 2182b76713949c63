"""Voxels to features by one hidden layer, as Ferrante and others (2022) have it beside ridge."""

from __future__ import annotations

import math

from torch import nn

from stages.ground.checks import Number, check


class TanhMLP(nn.Module):
    """One hidden layer behind a hyperbolic tangent.

        y = W2 dropout(tanh(W1 x + b1)) + b2

    >>> import torch
    >>> network = TanhMLP(50, {"class_features": (12,)}, hidden=16)
    >>> network(torch.zeros(3, 50))["class_features"].shape
    torch.Size([3, 12])

    Parameters
    ----------
    n_voxels : int
    gives : mapping of str to tuple of int
        Name and shape of the one value.
    hidden : int
        Values of the hidden layer. Published: 1,024.
    dropout : float
        Share of them that training leaves out.
    """

    def __init__(self, n_voxels, gives, hidden=1024, dropout=0.3):
        super().__init__()
        check("hidden", hidden, Number(1, whole=True, example=1024))
        check("dropout", dropout, Number(0, 1, below=True, example=0.3))
        ((self.name, self.shape),) = gives.items()
        self.layers = nn.Sequential(
            nn.Linear(n_voxels, hidden), nn.Tanh(), nn.Dropout(dropout), nn.Linear(hidden, math.prod(self.shape))
        )

    def forward(self, patterns):
        """Predict the value: dict of its name to a tensor (n, *shape), from patterns (n, n_voxels)."""
        return {self.name: self.layers(patterns).unflatten(1, self.shape)}
