"""The network of a diffusion prior over tokens: brain tokens and noisy tokens in, clean tokens out.

As Scotti et al. (2023), "Reconstructing the mind's eye", configured the prior network of DALLE2-pytorch. Names of parameters
are those of the published weights.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from stages.networks.prior_transformer import PriorTransformer, replaced

_LONGEST_WAVE = 10_000


class TokenPrior(nn.Module):
    """Clean tokens from noisy ones, a time, and brain tokens that say what was seen.

    Parameters
    ----------
    n_tokens : int
        Of an embedding, and of what the brain says of it. Published: 257.
    width : int
        Values of a token. Published: 768.
    depth : int
        Blocks of attention and feed-forward layers. Published: 6.
    n_heads : int
        Of the queries. Published: 12.
    head_width : int
        Published: 64.
    """

    def __init__(self, n_tokens=257, width=768, depth=6, n_heads=12, head_width=64):
        super().__init__()
        for name, value in (("n_tokens", n_tokens), ("depth", depth), ("n_heads", n_heads)):
            check(name, value, Number(1, whole=True))
        if width < 4 or width % 2 or head_width % 2:
            raise InputError(f"width is {width} and head_width {head_width}; expected even numbers, width 4 or more.")
        self.n_tokens, self.width = n_tokens, width
        self.learned_query = nn.Parameter(torch.randn(n_tokens, width) * width**-0.5)
        self.null_brain_embeds = nn.Parameter(torch.randn(n_tokens, width))
        self.null_image_embed = nn.Parameter(torch.randn(n_tokens, width))
        self.to_time_embeds = nn.Sequential(nn.Sequential(Waves(width), TimeLayers(width)))
        self.causal_transformer = PriorTransformer(width, depth, n_heads, head_width)

    def forward(self, noisy, times, brain, without_brain=None, without_image=None):
        """Find the clean tokens.

        Parameters
        ----------
        noisy : tensor of shape (n, n_tokens, width)
        times : int tensor of shape (n,)
            Steps of the noise process.
        brain : tensor of shape (n, n_tokens, width)
        without_brain, without_image : bool tensors of shape (n,), optional
            Samples whose brain tokens, or noisy tokens, are replaced by learned ones, as training does to some.

        Returns
        -------
        clean : tensor of shape (n, n_tokens, width)
        """
        brain = replaced(brain, self.null_brain_embeds, without_brain)
        noisy = replaced(noisy, self.null_image_embed, without_image) + self.learned_query.to(noisy)
        time = self.to_time_embeds(times.to(noisy.dtype))[:, None]
        return self.causal_transformer(torch.cat([brain, time, noisy], dim=1))[:, -self.n_tokens :]


class Waves(nn.Module):
    """Sines, then cosines, of a time: (n,) to (n, width)."""

    def __init__(self, width):
        super().__init__()
        self.width = width

    def forward(self, times):
        half = self.width // 2
        places = torch.arange(half, device=times.device, dtype=times.dtype)
        angles = times[:, None] * torch.exp(places * (-math.log(_LONGEST_WAVE) / (half - 1)))
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class TimeLayers(nn.Module):
    """Two layers twice as wide and one back."""

    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(
            nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU()),
            nn.Sequential(nn.Linear(2 * width, 2 * width), nn.SiLU()),
            nn.Linear(2 * width, width),
        )

    def forward(self, waves):
        return self.net(waves)
