"""Stable Diffusion under tokens in the place of a text and a map of features, which goes through a control branch.

NeuroPictor draws so (Huo et al., ECCV 2024). Guidance's unconditional half reads the empty text, and keeps the map: what is led
away from is a picture of the same layout without a meaning.
"""

from __future__ import annotations

import torch

from stages.generators.diffusion.conditioners import Conditioner, ContextTokens, stacked
from stages.generators.diffusion.latent_diffusion import LatentDiffusionGenerator
from stages.generators.diffusion.loading import computing_dtype, placed
from stages.generators.diffusion.stable_diffusion import load_stable_diffusion
from stages.ground.checks import OneOf, check
from stages.networks.feature_control import with_first_half

UNCONDITIONAL = ("kept", "none")


class FeatureMapControl(Conditioner):
    """A map of features that a control branch reads behind its first convolution.

    Parameters
    ----------
    reads : str
    branch : diffusers.ControlNetModel
        From `stages.networks.feature_control.feature_branch`.
    shape : tuple of int
        Of a map, (channels, height, width).
    unconditional : {"kept", "none"}
        Whether guidance's unconditional half is controlled too. Published: "kept".
    """

    def __init__(self, reads, branch, shape, unconditional="kept"):
        self.reads, self._branch, self._shape = reads, branch, tuple(shape)
        self._kept = check("uncond_control", unconditional, OneOf(*UNCONDITIONAL)) == "kept"

    def prepare(self, value, sampling):
        nothing = torch.zeros(self._shape, device=sampling.device, dtype=sampling.dtype)
        maps = stacked(value, nothing)
        return sampling.with_control(_Control(self._branch, maps, sampling.guided, self._kept))


class _Control:
    """What the branch adds to the UNet at a step; called with the rows, the timestep and the tokens."""

    def __init__(self, branch, maps, guided, kept):
        self._branch, self._maps, self._guided, self._kept = branch, maps, guided, kept

    def __call__(self, rows, timestep, tokens):
        maps = torch.cat([self._maps, self._maps]) if self._guided else self._maps
        down, middle = self._branch(rows, timestep, tokens, maps, return_dict=False)
        if self._guided and not self._kept:
            down, middle = [_without_first_half(one) for one in down], _without_first_half(middle)
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}

    def padded(self, n):
        """The same for `n` rows, of which the last are the last one again."""
        more = self._maps[-1:].expand(n - len(self._maps), *self._maps.shape[1:])
        return _Control(self._branch, torch.cat([self._maps, more]), self._guided, self._kept)


def _without_first_half(residual):
    nothing, conditional = residual.chunk(2)
    return torch.cat([torch.zeros_like(nothing), conditional])
