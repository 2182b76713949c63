"""Residual networks from voxels to the tokens of a picture, as MindEye has them (Scotti et al. 2023).

Names of parameters are those of the published weights.
"""

from __future__ import annotations

import math

from torch import nn

from stages.ground.checks import Number, check


class VoxelMLP(nn.Module):
    """Voxels to tokens: a wide layer in, residual blocks, a layer out; and a projector that makes other tokens of these.

    >>> import torch
    >>> network = VoxelMLP(50, n_tokens=3, width=8, hidden=16, projected=12)
    >>> backbone, projected = network(torch.zeros(2, 50))
    >>> backbone.shape, projected.shape
    (torch.Size([2, 3, 8]), torch.Size([2, 3, 8]))

    Parameters
    ----------
    n_voxels : int
    n_tokens, width : int
        Of the embedding. Published: 257 x 768.
    hidden : int
        Values between the blocks. Published: 4096.
    n_blocks : int
    projected : int
        Values inside the projector. Published: 2048.
    dropout : tuple of two floats
        Share of the values that training leaves out after the first layer, and in each block.
    """

    def __init__(self, n_voxels, n_tokens=257, width=768, hidden=4096, n_blocks=4, projected=2048, dropout=(0.5, 0.15)):
        super().__init__()
        _check_sizes(n_voxels, hidden, n_blocks)
        self.shape = n_tokens, width
        self.lin0 = nn.Sequential(*_block(n_voxels, hidden, nn.GELU, dropout[0]))
        self.mlp = nn.ModuleList(nn.Sequential(*_block(hidden, hidden, nn.GELU, dropout[1])) for _ in range(n_blocks))
        self.lin1 = nn.Linear(hidden, n_tokens * width)
        self.projector = token_projector(width, projected)

    def forward(self, patterns):
        """Find tokens.

        Parameters
        ----------
        patterns : tensor of shape (n, n_voxels)

        Returns
        -------
        backbone, projected : tensors of shape (n, n_tokens, width)
        """
        backbone = self.lin1(_through(self.lin0, self.mlp, patterns)).unflatten(1, self.shape)
        return backbone, self.projector(backbone)


class BlurryLatent(nn.Module):
    """Voxels to the latent of a blurry picture: residual blocks, a small map, and an autoencoder's upward half.

    >>> import torch
    >>> network = BlurryLatent(n_voxels=50, hidden=16, channels=(32, 64), map_shape=(8, 4, 4))
    >>> latent, places = network(torch.zeros(2, 50))
    >>> latent.shape, places.shape
    (torch.Size([2, 4, 8, 8]), torch.Size([2, 16, 512]))

    Parameters
    ----------
    n_voxels : int
    hidden : int
        Published: 4096.
    n_blocks : int
    map_shape : tuple of three ints
        Channels, height and width of the map. Published: (64, 16, 16).
    latent_channels : int
    channels : tuple of int
        Of the upward half, from its last block to its first; every block but the last doubles the sides. Published: (64, 128,
        256), whose latents have four times the sides of the map.
    places_width : int
        Values of each place of the map for the teacher that training has. Published: 512.
    dropout : tuple of two floats
    """

    def __init__(
        self,
        n_voxels,
        hidden=4096,
        n_blocks=4,
        map_shape=(64, 16, 16),
        latent_channels=4,
        channels=(64, 128, 256),
        places_width=512,
        dropout=(0.5, 0.25),
    ):
        super().__init__()
        _check_blocks(hidden, n_blocks)
        self.map_shape, width = tuple(map_shape), map_shape[0]
        self.lin0 = self._first(n_voxels, hidden, dropout[0])
        self.mlp = nn.ModuleList(
            nn.Sequential(*_block(hidden, hidden, nn.SiLU, dropout[1], bias=False)) for _ in range(n_blocks)
        )
        self.lin1 = nn.Linear(hidden, math.prod(map_shape), bias=False)
        self.norm = nn.GroupNorm(1, width)
        self.upsampler = upward_half(width, latent_channels, channels)
        self.maps_projector = place_projector(width, places_width)

    @staticmethod
    def _first(n_voxels, hidden, dropout):
        """The layers that read voxels."""
        check("n_voxels", n_voxels, Number(1, whole=True, example=15724))
        return nn.Sequential(*_block(n_voxels, hidden, nn.SiLU, dropout, bias=False))

    def forward(self, patterns):
        """Find latents.

        Parameters
        ----------
        patterns : tensor of shape (n, n_voxels)

        Returns
        -------
        latents : tensor of shape (n, latent_channels, height, width)
            In the units of the autoencoder that was learned from.
        places : tensor of shape (n, n_places, places_width)
            Of each place of the map, row by row.
        """
        small = self.norm(self.lin1(_through(self.lin0, self.mlp, patterns)).unflatten(1, self.map_shape))
        return self.upsampler(small), self.maps_projector(small).flatten(2).transpose(1, 2)


def token_projector(width, projected):
    """Layers that make other tokens of tokens (..., width), each by itself, with so many values inside."""
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.GELU(),
        nn.Linear(width, projected),
        nn.LayerNorm(projected),
        nn.GELU(),
        nn.Linear(projected, projected),
        nn.LayerNorm(projected),
        nn.GELU(),
        nn.Linear(projected, width),
    )


def place_projector(width, places_width=512):
    """Layers from each place of a map (n, width, height, width of the map) to values that a teacher has of it."""
    return nn.Sequential(
        nn.Conv2d(width, places_width, 1, bias=False),
        nn.GroupNorm(1, places_width),
        nn.ReLU(),
        nn.Conv2d(places_width, places_width, 1, bias=False),
        nn.GroupNorm(1, places_width),
        nn.ReLU(),
        nn.Conv2d(places_width, places_width, 1),
    )


def upward_half(map_channels, latent_channels, channels):
    """The upward half of an autoencoder, from a small map to a latent: every block but the last doubles the sides."""
    # Takes seconds to import.
    from diffusers.models.autoencoders.vae import Decoder

    return Decoder(
        in_channels=map_channels,
        out_channels=latent_channels,
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=tuple(channels),
        layers_per_block=1,
    )


def _through(first, blocks, values):
    values = first(values)
    for block in blocks:
        values = block(values) + values
    return values


def _block(inputs, outputs, activation, dropout, bias=True):
    return nn.Linear(inputs, outputs, bias=bias), nn.LayerNorm(outputs), activation(), nn.Dropout(dropout)


def _check_sizes(n_voxels, hidden, n_blocks):
    check("n_voxels", n_voxels, Number(1, whole=True, example=15724))
    _check_blocks(hidden, n_blocks)


def _check_blocks(hidden, n_blocks):
    check("hidden", hidden, Number(1, whole=True, example=4096))
    check("n_blocks", n_blocks, Number(0, whole=True))
