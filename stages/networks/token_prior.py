"""The network of a diffusion prior over tokens: brain tokens and noisy tokens in, clean tokens out.

As Scotti et al. (2023), "Reconstructing the mind's eye", configured the prior network of DALLE2-pytorch. Names of parameters
are those of the published weights. Attention has one key and value head for all queries, compares directions (cosines) and
not lengths, knows places by rotation and by a bias, and has one key beside the tokens that is learned.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from stages.ground.checks import Number, check
from stages.ground.errors import InputError

# Cosines are multiplied by it, once for queries and keys together.
_SHARPNESS = 16.0
_ROTATED = 32
_EXPANSION = 4
_BUCKETS, _FARTHEST = 32, 128
_EPSILON = {torch.float32: 1e-5}
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
        self.to_time_embeds = nn.Sequential(nn.Sequential(Waves(width), _TimeLayers(width)))
        self.causal_transformer = _Transformer(width, depth, n_heads, head_width)

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
        brain = _replaced(brain, self.null_brain_embeds, without_brain)
        noisy = _replaced(noisy, self.null_image_embed, without_image) + self.learned_query.to(noisy)
        time = self.to_time_embeds(times.to(noisy.dtype))[:, None]
        return self.causal_transformer(torch.cat([brain, time, noisy], dim=1))[:, -self.n_tokens :]


def _replaced(tokens, learned, where):
    return tokens if where is None else torch.where(where[:, None, None], learned.to(tokens), tokens)


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


class _TimeLayers(nn.Module):
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


class Gain(nn.Module):
    """Layer normalisation with a gain and no bias.

    Parameters
    ----------
    width : int
    divides : bool
        Whether rows are divided by their largest value first (by its sign, too), through which no gradient goes.
    """

    def __init__(self, width, divides=False):
        super().__init__()
        self.divides = divides
        self.g = nn.Parameter(torch.ones(width))

    def forward(self, x):
        if self.divides:
            x = x / x.amax(dim=-1, keepdim=True).detach()
        variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
        return (x - mean) * (variance + _EPSILON.get(x.dtype, 1e-3)).rsqrt() * self.g.to(x)


class _Transformer(nn.Module):
    def __init__(self, width, depth, n_heads, head_width):
        super().__init__()
        self.rel_pos_bias = PlaceBias(n_heads)
        rotation = Rotation(min(_ROTATED, head_width))
        self.layers = nn.ModuleList(
            nn.ModuleList([CosineAttention(width, n_heads, head_width, rotation), _feed_forward(width)])
            for _ in range(depth)
        )
        self.norm = Gain(width, divides=True)
        self.project_out = nn.Linear(width, width, bias=False)

    def forward(self, tokens):
        bias = self.rel_pos_bias(tokens.shape[1])
        for attention, feed_forward in self.layers:
            tokens = tokens + attention(tokens, bias)
            tokens = tokens + feed_forward(tokens)
        return self.project_out(self.norm(tokens))


class PlaceBias(nn.Module):
    """A bias of each head on how many places a key lies before a query, the key that is learned being at place 0.

    Distances are counted as in a text that is read in order: what lies at or behind a query is at no distance. Tokens are not
    masked, so that all of these share one bias.
    """

    def __init__(self, n_heads):
        super().__init__()
        self.relative_attention_bias = nn.Embedding(_BUCKETS, n_heads)

    def forward(self, n_tokens):
        """Of a number of tokens, tensor of shape (n_heads, n_tokens, 1 + n_tokens)."""
        places = torch.arange(n_tokens + 1, device=self.relative_attention_bias.weight.device)
        return self.relative_attention_bias(bucket(places[:-1, None] - places[None])).permute(2, 0, 1)


def bucket(distance):
    """Number of the bucket of a distance, int tensor: 0 to 15 by themselves, then growing ones up to 128.

    >>> bucket(torch.tensor([-3, 0, 15, 16, 18, 127, 500])).tolist()
    [0, 0, 15, 16, 16, 31, 31]
    """
    distance, by_themselves = distance.clamp(min=0), _BUCKETS // 2
    growing = (distance.clamp(min=1).float() / by_themselves).log() / math.log(_FARTHEST / by_themselves)
    far = (by_themselves + (growing * (_BUCKETS - by_themselves)).long()).clamp(max=_BUCKETS - 1)
    return torch.where(distance < by_themselves, distance, far)


class Rotation(nn.Module):
    """Turn pairs of neighbouring values by an angle that grows with a token's place; one for all layers.

    Parameters
    ----------
    n_rotated : int
        Of a head's values, from the first.
    """

    def __init__(self, n_rotated):
        super().__init__()
        exponents = torch.arange(0, n_rotated, 2).float() / n_rotated
        # Published as a parameter that is not trained.
        self.freqs = nn.Parameter(_LONGEST_WAVE**-exponents, requires_grad=False)

    def forward(self, x):
        """Of x (..., n_tokens, head_width), the same."""
        # In float32, since places times frequencies are angles.
        angles = torch.arange(x.shape[-2], device=x.device, dtype=torch.float32)[:, None] * self.freqs.float()
        cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        turned, rest = x[..., : 2 * len(self.freqs)], x[..., 2 * len(self.freqs) :]
        even, odd = turned[..., ::2], turned[..., 1::2]
        pairs = torch.stack([even * cosine - odd * sine, odd * cosine + even * sine], dim=-1)
        return torch.cat([pairs.flatten(-2), rest], dim=-1)


class CosineAttention(nn.Module):
    """Attention by cosines, of many query heads to one key and value head; what it adds to its input."""

    def __init__(self, width, n_heads, head_width, rotation):
        super().__init__()
        self.n_heads = n_heads
        self.norm = Gain(width)
        self.null_kv = nn.Parameter(torch.randn(2, head_width))
        self.to_q = nn.Linear(width, n_heads * head_width, bias=False)
        self.to_kv = nn.Linear(width, 2 * head_width, bias=False)
        self.rotary_emb = rotation
        self.to_out = nn.Sequential(nn.Linear(n_heads * head_width, width, bias=False), Gain(width))

    def forward(self, tokens, bias):
        """Of tokens (n, n_tokens, width) and the bias of their places (n_heads, n_tokens, 1 + n_tokens), the tokens' shape."""
        tokens = self.norm(tokens)
        # One key and value head: (n, 1, n_tokens, head_width).
        key, value = self.to_kv(tokens)[:, None].chunk(2, dim=-1)
        query = self.to_q(tokens).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
        query, key = self.rotary_emb(query), self.rotary_emb(key)
        learned_key, learned_value = self.null_kv.to(key).view(2, 1, 1, 1, -1).expand(-1, len(tokens), -1, -1, -1)
        key, value = torch.cat([learned_key, key], dim=2), torch.cat([learned_value, value], dim=2)
        query, key = functional.normalize(query, dim=-1), functional.normalize(key, dim=-1)
        logits = _SHARPNESS * query @ key.transpose(-1, -2) + bias.to(query)
        attended = logits.softmax(dim=-1, dtype=torch.float32).to(value.dtype) @ value
        return self.to_out(attended.transpose(1, 2).flatten(-2))


class _Gated(nn.Module):
    """The first half of the values, each times the SiLU of its partner in the second."""

    def forward(self, x):
        values, gates = x.chunk(2, dim=-1)
        return values * functional.silu(gates)


def _feed_forward(width):
    inner = _EXPANSION * width
    # Where training has nothing, the published network has layers without weights.
    return nn.Sequential(
        Gain(width),
        nn.Linear(width, 2 * inner, bias=False),
        _Gated(),
        nn.Identity(),
        nn.Identity(),
        nn.Linear(inner, width, bias=False),
    )
