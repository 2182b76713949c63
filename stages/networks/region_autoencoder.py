"""A response through one vector and back, its tokens made of regions, as LEA has it (Qian et al., TMLR 2024).

Each region becomes `n_tokens` tokens: a convolution along its voxels to as many channels, and a linear layer from its voxels. Of
what the blocks make of these, only the token that stands for all goes on, as the latent; the decoder begins from mask tokens.
Names of parameters are those of the authors' code.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from stages.checkpoints.pretrained import WEIGHTS_FILE, read_network_tensors
from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from stages.networks.brain_transformer import begin_linears, blocks_of, waves, with_class_row
from stages.networks.matched_regions import parted
from stages.networks.region_encoder import check_sizes
from weights.hashes import hash_file

_SPREAD = 0.02
ERROR = "response_error"
"""Output of training: restored minus given, of every voxel."""


class RegionAutoencoder(nn.Module):
    """The autoencoder.

    >>> sizes = {"width": 16, "depth": 1, "n_heads": 2, "decoder_width": 8, "decoder_depth": 1, "n_tokens": 4}
    >>> network = RegionAutoencoder(6, {"brain_latent": (10,)}, [[0, 2, 4], [1, 3, 5]], **sizes).eval()
    >>> latents = network.encode(torch.rand(3, 6))
    >>> latents.shape, network.decode(latents).shape
    (torch.Size([3, 10]), torch.Size([3, 6]))

    Parameters
    ----------
    n_voxels : int
    gives : mapping of str to tuple of int
        The latent. Published: 1,024 values.
    regions : sequence of sequences of int, optional
        Columns of each region; every voxel is in one. All voxels in `n_regions` parts, if they are not given.
    n_regions : int
    n_tokens : int
        Of each region. Published: 32.
    width, depth, n_heads : int
        Of the encoder. Published: 1024, 24 and 16.
    decoder_width, decoder_depth : int
        Published: 512 and 8, with as many heads.
    mlp_ratio : float
        Values inside a block's feed-forward layers, in widths.
    dropped : float
        Share of the voxels that are 0 in training, of each sample others. Published: 0.25.
    also : sequence of str
        Names under which the latent is given besides, to be held to something else.
    """

    def __init__(
        self,
        n_voxels,
        gives,
        regions=None,
        n_regions=8,
        n_tokens=32,
        width=1024,
        depth=24,
        n_heads=16,
        decoder_width=512,
        decoder_depth=8,
        mlp_ratio=1.0,
        dropped=0.25,
        also=(),
    ):
        super().__init__()
        ((self.name, (n_values,)),) = gives.items()
        check_sizes(n_voxels=n_voxels, n_tokens=n_tokens, width=width, n_heads=n_heads, decoder_width=decoder_width)
        check("dropped", dropped, Number(0, 1, below=True, example=0.25))
        regions = parted(n_voxels, n_regions) if regions is None else [list(region) for region in regions]
        order = [voxel for region in regions for voxel in region]
        if sorted(order) != list(range(n_voxels)):
            raise InputError(
                f"Regions hold {len(order):,} voxels, {len(set(order)):,} of them different, but there are {n_voxels:,}; "
                "expected every voxel in one region: see stages.adapters.disjoint_regions."
            )
        self.also = tuple(also)
        self.dropped, self.sizes, self.n_tokens = dropped, [len(region) for region in regions], n_tokens
        # No weights: they follow from the regions.
        self.register_buffer("order", torch.as_tensor(order, dtype=torch.long), persistent=False)
        n_all = len(regions) * n_tokens
        self.patch_embed = _RegionTokens(self.sizes, n_tokens, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(with_class_row(waves(n_all, width)), requires_grad=False)
        self.blocks = blocks_of(depth, width, n_heads, mlp_ratio)
        self.norm, self.pred = nn.LayerNorm(width), nn.Linear(width, n_values)
        self.decoder_embed = nn.Linear(n_values, decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_width))
        self.decoder_pos_embed = nn.Parameter(with_class_row(waves(n_all, decoder_width)), requires_grad=False)
        self.decoder_blocks = blocks_of(decoder_depth, decoder_width, n_heads, mlp_ratio)
        self.decoder_norm = nn.LayerNorm(decoder_width)
        self.channel_mapper = nn.ModuleList(nn.Sequential(nn.Linear(decoder_width, size)) for size in self.sizes)
        self.decoder_pred = nn.Conv1d(n_tokens, 1, 3, padding=1)
        begin_linears(self)
        for one in (self.cls_token, self.mask_token):
            nn.init.normal_(one, std=_SPREAD)
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.normal_(module.weight, std=_SPREAD)
                nn.init.zeros_(module.bias)

    def encode(self, patterns):
        """Latents (n, n_values) of patterns (n, n_voxels)."""
        tokens = self.patch_embed(patterns[:, self.order]) + self.pos_embed[:, 1:]
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        tokens = torch.cat([first, tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.pred(self.norm(tokens)[:, 0])

    def decode(self, latents):
        """Patterns (n, n_voxels) of latents (n, n_values)."""
        first = self.decoder_embed(latents)[:, None]
        masks = self.mask_token.expand(len(latents), self.decoder_pos_embed.shape[1] - 1, -1)
        tokens = torch.cat([first, masks], dim=1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            tokens = block(tokens)
        of_regions = self.decoder_norm(tokens)[:, 1:].unflatten(1, (len(self.sizes), self.n_tokens))
        lines = [self.decoder_pred(mapper(own)) for mapper, own in zip(self.channel_mapper, of_regions.unbind(dim=1))]
        ordered = torch.cat(lines, dim=2)[:, 0]
        return torch.empty_like(ordered).index_copy(1, self.order, ordered)

    def forward(self, patterns):
        """The latent by its name, and `ERROR`; in training, of patterns some of whose voxels are 0, held to them as they were."""
        latents = self.encode(dropped(patterns, self.dropped) if self.training else patterns)
        return dict.fromkeys((self.name, *self.also), latents) | {ERROR: self.decode(latents) - patterns}


def begin_from(network, folder):
    """Put what a pretrained encoder has under the same names and in the same shapes into an autoencoder, before it is trained.

    LEA begins with MinD-Vis' encoder (`stages.networks.masked_brain`), whose blocks fit, and whose patches and places do not.

    Parameters
    ----------
    network : RegionAutoencoder
    folder : path
        With `model.safetensors`.

    Returns
    -------
    identity : str
        Of what was put there.

    Raises
    ------
    InputError
        Nothing of it fits.
    """
    own, found = network.state_dict(), {}
    for name, value in read_network_tensors(folder).items():
        if name in own and own[name].shape == value.shape and not name.endswith("pos_embed"):
            found[name] = value.float()
    if not found:
        raise InputError(
            f"Nothing in {folder} has the name and the shape of a part of the autoencoder; name an encoder of its width."
        )
    network.load_state_dict(found, strict=False)
    return f"{len(found)} tensors of {hash_file(Path(folder) / WEIGHTS_FILE)}"


class _RegionTokens(nn.Module):
    """Voxels in the order of their regions (n, n_voxels) to tokens (n, n_regions * n_tokens, width)."""

    def __init__(self, sizes, n_tokens, width):
        super().__init__()
        self.sizes = list(sizes)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv1d(1, n_tokens, 3, padding=1), nn.Linear(size, width)) for size in sizes
        )

    def forward(self, ordered):
        parts = ordered[:, None].split(self.sizes, dim=2)
        return torch.cat([layer(part) for layer, part in zip(self.layers, parts)], dim=1)


def dropped(patterns, share):
    """Patterns (n, n_voxels) in which int(share * n_voxels) voxels of each row are 0, drawn from torch's own state.

    >>> (dropped(torch.ones(3, 8), 0.25) == 0).sum(dim=1).tolist()
    [2, 2, 2]
    """
    n_dropped = int(share * patterns.shape[1])
    drawn = torch.rand(patterns.shape, device=patterns.device).argsort(dim=1)[:, :n_dropped]
    return patterns.scatter(1, drawn, 0.0)
