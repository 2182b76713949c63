"""MindArt's caption model as a decoder trains it: voxels to the states that a language model reads, and its next words."""

from __future__ import annotations

from torch import nn

from stages.ground.errors import InputError
from stages.networks.graph_matching import CaptionTokens, GraphMatching
from stages.networks.matched_regions import parted
from stages.networks.region_encoder import RegionTokens
from stages.networks.small_captioner import next_scores, small_captioner

TOKENS, CLASS = "caption_tokens", "clip_class"
"""Outputs of training: scores of the next word, and the state that is held to a picture's class token."""


class CaptionedRegions(nn.Module):
    """States for a language model: of an encoder of regions that is trained, and of a matching that is not.

    >>> import torch
    >>> sizes = {"vocab_size": 11, "n_positions": 9, "n_embd": 32, "n_layer": 1, "n_head": 2}
    >>> matching = {"width": 8, "depth": 1, "n_heads": 2, "graph_heads": 2}
    >>> network = CaptionedRegions(6, {"states": (6, 32)}, [[0, 1], [4]], 2, matching, sizes, 4, depth=1, n_heads=2)
    >>> rows = torch.zeros(3, 2, 9)
    >>> {name: tuple(one.shape) for name, one in network(torch.rand(3, 6), rows).items()}
    {'states': (3, 6, 32), 'caption_tokens': (3, 9, 11), 'clip_class': (3, 32)}

    Parameters
    ----------
    n_voxels : int
    gives : mapping of str to tuple of int
        One: twice as many states as there are regions and one more, and their width, which is that of the encoder.
    regions, n_regions
        See `stages.networks.matched_regions.MatchedRegions`.
    matching : mapping, optional
        Arguments of the `stages.networks.graph_matching.GraphMatching` that was trained, but for the regions' sizes.
    language : mapping, optional
        As `stages.networks.small_captioner.small_captioner` takes sizes.
    factor : int
        By which the inner width of the cross-attention is divided.
    depth, n_heads, places
        Of the encoder; see `stages.networks.graph_matching.CaptionTokens`.
    """

    reads_in_training = (TOKENS,)

    def __init__(self, n_voxels, gives, regions=None, n_regions=7, matching=None, language=None, factor=16, **encoder):
        super().__init__()
        ((self.states, (n_states, width)),) = gives.items()
        self.regions = RegionTokens(parted(n_voxels, n_regions) if regions is None else regions)
        n_regions, n_values = self.regions.columns.shape
        if n_states != 2 * (n_regions + 1):
            raise InputError(
                f"{self.states} has {n_states} states but {n_regions} regions make {2 * (n_regions + 1)}; give it so many."
            )
        matched = GraphMatching(n_values, n_regions, **(matching or {}))
        self.tokens = CaptionTokens(matched, n_values, n_regions, width, **encoder)
        self.decoder = small_captioner(language, factor, width)

    def forward(self, patterns, rows=None):
        """States of patterns (n, n_voxels); with rows of `stages.generators.language.caption_rows`, what training compares."""
        states = self.tokens(self.regions(patterns))
        if rows is None:
            return {self.states: states}
        return {self.states: states, TOKENS: next_scores(self.decoder, rows[:, 0].long(), states), CLASS: states[:, 0]}
