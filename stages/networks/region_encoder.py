"""An encoder whose tokens are regions of the brain, as MindArt has it (CVPR 2024).

A region's voxels, with zeros behind them up to the largest region, are one token; a transformer reads those of a response. Names
of parameters are those of the authors' code, whose blocks are timm's.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from stages.ground.checks import Number, OneOf, check
from stages.ground.errors import InputError

PLACES = ("none", "learned")


class RegionTokens(nn.Module):
    """Voxels by regions: (..., n_voxels) to (..., n_regions, voxels of the largest), zeros behind those of a smaller one.

    >>> RegionTokens([[0, 2], [1]])(torch.tensor([[5.0, 6.0, 7.0]])).tolist()
    [[[5.0, 7.0], [6.0, 0.0]]]

    Parameters
    ----------
    regions : sequence of sequences of int
        Columns of each region. A voxel may be in several, or in none.
    """

    def __init__(self, regions):
        super().__init__()
        sizes = [len(region) for region in regions]
        if not sizes or not all(sizes):
            raise InputError(f"Regions have {sizes} voxels; expected one region or more, and voxels in each.")
        columns = torch.zeros(len(sizes), max(sizes), dtype=torch.long)
        present = torch.zeros(columns.shape, dtype=torch.bool)
        for row, region in enumerate(regions):
            columns[row, : len(region)] = torch.as_tensor(list(region), dtype=torch.long)
            present[row, : len(region)] = True
        # No weights: they follow from the regions.
        self.register_buffer("columns", columns, persistent=False)
        self.register_buffer("present", present, persistent=False)

    def forward(self, patterns):
        # Not a product: what is not finite elsewhere would make NaN of a zero.
        return patterns[..., self.columns].masked_fill(~self.present, 0)


class RegionEncoder(nn.Module):
    """Tokens of regions to tokens of a transformer: ``tanh(norm(blocks(class, proj(tokens))))``.

    >>> encoder = RegionEncoder(n_values=6, n_regions=3, width=8, depth=1, n_heads=2)
    >>> encoder(torch.zeros(2, 3, 6)).shape
    torch.Size([2, 4, 8])

    Parameters
    ----------
    n_values : int
        Of each region's token.
    n_regions : int
    width, depth, n_heads : int
        Published: 512, 12 and 8.
    expansion : int
        Values inside a block's feed-forward layers, in widths.
    places : {"none", "learned"}
        What tells one region from another beside its values. The table of places begins as zeros. With "none" it is not trained,
        and the order of the regions does not matter. Published for the encoder that is matched to pictures: "none".
    """

    def __init__(self, n_values, n_regions, width=512, depth=12, n_heads=8, expansion=4, places="none"):
        super().__init__()
        sizes = {
            "n_values": n_values,
            "n_regions": n_regions,
            "width": width,
            "n_heads": n_heads,
            "expansion": expansion,
        }
        check_sizes(**sizes)
        check("depth", depth, Number(0, whole=True, example=12))
        check("places", places, OneOf(*PLACES))
        self.proj = nn.Conv1d(n_values, width, kernel_size=1)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, n_regions + 1, width), requires_grad=places == "learned")
        self.blocks = nn.ModuleList(Block(width, n_heads, expansion) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens):
        """Of tokens (n, n_regions, n_values), tensor of shape (n, 1 + n_regions, width), from -1 to 1; the first sums them up."""
        tokens = self.proj(tokens.transpose(1, 2)).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens).tanh()


class Block(nn.Module):
    """A block of a vision transformer: ``x = x + attn(norm1(x))``, then ``x + mlp(norm2(x))``; names are timm's.

    >>> Block(width=8, n_heads=2)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 8])

    Parameters
    ----------
    width, n_heads : int
    expansion : float
        Values inside the feed-forward layers, in widths.
    """

    def __init__(self, width, n_heads, expansion=4):
        super().__init__()
        check_heads(width, n_heads)
        self.norm1, self.attn = nn.LayerNorm(width), _Attention(width, n_heads)
        self.norm2, self.mlp = nn.LayerNorm(width), TwoLayers(width, int(expansion * width), width, nn.GELU())

    def forward(self, tokens):
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class _Attention(nn.Module):
    def __init__(self, width, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, tokens):
        # Each (n, n_heads, n_tokens, values of a head).
        query, key, value = self.qkv(tokens).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(attended.transpose(1, 2).flatten(2))


class TwoLayers(nn.Module):
    """A linear layer, what is between, and another; names are timm's."""

    def __init__(self, inputs, hidden, outputs, between):
        super().__init__()
        self.fc1, self.between, self.fc2 = nn.Linear(inputs, hidden), between, nn.Linear(hidden, outputs)

    def forward(self, values):
        return self.fc2(self.between(self.fc1(values)))


def check_sizes(**sizes):
    """InputError unless every size is a whole number of 1 or more."""
    for name, value in sizes.items():
        check(name, value, Number(1, whole=True))


def check_heads(width, n_heads):
    """InputError unless the heads share the values of a token among them."""
    check_sizes(width=width, n_heads=n_heads)
    if width % n_heads:
        raise InputError(f"The width is {width}, no multiple of {n_heads} heads; make n_heads a divisor of it.")
