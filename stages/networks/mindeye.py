"""MindEye's two networks as decoders: patterns in, named values out (Scotti et al. 2023).

Names of parameters are those of the published weights. The network of the prior belongs to the first, as `net`.
"""

from __future__ import annotations

from torch import nn

from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError
from stages.networks.token_prior import TokenPrior
from stages.networks.vector_prior import VectorPrior
from stages.networks.voxel_mlp import BlurryLatent, VoxelMLP

ROUGH, RETRIEVAL, PLACES = "clip_rough", "clip_retrieval", "places"
PRIORS = ("tokens", "vector", "none")


class MindEyeTokens(nn.Module):
    """Rough tokens that lead a prior, and tokens for retrieval that a projector makes of them.

    Parameters
    ----------
    n_voxels : int
    gives : mapping of str to tuple of int
        ``clip_rough`` and ``clip_retrieval``, both (n_tokens, width), or (width,) that counts as one token; or ``clip_retrieval``
        alone. Names may end so and begin otherwise.
    hidden, n_blocks, projected : int
        See `stages.networks.voxel_mlp.VoxelMLP`.
    prior_depth, prior_heads, prior_head_width : int
        See `stages.networks.token_prior.TokenPrior` and `stages.networks.vector_prior.VectorPrior`.
    prior : {"tokens", "vector", "none"}
        Which network of a prior belongs to it, as `net`.
    """

    def __init__(
        self,
        n_voxels,
        gives,
        hidden=4096,
        n_blocks=4,
        projected=2048,
        prior_depth=6,
        prior_heads=12,
        prior_head_width=64,
        prior="tokens",
    ):
        super().__init__()
        check("prior", prior, OneOf(*PRIORS))
        ends = {name.rpartition("_")[2]: name for name in gives}
        shapes = {tuple(shape) for shape in gives.values()}
        if set(ends) not in ({"rough", "retrieval"}, {"retrieval"}) or len(ends) != len(gives) or len(shapes) != 1:
            raise InputError(f"The network gives {ROUGH} and {RETRIEVAL} of one shape, but is asked for {dict(gives)}.")
        (self.shape,) = shapes
        if prior == "vector" and len(self.shape) != 1:
            raise InputError(f"The prior is of one vector but the values have shape {self.shape}; take that of tokens.")
        n_tokens, width = self.shape if len(self.shape) == 2 else (1, *self.shape)
        self._names = [ends.get("rough"), ends["retrieval"]]
        self.voxel2clip = VoxelMLP(n_voxels, n_tokens, width, hidden, n_blocks, projected)
        if prior == "tokens":
            self.net = TokenPrior(n_tokens, width, prior_depth, prior_heads, prior_head_width)
        elif prior == "vector":
            self.net = VectorPrior(width, prior_depth, prior_heads, prior_head_width)

    def forward(self, patterns):
        """Of patterns (n, n_voxels), the values that are asked for."""
        found = zip(self._names, self.voxel2clip(patterns))
        return {name: values.reshape(-1, *self.shape) for name, values in found if name is not None}


class MindEyeLatent(BlurryLatent):
    """The latent of a blurry picture as the one value that is asked for, and places for the teacher of its training.

    Parameters
    ----------
    n_voxels : int
    gives : mapping of str to tuple of int
        One value (channels, side, side); the map before it has a quarter of the sides.
    hidden, n_blocks : int
    map_channels : int
    channels : sequence of int
        See `stages.networks.voxel_mlp.BlurryLatent`.
    """

    def __init__(self, n_voxels, gives, hidden=4096, n_blocks=4, map_channels=64, channels=(64, 128, 256)):
        ((name, (latent_channels, height, width)),) = gives.items()
        smaller = 2 ** (len(channels) - 1)
        if height % smaller or width % smaller:
            raise InputError(
                f"{name} is {height} x {width}; expected multiples of {smaller} for {len(channels)} blocks."
            )
        map_shape = (map_channels, height // smaller, width // smaller)
        super().__init__(n_voxels, hidden, n_blocks, map_shape, latent_channels, channels)
        self.name = name

    def forward(self, patterns):
        """Of patterns (n, n_voxels), the latents by their name, and `places`, which are no value that is asked for."""
        latents, places = super().forward(patterns)
        return {self.name: latents, PLACES: places}
