"""Voxels of several subjects to the latent of a blurry picture, under the guidance of what another network makes of them.

After Liu et al. (AAAI 2025), "See Through Their Minds": an adapter for each subject, blocks that all share, to whose values those
of a network of meaning are added, and an autoencoder's upward half.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from stages.adapters.subject_inputs import tensors_of_parts
from stages.ground.checks import OneOf, check
from stages.ground.devices import sent_to
from stages.ground.errors import InputError
from stages.networks.subject_adapter import SubjectAdapter
from stages.networks.voxel_mlp import upward_half

READS = ("both", "guidance", "voxels")
_DROPOUT = 0.15


class GuidedLatent(nn.Module):
    """The latent of a blurry picture.

    >>> network = GuidedLatent({"subj01": 50, "subj02": 40}, (4, 8, 8), hidden=16, map_channels=32, channels=(32, 64))
    >>> network({"subj02": torch.zeros(3, 40)}, guidance=torch.zeros(3, 16)).shape
    torch.Size([3, 4, 8, 8])

    Parameters
    ----------
    n_voxels : mapping of str to int
        By subject.
    shape : tuple of int
        Channels, height and width of the latent. Published: (4, 64, 64).
    hidden : int
        Values between the blocks, as many as guide. Published: 4096.
    n_blocks : int
    map_channels : int
        Of the small map before the upward half. Published: 64.
    channels : tuple of int
        See `stages.networks.voxel_mlp.upward_half`. Published: (64, 128, 256).
    reads : {"both", "guidance", "voxels"}
        What the latent is made of. With "both" training takes the voxels away from some batches; with one of them alone learned
        values stand for the other.
    without_voxels : float
        Probability that a batch is trained without its voxels. Published: 0.4.
    """

    def __init__(
        self,
        n_voxels,
        shape,
        hidden=4096,
        n_blocks=4,
        map_channels=64,
        channels=(64, 128, 256),
        reads="both",
        without_voxels=0.4,
    ):
        super().__init__()
        self._reads, self._without_voxels = check("reads", reads, OneOf(*READS)), without_voxels
        latent_channels, *sides = shape
        smaller = 2 ** (len(channels) - 1)
        if any(side % smaller for side in sides):
            raise InputError(
                f"The latent is {sides[0]} x {sides[1]}; expected multiples of {smaller} for {len(channels)} blocks of channels."
            )
        self._map_shape = map_channels, *(side // smaller for side in sides)
        if reads != "guidance":
            self.adapter = SubjectAdapter(n_voxels, hidden)
            self.mlp = nn.ModuleList(_block(hidden) for _ in range(n_blocks))
        # Names as in the authors' file.
        if reads != "voxels":
            self.null_high_embeds_1 = nn.Parameter(torch.randn(hidden))
        else:
            self.null_high_embeds = nn.Parameter(torch.randn(hidden))
        self.merge_block = _block(hidden)
        self.lin = nn.Linear(hidden, math.prod(self._map_shape), bias=False)
        self.norm = nn.GroupNorm(1, map_channels)
        self.upsampler = upward_half(map_channels, latent_channels, channels)

    def subject_tensors(self, subject):
        """Names of the tensors that belong to one subject alone: as they are stored, and in the state dict."""
        return tensors_of_parts(subject, {} if self._reads == "guidance" else {"adapter": self.adapter})

    def forward(self, patterns, guidance):
        """Find latents.

        Parameters
        ----------
        patterns : mapping of str to tensor of shape (n of the subject, n_voxels of the subject)
        guidance : tensor of shape (n of all, hidden)
            What the network of meaning makes of the same patterns.

        Returns
        -------
        latents : tensor of shape (n of all, channels, side, side)
        """
        if self._reads == "guidance":
            values = self.null_high_embeds_1.expand_as(guidance)
        else:
            values = self.adapter(patterns)
            for block in self.mlp:
                values = block(values) + values
        if self._reads == "voxels":
            values = values + self.null_high_embeds
        else:
            if self._reads == "both" and self.training:
                # One draw for the whole batch, as there; on the CPU, so that every device draws the same.
                away = sent_to(values.device, torch.rand(()) < self._without_voxels)
                values = torch.where(away, self.null_high_embeds_1.to(values), values)
            values = values + guidance
        values = self.merge_block(values) + values
        return self.upsampler(self.norm(self.lin(values).unflatten(1, self._map_shape)))


def _block(hidden):
    return nn.Sequential(nn.Linear(hidden, hidden, bias=False), nn.LayerNorm(hidden), nn.SiLU(), nn.Dropout(_DROPOUT))
