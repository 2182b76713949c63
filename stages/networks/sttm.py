"""STTM's network as a decoder of several subjects: patterns of each in, named values out (Liu et al., AAAI 2025).

A shallow adapter of each subject's own leads into blocks that all share. From these come narrow tokens that attend to each other,
rough tokens, and tokens for retrieval. Names of parameters are those of the authors' file, as far as these are known.
"""

from __future__ import annotations

import torch
from torch import nn

from stages.adapters.subject_inputs import tensors_of_parts
from stages.ground.checks import Number, OneOf, check
from stages.ground.devices import sent_to
from stages.networks.guided_latent import GuidedLatent
from stages.networks.memory_prior import MemoryPrior
from stages.networks.named_tokens import named_tokens
from stages.networks.subject_adapter import SubjectAdapter, dense
from stages.networks.voxel_mlp import token_projector

HEADS = ("attention", "linear")
SCALES = ("mended", "published")
_DROPOUT, _ATTENTION_DROPOUT = 0.15, 0.1


class STTMNetwork(SubjectAdapter):
    """Adapters of the subjects' own, the layers that they share, the network of the prior, and that of a blurry picture.

    >>> gives = {"clip_rough": (20, 8), "clip_retrieval": (20, 8)}
    >>> small = dict(hidden=16, narrow=4, attention_heads=2, attention_width=4, between=12, projected=12)
    >>> network = STTMNetwork({"subj01": 50, "subj02": 40}, gives, **small, prior="none")
    >>> found = network({"subj02": torch.zeros(1, 40), "subj01": torch.zeros(4, 50)})
    >>> found["clip_retrieval"].shape
    torch.Size([5, 20, 8])
    >>> network.subject_tensors("subj02")["input_proj.0.bias"]
    'input_proj.1.0.bias'

    Parameters
    ----------
    n_voxels : mapping of str to int
        By subject.
    gives : mapping of str to tuple of int
        As `stages.networks.named_tokens.named_tokens` reads it.
    hidden, n_blocks : int
        Values that subjects share, and blocks behind them. Published: 4096 and 4.
    narrow : int
        Values of the tokens that attend to each other. Published: 128.
    head : {"attention", "linear"}
        What makes rough tokens of narrow ones: attention between them before the layers of each, or these layers alone.
    attention_heads, attention_width : int
        Published: 8 heads of 96 values each.
    attention_scale : {"mended", "published"}
        See `TokenAttention`.
    between : int
        Values inside the layers that make wide tokens of narrow ones. Published: 1536.
    projected : int
        Values inside the projector. Published: 2048.
    dropout : float
        Behind the first layer, see `stages.networks.subject_adapter.SubjectAdapter`.
    noise : float
        Deviation of the noise that training adds to standardised voxels. Published: 0.01.
    prior : {"tokens", "none"}
        Whether the network of a prior belongs to it, as `net`.
    prior_depth, prior_heads, prior_feed_forward, hidden_memory
        See `stages.networks.memory_prior.MemoryPrior`, of whose parameters the last is `hidden`.
    latent_blocks, map_channels, channels, latent_reads
        See `stages.networks.guided_latent.GuidedLatent`; the blocks' values guide it, and no gradient comes back from it.
    """

    reads_subjects = True

    def __init__(
        self,
        n_voxels,
        gives,
        hidden=4096,
        n_blocks=4,
        narrow=128,
        head="attention",
        attention_heads=8,
        attention_width=96,
        attention_scale="mended",
        between=1536,
        projected=2048,
        dropout=0.5,
        noise=0.01,
        prior="tokens",
        prior_depth=6,
        prior_heads=12,
        prior_feed_forward=3072,
        hidden_memory=(0.6, 0.65),
        latent_blocks=4,
        map_channels=64,
        channels=(64, 128, 256),
        latent_reads="both",
    ):
        super().__init__(n_voxels, hidden, dropout)
        check("prior", prior, OneOf("tokens", "none"))
        check("head", head, OneOf(*HEADS))
        check("noise", noise, Number(0))
        self._names, tokens, latent = named_tokens(gives)
        self._tokens, self._narrow, self._noise = tokens, narrow, noise
        self.mlp = nn.ModuleList(dense(hidden, hidden, _DROPOUT) for _ in range(n_blocks))
        self.hidd2token = nn.Sequential(nn.LayerNorm(hidden), nn.GELU(), nn.Linear(hidden, tokens[0] * narrow))
        if head == "attention":
            self.token_attention = TokenAttention(narrow, attention_heads, attention_width, attention_scale)
        self.to_tokens = _widening(narrow, between, tokens[1], first_norm=head == "attention")
        self.projector = token_projector(tokens[1], projected)
        if prior == "tokens":
            self.net = MemoryPrior(*tokens, prior_depth, prior_heads, prior_feed_forward, hidden_memory)
        if latent is not None:
            self.low_level = GuidedLatent(n_voxels, latent, hidden, latent_blocks, map_channels, channels, latent_reads)

    def subject_tensors(self, subject):
        """Names of the tensors that belong to one subject alone: as they are stored, and in the state dict."""
        latent = {"low_level": self.low_level} if "latent" in self._names else {}
        return super().subject_tensors(subject) | tensors_of_parts(subject, latent)

    def forward(self, patterns):
        """Find the values that are asked for.

        Parameters
        ----------
        patterns : mapping of str to tensor of shape (n of the subject, n_voxels of the subject)
            Of some or all of the subjects, standardised.

        Returns
        -------
        values : dict of str to tensor of shape (n of all, ...)
            Rows in the order of `patterns`.
        """
        if self.training and self._noise:
            patterns = {name: rows + self._noise * _noise_like(rows) for name, rows in patterns.items()}
        values = self.adapted(patterns)
        for block in self.mlp:
            values = block(values) + values
        rough = self.rough_tokens(values)
        found = {"rough": rough, "retrieval": self.projector(rough)}
        if "latent" in self._names:
            found["latent"] = self.low_level(patterns, values.detach())
        return {self._names[part]: values for part, values in found.items() if part in self._names}

    def rough_tokens(self, values):
        """Make tokens (n, n_tokens, width) of shared values (n, hidden)."""
        tokens = self.hidd2token(values).unflatten(1, (self._tokens[0], self._narrow))
        if hasattr(self, "token_attention"):
            tokens = self.token_attention(tokens)
        return self.to_tokens(tokens)


class TokenAttention(nn.Module):
    """Tokens that attend to each other, with a residual: y = x + dropout(attention(LN(x))).

    >>> attention = TokenAttention(4, n_heads=2, head_width=4)
    >>> attention(torch.zeros(2, 5, 4)).shape
    torch.Size([2, 5, 4])

    Parameters
    ----------
    width : int
    n_heads, head_width : int
    scale : {"mended", "published"}
        Products of queries and keys are divided by the square root of `head_width`, as is meant; or multiplied by it, as in the
        authors' file, which raises them 96 times too high.
    """

    def __init__(self, width=128, n_heads=8, head_width=96, scale="mended"):
        super().__init__()
        for name, value in (("n_heads", n_heads), ("head_width", head_width)):
            check(name, value, Number(1, whole=True, example=8))
        check("scale", scale, OneOf(*SCALES))
        self._n_heads = n_heads
        self._factor = head_width**-0.5 if scale == "mended" else head_width**0.5
        self.norm = nn.LayerNorm(width)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, n_heads * head_width) for _ in range(3))
        self.to_out = nn.Linear(n_heads * head_width, width)
        self.attention_dropout, self.dropout = nn.Dropout(_ATTENTION_DROPOUT), nn.Dropout(_DROPOUT)

    def forward(self, tokens):
        normed = self.norm(tokens)
        q, k, v = (
            layer(normed).unflatten(2, (self._n_heads, -1)).transpose(1, 2)
            for layer in (self.to_q, self.to_k, self.to_v)
        )
        shares = self.attention_dropout(self.logits(q, k).softmax(dim=-1))
        return tokens + self.dropout(self.to_out((shares @ v).transpose(1, 2).flatten(2)))

    def logits(self, q, k):
        """Scaled products of queries and keys (n, n_heads, n_tokens, head_width), tensor (n, n_heads, n_tokens, n_tokens)."""
        return (q * self._factor) @ k.transpose(-1, -2)


def _widening(narrow, between, width, first_norm):
    layers = [nn.LayerNorm(narrow)] if first_norm else []
    layers += [nn.Linear(narrow, between), nn.LayerNorm(between), nn.GELU(), nn.Dropout(_DROPOUT)]
    return nn.Sequential(*layers, nn.Linear(between, width))


def _noise_like(rows):
    # On the CPU, so that a step draws the same numbers on every device.
    return sent_to(rows.device, torch.randn(rows.shape)).to(rows.dtype)
