"""The transformer inside the networks of diffusion priors, as DALLE2-pytorch has it.

Attention has one key and value head for all queries, compares directions (cosines) and not lengths, knows places by rotation
and by a bias, and has one key beside the tokens that is learned. Names of parameters are those of the published weights.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

# Cosines are multiplied by it, once for queries and keys together.
_SHARPNESS = 16.0
_ROTATED = 32
_EXPANSION = 4
_BUCKETS, _FARTHEST = 32, 128
_EPSILON = {torch.float32: 1e-5}
_LONGEST_WAVE = 10_000


class PriorTransformer(nn.Module):
    """Blocks of attention and feed-forward layers, a normalisation and a layer out: (n, n_tokens, width) to the same.

    Parameters
    ----------
    width, depth, n_heads, head_width : int
    causal : bool
        Whether a token attends to those before it and to itself alone.
    gain_inside : bool
        Whether feed-forward layers normalise what their gates let through.
    """

    def __init__(self, width, depth, n_heads, head_width, causal=False, gain_inside=False):
        super().__init__()
        self.rel_pos_bias = PlaceBias(n_heads)
        rotation = Rotation(min(_ROTATED, head_width))
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    CosineAttention(width, n_heads, head_width, rotation, causal),
                    _feed_forward(width, gain_inside),
                ]
            )
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


def replaced(tokens, learned, where):
    """Tokens (n, n_tokens, width), those of the rows `where`, bool (n,), by learned ones (n_tokens, width)."""
    return tokens if where is None else torch.where(where[:, None, None], learned.to(tokens), tokens)


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


class PlaceBias(nn.Module):
    """A bias of each head on how many places a key lies before a query, the key that is learned being at place 0.

    Distances are counted as in a text that is read in order: what lies at or behind a query is at no distance. Where tokens are
    not masked, all of these share one bias.
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

    def __init__(self, width, n_heads, head_width, rotation, causal=False):
        super().__init__()
        self.n_heads, self.causal = n_heads, causal
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
        if self.causal:
            # Key 0 is the learned one, and key i + 1 a token's own.
            later = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).triu(2)
            logits = logits.masked_fill(later, -torch.finfo(logits.dtype).max)
        attended = logits.softmax(dim=-1, dtype=torch.float32).to(value.dtype) @ value
        return self.to_out(attended.transpose(1, 2).flatten(-2))


class _Gated(nn.Module):
    """The first half of the values, each times the SiLU of its partner in the second."""

    def forward(self, x):
        values, gates = x.chunk(2, dim=-1)
        return values * functional.silu(gates)


def _feed_forward(width, gain_inside):
    inner = _EXPANSION * width
    # Where training has nothing, the published network has layers without weights.
    return nn.Sequential(
        Gain(width),
        nn.Linear(width, 2 * inner, bias=False),
        _Gated(),
        Gain(inner) if gain_inside else nn.Identity(),
        nn.Identity(),
        nn.Linear(inner, width, bias=False),
    )
