"""A latent diffusion model that brain tokens lead: encoder of responses, mappers, and a UNet of which a part is tuned.

As MinD-Vis has it (Chen et al., CVPR 2023). Names of parameters are those of the authors' files, but for the UNet's, which are
diffusers'.
"""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from stages.checkpoints.single_file_names import UNET, unet_places
from stages.ground.errors import InputError
from stages.networks.masked_brain import BrainEncoder
from stages.networks.time_mapper import TimeMapper
from stages.networks.token_denoiser import TokenDenoiser
from stages.networks.tuned_network import TunedNetwork, tuned_names

_CONDITIONER = "cond_stage_model."


class BrainConditioner(nn.Module):
    """Responses to the tokens that cross-attention reads.

    Convolutions over patches, without activation, make `n_tokens` of all patches, and a linear layer brings them to the width of
    the context. Pooled patches are one token, of the linear layer alone.

    >>> sizes = {"patch_size": 4, "width": 16, "depth": 1, "n_heads": 2}
    >>> conditioner = BrainConditioner(n_voxels=30, encoder=sizes, n_tokens=7, context_width=12)
    >>> conditioner(torch.zeros(5, 30)).shape
    torch.Size([5, 7, 12])

    Parameters
    ----------
    n_voxels : int
    encoder : dict
        Sizes of the encoder, see `stages.networks.masked_brain.BrainEncoder`.
    n_tokens, context_width : int
    pooled : bool
        Take the mean of the patches as the one token.
    """

    def __init__(self, n_voxels, encoder, n_tokens=77, context_width=512, pooled=False):
        super().__init__()
        if pooled and n_tokens != 1:
            raise InputError(f"Pooled patches are one token, but n_tokens is {n_tokens}; pass n_tokens=1.")
        self.mae, self.pooled = BrainEncoder(n_voxels, **encoder), pooled
        # As published: fixed in pretraining, and learned with all the rest here.
        self.mae.pos_embed.requires_grad_(True)
        n_patches = self.mae.n_patches
        if not pooled:
            if n_patches < 2:
                raise InputError(
                    f"{n_voxels:,} voxels make {n_patches} patch of {self.mae.patch_size}; expected 2 or more: load more "
                    "voxels, or make patches smaller."
                )
            self.channel_mapper = nn.Sequential(
                nn.Conv1d(n_patches, n_patches // 2, 1), nn.Conv1d(n_patches // 2, n_tokens, 1)
            )
        self.dim_mapper = nn.Linear(self.mae.width, context_width)

    def forward(self, patterns):
        """Make tokens (n, n_tokens, context_width) of patterns (n, n_voxels)."""
        patches = self.mae.encode(patterns, pooled=self.pooled)
        return self.dim_mapper(patches if self.pooled else self.channel_mapper(patches))


class BrainDiffusion(nn.Module):
    r"""Responses to tokens, and the part of a UNet that is tuned with them.

    >>> unet = {
    ...     "sample_size": 8, "in_channels": 3, "out_channels": 3, "block_out_channels": [8], "norm_num_groups": 4,
    ...     "down_block_types": ["CrossAttnDownBlock2D"], "up_block_types": ["CrossAttnUpBlock2D"], "layers_per_block": 1,
    ...     "cross_attention_dim": 12, "attention_head_dim": 2, "class_embed_type": "identity",
    ... }
    >>> sizes = {"patch_size": 4, "width": 16, "depth": 1, "n_heads": 2}
    >>> network = BrainDiffusion(30, {"brain_tokens": (7, 12)}, encoder=sizes, unet=unet, tuned=[r".*\.attn2\..*"])
    >>> network(torch.zeros(5, 30))["brain_tokens"].shape
    torch.Size([5, 7, 12])

    Parameters
    ----------
    n_voxels : int
    gives : dict of str to tuple of int
        The name of the tokens, and their shape (n_tokens, context_width).
    encoder : dict
        See `BrainConditioner`.
    unet : dict
        Configuration of `diffusers.UNet2DConditionModel`, whose ``class_embed_type`` is "identity".
    tuned : sequence of str
        Regular expressions: parameters of the UNet that are tuned.
    pooled : bool
    times : bool
        Whether tokens enter the time embedding too.

    Notes
    -----
    The UNet is an outline until `take_unet` brings one: tokens are made without it.
    """

    def __init__(self, n_voxels, gives, encoder, unet, tuned, pooled=False, times=True):
        super().__init__()
        ((self.name, (n_tokens, width)),) = gives.items()
        self.cond_stage_model = BrainConditioner(n_voxels, encoder, n_tokens, width, pooled)
        with torch.device("meta"):
            outline = UNet2DConditionModel.from_config(unet)
        added = outline.time_embedding.linear_2.out_features
        mapper = TimeMapper(n_tokens, width, added) if times else None
        self.denoiser = TokenDenoiser(TunedNetwork(outline, tuned), mapper, added)

    def take_unet(self, unet):
        """Tune this UNet, from where it is."""
        self.denoiser.unet.take_base(unet, start=True)
        return self

    def forward(self, patterns):
        """Make tokens of patterns (n, n_voxels), by their name."""
        return {self.name: self.cond_stage_model(patterns)}


def authors_tensors(stored, unet, tuned):
    """Take the tensors of a `BrainDiffusion` from those of the authors' whole model, by the names they have there.

    What decodes masked patches is left out, and so is what of the model was not tuned: the model of classes has the same.

    Parameters
    ----------
    stored : mapping of str to tensor
        Of ``finetuned.pth``: ``cond_stage_model.*``, ``model.diffusion_model.*`` and others.
    unet : dict
        Configuration of diffusers' network.
    tuned : sequence of str
        Regular expressions, as of `BrainDiffusion`.

    Returns
    -------
    dict of str to tensor
    """
    with torch.device("meta"):
        outline = UNet2DConditionModel.from_config(unet)
    shapes = {name: value.shape for name, value in outline.named_parameters()}
    places = unet_places(outline.config, tuned_names(outline, tuned))
    found = {name: value for name, value in stored.items() if name.startswith(_CONDITIONER) and not _only_decodes(name)}
    for name, place in places.items():
        if place.name in stored:
            value = stored[place.name]
            fits = value.numel() == shapes[name].numel()
            found[f"denoiser.unet.{name}"] = value.reshape(shapes[name]) if fits else value
    mapper = f"{UNET}time_embed_condtion."
    named = {name: name.removeprefix(UNET) for name in stored if name.startswith(mapper)}
    return found | {f"denoiser.time_mapper.{ours}": stored[name] for name, ours in named.items()}


def _only_decodes(name):
    return name.startswith(
        (f"{_CONDITIONER}mae.decoder_", f"{_CONDITIONER}mae.mask_token", f"{_CONDITIONER}mae.nature_")
    )
