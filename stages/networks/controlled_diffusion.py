"""A control branch that steers a brain-led latent diffusion model by a map that is decoded from the same responses.

As CMVDM has it (Zeng et al., AAAI 2024). The map, or hint, is a decoded structure and what a residual block makes of the voxels::

    hint = nearest(structure(x)) + residual(x),   skip_k = encoder_k + zero_k(branch_k(z, t, c, hint))

The branch is a copy of the UNet's first half; its time embedding is without what the tokens add to the UNet's.
"""

from __future__ import annotations

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import nn
from torch.nn.functional import interpolate, silu

from stages.ground.errors import InputError
from stages.networks.brain_diffusion import BrainDiffusion
from stages.networks.structure_decoder import StructureDecoder

CONTEXT, HINT = "context", "hint"
HINT_CHANNELS = (16, 32, 96, 256)
# A picture's hint is so many times larger than its latents, by the strides of the hint's encoder.
TIMES_LARGER = 2 ** (len(HINT_CHANNELS) - 1)


class ResidualBlock(nn.Module):
    """Voxels to a picture that begins as zeros: three full layers, then convolutions between enlargements.

    >>> block = ResidualBlock(30, side=64)
    >>> block(torch.randn(2, 30)).shape, bool((block(torch.randn(2, 30)) == 0).all())
    (torch.Size([2, 3, 64, 64]), True)

    Parameters
    ----------
    n_voxels : int
    side : int
        Of the picture, a multiple of 16: 512 as published, whose full layers have 1,024 = 32 x 32 values.
    """

    def __init__(self, n_voxels, side=512):
        super().__init__()
        if side % 16:
            raise InputError(f"The side of a residual picture is {side}; expected a multiple of 16, such as 512.")
        self._side, self._code = side, side // 16
        sizes = [n_voxels, *[self._code**2] * 3]
        self.full = nn.ModuleList(nn.Linear(before, after) for before, after in zip(sizes, sizes[1:]))
        self.first, self.second = nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1)
        self.third, self.last = nn.Conv2d(64, 3, 7, padding=3), nn.Conv2d(3, 3, 7, padding=3)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, patterns):
        """Make pictures (n, 3, side, side) of patterns (n, n_voxels)."""
        for layer in self.full:
            patterns = silu(layer(patterns))
        picture = patterns.view(-1, 1, self._code, self._code)
        for convolution, side in (
            (self.first, 2 * self._code),
            (self.second, 8 * self._code),
            (self.third, self._side),
        ):
            picture = convolution(interpolate(picture, size=side, mode="nearest"))
        return self.last(picture)


def control_config(unet):
    """Configuration of a branch of a UNet, as plain data: without the class embedding, through which tokens enter the time.

    Parameters
    ----------
    unet : dict
        Configuration of `diffusers.UNet2DConditionModel`.

    Returns
    -------
    config : dict
        Of `diffusers.ControlNetModel`.
    """
    hint = {"conditioning_embedding_out_channels": HINT_CHANNELS, "conditioning_channels": 3}
    with torch.device("meta"):
        outline = UNet2DConditionModel.from_config(unet)
        branch = ControlNetModel.from_unet(outline, load_weights_from_unet=False, **hint)
    known = {name: value for name, value in branch.config.items() if not name.startswith("_") and value is not None}
    known.pop("class_embed_type", None)
    return known


class ControlledDiffusion(nn.Module):
    """What steers a brain-led model: a residual block and a control branch.

    Parameters
    ----------
    n_voxels : int
    gives : dict of str to tuple of int
        The name of the residual picture, and its shape (3, side, side): 8 times the side of the latents.
    tokens : tuple of int
        Shape (n_tokens, width) of the model's tokens.
    aligned : dict
        Arguments of the model that is steered, `stages.networks.brain_diffusion.BrainDiffusion`.
    structure : dict
        Arguments of the decoder of structure, `StructureDecoder`: its ``side``, and others.

    Notes
    -----
    The model and the decoder are no part of this network, as the base of a `TunedNetwork` is none: they are outlines until `take`
    brings them, and residual pictures are made without them.
    """

    def __init__(self, n_voxels, gives, tokens, aligned, structure):
        super().__init__()
        ((self.name, (_, self._side, _)),) = gives.items()
        self.residual = ResidualBlock(n_voxels, self._side)
        self.control = ControlNetModel.from_config(control_config(aligned["unet"]))
        decoder = dict(structure)
        side = decoder.pop("side")
        with torch.device("meta"):
            self._held = _Held(
                BrainDiffusion(n_voxels, {CONTEXT: tuple(tokens)}, **aligned),
                StructureDecoder(n_voxels, {"structure": (3, side, side)}, **decoder),
            )

    @property
    def steered(self):
        """The model that is steered, frozen."""
        return self._held.model

    def take(self, steered, structure):
        """Steer this model by the structure that this decoder gives; the branch begins with the first half of the model's UNet.

        Parameters
        ----------
        steered : stages.networks.brain_diffusion.BrainDiffusion
            With a UNet. It is frozen.
        structure : stages.networks.structure_decoder.StructureDecoder
            Frozen, too.
        """
        self._held = _Held(steered, structure)
        unet = steered.denoiser.unet
        theirs = unet.base.state_dict() | dict(unet.named_parameters())
        own = self.control.state_dict()
        copied = {name: theirs[name] for name in own if not name.startswith("controlnet_")}
        self.control.load_state_dict({**own, **copied})
        return self

    def forward(self, patterns):
        """Make residual pictures (n, 3, side, side) of patterns (n, n_voxels), by their name.

        With a model, its tokens as "context" and whole hints as "hint" besides.
        """
        residual = self.residual(patterns)
        found = {self.name: residual}
        conditioner, decoder = self.steered.cond_stage_model, self._held.decoder
        if patterns.is_meta or not next(conditioner.parameters()).is_meta:
            with torch.no_grad():
                found[CONTEXT] = conditioner(patterns)
                structure = decoder(patterns)[decoder.name]
            found[HINT] = hint_of(structure, residual)
        return found

    def denoise(self, noisy, timesteps, context, hint):
        """Predict the noise in latents, as the model does with the branch.

        Parameters
        ----------
        noisy : tensor of shape (n, channels, size, size)
        timesteps : int tensor of shape (n,)
        context : tensor of shape (n, n_tokens, width)
        hint : tensor of shape (n, 3, side, side)

        Returns
        -------
        noise : tensor like `noisy`
        """
        model = self.steered.denoiser
        with torch.no_grad():
            added = context.new_zeros(len(context), model.width)
            added = added if model.time_mapper is None else model.time_mapper(context)
        down, middle = self.control(noisy, timesteps, context, controlnet_cond=hint, return_dict=False)
        return model.unet(
            noisy,
            timesteps,
            context,
            class_labels=added,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]


def hint_of(structure, residual):
    """Nearest pixels of a structure (n, 3, any, any) at the size of a residual picture (n, 3, side, side), and their sum."""
    return interpolate(structure, size=residual.shape[-1], mode="nearest") + residual


class _Held:
    """Two networks that are neither registered nor copied."""

    def __init__(self, model, decoder):
        self.model, self.decoder = (one.requires_grad_(False).eval() for one in (model, decoder))

    def __deepcopy__(self, memo):
        return self
