"""Responses to the tokens of a text: an encoder that was pretrained on masked responses, and mappers behind it."""

from __future__ import annotations

from torch import nn

from stages.networks.brain_diffusion import BrainConditioner


class BrainText(nn.Module):
    """Patterns to the tokens of a text, by the encoder and the mappers of MinD-Vis.

    >>> import torch
    >>> sizes = {"patch_size": 4, "width": 16, "depth": 1, "n_heads": 2}
    >>> network = BrainText(30, {"clip_text": (7, 12)}, encoder=sizes)
    >>> network(torch.zeros(5, 30))["clip_text"].shape
    torch.Size([5, 7, 12])

    Parameters
    ----------
    n_voxels : int
    gives : dict of str to tuple of int
        The name of the tokens, and their shape (n_tokens, width).
    encoder : dict
        Sizes of the encoder, see `stages.networks.masked_brain.BrainEncoder`.
    """

    def __init__(self, n_voxels, gives, encoder):
        super().__init__()
        ((self.name, (n_tokens, width)),) = gives.items()
        self.conditioner = BrainConditioner(n_voxels, encoder, n_tokens, width)

    def forward(self, patterns):
        return {self.name: self.conditioner(patterns)}
