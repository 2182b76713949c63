"""Voxels to one value, tokens or a vector: MindEye's residual network, of which the projected tokens alone are given."""

from __future__ import annotations

from torch import nn

from stages.networks.voxel_mlp import VoxelMLP


class TokenHead(nn.Module):
    """A residual network for one value by itself; several of them share nothing.

    >>> import torch
    >>> head = TokenHead(50, {"clip_image": (3, 8)}, hidden=16, projected=12)
    >>> head(torch.zeros(2, 50))["clip_image"].shape
    torch.Size([2, 3, 8])

    Parameters
    ----------
    n_voxels : int
    gives : mapping of str to tuple of int
        One value (n_tokens, width), or (width,), which counts as one token.
    hidden, n_blocks, projected, dropout
        See `stages.networks.voxel_mlp.VoxelMLP`.
    """

    def __init__(self, n_voxels, gives, hidden=2048, n_blocks=4, projected=2048, dropout=(0.5, 0.15)):
        super().__init__()
        ((self.name, shape),) = gives.items()
        self.shape = tuple(shape)
        n_tokens, width = self.shape if len(self.shape) == 2 else (1, *self.shape)
        self.mlp = VoxelMLP(n_voxels, n_tokens, width, hidden, n_blocks, projected, tuple(dropout))

    def forward(self, patterns):
        """Of patterns (n, n_voxels), the value by its name, tensor (n, ...)."""
        _, projected = self.mlp(patterns)
        return {self.name: projected.reshape(-1, *self.shape)}
