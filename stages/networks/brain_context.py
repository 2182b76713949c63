"""From tokens of a response to what a diffusion model reads: tokens in the place of a text, and a map for a control branch.

After Huo et al. (ECCV 2024), "NeuroPictor": the first says what is there (high level), the second where it lies (low level). Both
have layers that begin as zeros, so that a network to which they are added is at first what it was without them.
"""

from __future__ import annotations

import math

from torch import nn

from stages.ground.checks import Number, check
from stages.ground.errors import InputError

_KERNEL = 3


class TextLikeTokens(nn.Module):
    """Tokens in the place of a text, with a branch beside them that begins as zero.

        tokens = LN(linear(mix(values))) + zero(LN(linear(mix(values)))), each half with layers of its own

    `mix` are two convolutions over the tokens' numbers, 257 to 128 to 77, of kernel 1; `zero` is one of kernel 3.

    >>> import torch
    >>> head = TextLikeTokens(n_tokens=17, width=8, shape=(6, 4), hidden=10)
    >>> values = torch.randn(2, 17, 8)
    >>> torch.equal(head(values), head.main(values)), head(values).shape
    (True, torch.Size([2, 6, 4]))

    Parameters
    ----------
    n_tokens, width : int
        Of what is read. Published: 257 and 1024.
    shape : tuple of int
        Tokens and their width of what is given. Published: (77, 1024).
    hidden : int
        Tokens between. Published: 128.
    """

    def __init__(self, n_tokens=257, width=1024, shape=(77, 1024), hidden=128):
        super().__init__()
        self.main = _mixed(n_tokens, width, shape, hidden)
        self.beside = nn.Sequential(
            _mixed(n_tokens, width, shape, hidden), zeroed(nn.Conv1d(shape[0], shape[0], _KERNEL, padding=1))
        )

    def forward(self, values):
        return self.main(values) + self.beside(values)


class FeatureMap(nn.Module):
    """A map of features that begins as exactly zero.

        map = zero(SiLU(linear(mix(values))))

    `mix` are two convolutions over the tokens' numbers, 257 to 514 to 320, of kernel 1: a token becomes a channel, and its 1024
    values a map of 64 x 64. `zero` is a convolution over them of kernel 3.

    >>> import torch
    >>> head = FeatureMap(n_tokens=17, width=8, shape=(5, 4, 4))
    >>> head(torch.randn(2, 17, 8)).abs().max().item(), head(torch.zeros(2, 17, 8)).shape
    (0.0, torch.Size([2, 5, 4, 4]))

    Parameters
    ----------
    n_tokens, width : int
        Of what is read.
    shape : tuple of int
        Channels, height and width of the map. Published: (320, 64, 64).
    hidden : int, optional
        Tokens between; by default twice as many as are read.
    """

    def __init__(self, n_tokens=257, width=1024, shape=(320, 64, 64), hidden=None):
        super().__init__()
        channels, *sides = shape
        hidden = 2 * n_tokens if hidden is None else check("hidden", hidden, Number(1, whole=True, example=514))
        self._sides = tuple(sides)
        self.mix = nn.Sequential(nn.Conv1d(n_tokens, hidden, 1), nn.Conv1d(hidden, channels, 1))
        self.spread = nn.Sequential(nn.Linear(width, math.prod(sides)), nn.SiLU())
        self.zero = zeroed(nn.Conv1d(channels, channels, _KERNEL, padding=1))

    def forward(self, values):
        return self.zero(self.spread(self.mix(values))).unflatten(2, self._sides)


def zeroed(layer):
    """The layer, with all of its parameters 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _mixed(n_tokens, width, shape, hidden):
    if len(shape) != 2:
        raise InputError(f"Tokens in the place of a text have the shape {tuple(shape)}; expected (n_tokens, width).")
    n_given, own_width = shape
    return nn.Sequential(
        nn.Conv1d(n_tokens, hidden, 1),
        nn.Conv1d(hidden, n_given, 1),
        nn.Linear(width, own_width),
        nn.LayerNorm(own_width),
    )
