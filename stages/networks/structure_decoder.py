"""Responses to a map of structure, such as the silhouette of what was seen."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

_ENLARGED = 3


class StructureDecoder(nn.Module):
    """One full layer to a small grid, then enlargements by two with a convolution each, as Gaziv et al. (2022) decode pictures.

    Each enlargement is bicubic; then come a reflected border of 2, a convolution 5 x 5, a normalisation in 32 groups and Swish.
    The last convolution gives three colours, and a sigmoid brings them to 0..1.

    >>> decoder = StructureDecoder(30, {"structure": (3, 32, 32)}, channels=32)
    >>> decoder(torch.zeros(2, 30))["structure"].shape
    torch.Size([2, 3, 32, 32])

    Parameters
    ----------
    n_voxels : int
    gives : dict of str to tuple of int
        The name of the map, and its shape (3, side, side), side a multiple of 8. CMVDM's is 112, from a grid of 14.
    channels : int
        A multiple of 32.
    """

    def __init__(self, n_voxels, gives, channels=64):
        super().__init__()
        ((self.name, (colours, side, _)),) = gives.items()
        self._grid = (channels, side // 2**_ENLARGED, side // 2**_ENLARGED)
        self.full = nn.Linear(n_voxels, channels * self._grid[1] ** 2)
        self.convolutions = nn.ModuleList(nn.Conv2d(channels, channels, 5) for _ in range(_ENLARGED))
        self.normalisations = nn.ModuleList(nn.GroupNorm(32, channels) for _ in range(_ENLARGED))
        self.last = nn.Conv2d(channels, colours, 5)

    def forward(self, patterns):
        """Make maps (n, 3, side, side), 0..1, of patterns (n, n_voxels), by their name."""
        hidden = self.full(patterns).view(-1, *self._grid)
        for convolution, normalisation in zip(self.convolutions, self.normalisations):
            hidden = functional.interpolate(hidden, scale_factor=2, mode="bicubic", align_corners=False)
            hidden = functional.silu(normalisation(convolution(_bordered(hidden))))
        return {self.name: torch.sigmoid(self.last(_bordered(hidden)))}


def _bordered(maps):
    return functional.pad(maps, (2, 2, 2, 2), mode="reflect")
