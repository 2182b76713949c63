"""Stable Diffusion under tokens in the place of a text and a map of features, which goes through a control branch.

NeuroPictor draws so (Huo et al., ECCV 2024). Guidance's unconditional half reads the empty text, and keeps the map: what is led
away from is a picture of the same layout without a meaning.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from stages.generators.diffusion.conditioners import Conditioner, ContextTokens, stacked
from stages.generators.diffusion.latent_diffusion import LatentDiffusionGenerator
from stages.generators.diffusion.loading import computing_dtype, placed
from stages.generators.diffusion.stable_diffusion import load_stable_diffusion
from stages.ground.checks import OneOf, check

UNCONDITIONAL = ("kept", "none")
TOKENS, MAP = "clip_text", "control_map"


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
        nothing = torch.zeros(self._shape, device=sampling.device)
        control = _Control(self._branch, stacked(value, nothing), sampling.guided, self._kept)
        return replace(sampling, controls=(*sampling.controls, control))


class _Control:
    """What the branch adds to the UNet at a step; called with the rows, the timestep and the tokens."""

    def __init__(self, branch, maps, guided, kept):
        self._branch, self._maps, self._guided, self._kept = branch, maps, guided, kept

    def __call__(self, rows, timestep, tokens, arguments=None):
        maps = torch.cat([self._maps, self._maps]) if self._guided else self._maps
        # The branch computes as it was trained, whatever the UNet does.
        own = self._branch.dtype
        down, middle = self._branch(rows.to(own), timestep, tokens.to(own), maps.to(own), return_dict=False)
        down, middle = [one.to(rows.dtype) for one in down], middle.to(rows.dtype)
        if self._guided and not self._kept:
            down, middle = [_without_first_half(one) for one in down], _without_first_half(middle)
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}

    def of_fixed_shape(self, n):
        """The same for `n` rows, of which the last are the last one again."""
        more = self._maps[-1:].expand(n - len(self._maps), *self._maps.shape[1:])
        return _Control(self._branch, torch.cat([self._maps, more]), self._guided, self._kept)


def _without_first_half(residual):
    nothing, conditional = residual.chunk(2)
    return torch.cat([torch.zeros_like(nothing), conditional])


class FeatureControlledGenerator(LatentDiffusionGenerator):
    """Draw pictures with Stable Diffusion under tokens and a map of features.

    Parameters
    ----------
    pipeline : diffusers.StableDiffusionImg2ImgPipeline
        Without text encoder and tokenizer.
    empty_text : float32 tensor of shape (tokens, width)
        The text embedding of nothing: what guidance's unconditional half reads, and a picture without tokens.
    branch : diffusers.ControlNetModel
        From `stages.networks.feature_control.feature_branch`; a picture without a map has one of zeros.
    uncond_control : {"kept", "none"}
        See `FeatureMapControl`.

    See Also
    --------
    stages.generators.diffusion.latent_diffusion.LatentDiffusionGenerator : `draw`, and the attributes.
    """

    takes_weights = "the share of the tokens against the empty text's (0: the empty text, 1: all of them)"
    default_weights = {TOKENS: 1.0}
    default_guidance_scale = 5.0

    def __init__(self, pipeline, empty_text, branch, uncond_control="kept"):
        self.empty_text = empty_text
        config = pipeline.unet.config
        shape = (config.block_out_channels[0], config.sample_size, config.sample_size)
        self.branch = branch.to(pipeline._execution_device).eval()
        super().__init__(
            pipeline,
            [ContextTokens(TOKENS, empty_text), FeatureMapControl(MAP, branch, shape, uncond_control)],
            {TOKENS: tuple(empty_text.shape), MAP: shape},
            optional=(TOKENS, MAP),
        )

    @classmethod
    def from_pretrained(
        cls, folder, device="cpu", dtype=None, scheduler=None, acceleration=None, branch=None, uncond_control="kept"
    ):
        """Load a folder in diffusers' layout; nothing is looked for elsewhere.

        Parameters
        ----------
        folder, device, dtype, scheduler, acceleration
            See `stages.generators.diffusion.stable_diffusion.StableDiffusionGenerator.from_pretrained`.
        branch, uncond_control
            As of the class.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        InputError
            The scheduler draws noise at every step or is not known; or `dtype` and `acceleration` were both given.
        """
        pipeline, empty_text = load_stable_diffusion(folder, computing_dtype(dtype, acceleration, device), scheduler)
        return cls(placed(pipeline, device, acceleration), empty_text, branch, uncond_control)
