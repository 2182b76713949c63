"""Transformers over tokens of a response: places as fixed waves, and the blocks that read the tokens.

What masked autoencoders of brains share (MinD-Vis, NeuroPictor, LEA). Names of parameters are those of timm's blocks.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from stages.ground.errors import InputError
from stages.networks.region_encoder import Block, check_sizes

_LONGEST_WAVE = 10_000


def waves(places, width):
    """Sines and cosines of places: [sin(p w_0) ... | cos(p w_0) ...] with w_i = 10000^(-2 i / width).

    >>> waves([0], 4).tolist()
    [[0.0, 0.0, 1.0, 1.0]]

    Parameters
    ----------
    places : sequence of n numbers, or an int, which stands for 0, 1, ... below it
    width : int
        Even.

    Returns
    -------
    tensor of shape (n, width), float32
    """
    if width < 2 or width % 2:
        raise InputError(f"The width is {width}; waves are sines and cosines by halves: make it even.")
    places = np.arange(places) if isinstance(places, int) else np.asarray(places)
    frequencies = _LONGEST_WAVE ** (-2.0 * np.arange(width // 2) / width)
    angles = np.outer(places.astype(np.float64), frequencies)
    # Copied: so it is an outline among outlines.
    return torch.tensor(np.concatenate([np.sin(angles), np.cos(angles)], axis=1), dtype=torch.float32)


def plane_waves(height, n_columns, width):
    """Waves of the places of a grid, row by row: the first half tells the column, and the second the row.

    As masked autoencoders of pictures have them (He et al., CVPR 2022).

    >>> plane_waves(2, 3, 8).shape
    torch.Size([6, 8])

    Parameters
    ----------
    height, n_columns : int
        Of the grid.
    width : int
        A multiple of 4.

    Returns
    -------
    tensor of shape (height * n_columns, width), float32
    """
    if width % 4:
        raise InputError(f"The width is {width}, no multiple of 4; a grid has waves of two axes: make it one.")
    rows, columns = np.divmod(np.arange(height * n_columns), n_columns)
    return torch.cat([waves(columns, width // 2), waves(rows, width // 2)], dim=1)


def with_class_row(places):
    """Places (n, width) with a row of zeros before them, for the token that stands for all: (1, 1 + n, width)."""
    return torch.cat([places.new_zeros(1, places.shape[1]), places])[None]


def resampled(places, n):
    """Places of so many tokens from those of others, each the nearest; the class token's row is kept.

    Between numbers of tokens that differ, MinD-Vis brings the places of a pretrained encoder to its subject's so.

    >>> resampled(torch.tensor([[[0.0], [1.0], [2.0]]]), 4).flatten().tolist()
    [0.0, 1.0, 1.0, 2.0, 2.0]

    Parameters
    ----------
    places : tensor of shape (1, 1 + n_before, width)
    n : int

    Returns
    -------
    tensor of shape (1, 1 + n, width)
    """
    if places.shape[1] == 1 + n:
        return places
    if places.shape[1] < 2:
        raise InputError(f"There are places of {places.shape[1] - 1} tokens, of which none of {n} can be made.")
    of_tokens = functional.interpolate(places[:, 1:].transpose(1, 2), n, mode="nearest").transpose(1, 2)
    return torch.cat([places[:, :1], of_tokens], dim=1)


def blocks_of(depth, width, n_heads, mlp_ratio=4.0):
    """Blocks of a vision transformer, with the first weights of a masked autoencoder: Xavier's uniform ones, biases of 0.

    >>> blocks = blocks_of(depth=2, width=8, n_heads=2, mlp_ratio=1.0)
    >>> sum(one.numel() for one in blocks.parameters()) == 2 * (6 * 8**2 + 10 * 8)
    True

    Parameters
    ----------
    depth, width, n_heads : int
    mlp_ratio : float
        Values inside a block's feed-forward layers, in widths.

    Returns
    -------
    torch.nn.ModuleList
    """
    check_sizes(depth=depth)
    blocks = nn.ModuleList(Block(width, n_heads, mlp_ratio) for _ in range(depth))
    begin_linears(blocks)
    return blocks


def begin_linears(network):
    """Give the linear layers of a network their first weights: Xavier's uniform ones, and biases of 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def kept_by_lot(n, n_tokens, mask_ratio, device=None, weights=None):
    """Draw which tokens of each sample are kept, and which are masked.

    int(n_tokens (1 - mask_ratio)) tokens are kept, as masked autoencoders have it: those with the lowest of equally
    distributed numbers. With weights, the masked ones are drawn one after the other, in proportion to these.

    >>> order, n_kept = kept_by_lot(2, 8, 0.75)
    >>> order.shape, n_kept, order.sort(dim=1).values[0].tolist()
    (torch.Size([2, 8]), 2, [0, 1, 2, 3, 4, 5, 6, 7])

    Parameters
    ----------
    n, n_tokens : int
    mask_ratio : float
    device : optional
    weights : tensor of shape (n_tokens,), optional
        Above 0.

    Returns
    -------
    order : int tensor of shape (n, n_tokens)
        Numbers of the tokens; the first `n_kept` are kept, the others masked.
    n_kept : int

    Raises
    ------
    InputError
        Of so few tokens none would be kept, or all.
    """
    n_kept = math.floor(n_tokens * (1 - mask_ratio))
    if not 0 < n_kept < n_tokens:
        raise InputError(
            f"The mask ratio {mask_ratio} of {n_tokens} tokens keeps {n_kept}; expected some to be kept and some masked: give "
            "another ratio, or smaller patches."
        )
    drawn = torch.rand(n, n_tokens, device=device)
    if weights is not None:
        masked = torch.multinomial(weights.to(drawn.device).expand(n, -1), n_tokens - n_kept)
        drawn = drawn.scatter_add(1, masked, torch.ones_like(drawn))
    return drawn.argsort(dim=1), n_kept
