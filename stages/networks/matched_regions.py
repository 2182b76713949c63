"""MindArt's matching as a decoder trains it: voxels in, an embedding and tokens out; pictures' features too in training."""

from __future__ import annotations

import numpy as np
from torch import nn

from stages.ground.errors import InputError
from stages.networks.graph_matching import GraphMatching
from stages.networks.region_encoder import RegionTokens

FEATURES = "clip_picture"
"""The target that holds the pictures' features."""


class MatchedRegions(nn.Module):
    """An encoder of regions that is matched to pictures through the graph of a batch, which predicting does without.

    >>> import torch
    >>> network = MatchedRegions(6, {"clip": (8,), "tokens": (3, 8)}, [[0, 1, 2], [3]], depth=1, n_heads=2, graph_heads=2)
    >>> {name: tuple(one.shape) for name, one in network(torch.rand(4, 6)).items()}
    {'clip': (4, 8), 'tokens': (4, 3, 8)}
    >>> sorted(network(torch.rand(4, 6), torch.rand(4, 8)))
    ['clip', 'clip_picture', 'tokens']

    Parameters
    ----------
    n_voxels : int
    gives : mapping of str to tuple of int
        First the embedding, as wide as the pictures' features; then, if they are to be given, the encoder's tokens, of which the
        embedding is the first: one for each region, and that.
    regions : sequence of sequences of int, optional
        Columns of each region; all voxels in `n_regions` parts, if they are not given.
    n_regions : int
    **sizes
        See `stages.networks.graph_matching.GraphMatching`.
    """

    reads_in_training = (FEATURES,)
    sees_whole_batches = True

    def __init__(self, n_voxels, gives, regions=None, n_regions=7, **sizes):
        super().__init__()
        (self.embedding, (width,)), *tokens = gives.items()
        self.tokens = RegionTokens(parted(n_voxels, n_regions) if regions is None else regions)
        n_regions, n_values = self.tokens.columns.shape
        for name, shape in tokens:
            if tuple(shape) != (n_regions + 1, width):
                raise InputError(
                    f"{name} has shape {tuple(shape)} but {n_regions} regions make tokens of {(n_regions + 1, width)}; give it "
                    "that shape."
                )
        self.others = tuple(name for name, _ in tokens)
        self.matching = GraphMatching(n_values, n_regions, width, width, **sizes)

    def forward(self, patterns, features=None):
        """Values of patterns (n, n_voxels); with features (n, width), those that the graph compares, and the tokens."""
        tokens = self.tokens(patterns)
        if features is None:
            encoded = self.matching.encode(tokens)
            return {self.embedding: encoded[:, 0]} | dict.fromkeys(self.others, encoded)
        encoded = self.matching.encode(tokens)
        brain, picture = self.matching.gnn(encoded[:, 0], self.matching.img_encoder(features))
        return {self.embedding: brain, FEATURES: picture} | dict.fromkeys(self.others, encoded)


def parted(n_voxels, n_parts):
    """All voxels in parts of neighbours, as equal as they can be, a list for each.

    >>> parted(5, 2)
    [[0, 1, 2], [3, 4]]
    """
    return [part.tolist() for part in np.array_split(np.arange(n_voxels), min(n_parts, n_voxels))]
