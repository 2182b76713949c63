"""MindFormer's network as a decoder of several subjects: patterns of each in, image tokens of an IP-Adapter-Plus out.

Han et al. (2024), "MindFormer: semantic alignment of multi-subject fMRI for brain decoding". A linear layer of each subject's own
makes as many tokens as are to be predicted, a learned token says whose they are, and a transformer encoder that all share reads
both. The paper says no more than this of it, and no code was found: sizes, places and norms are guessed, and are parameters.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from stages.adapters.subject_inputs import SubjectLinears, tensors_of_parts
from stages.adapters.subject_tokens import SubjectTokens
from stages.ground.checks import Number, OneOf, check
from stages.ground.errors import InputError

SUBJECT_TOKENS = ("prepended", "added", "none")
NORMS = ("before", "after")


class MindFormerNetwork(nn.Module):
    """Layers and tokens of the subjects' own, and the encoder that they share.

    >>> voxels = {"subj01": 50, "subj02": 40}
    >>> network = MindFormerNetwork(voxels, {"ip_tokens": (3, 8)}, depth=1, n_heads=2, feed_forward=16)
    >>> network({"subj02": torch.zeros(1, 40), "subj01": torch.zeros(4, 50)})["ip_tokens"].shape
    torch.Size([5, 3, 8])
    >>> network.subject_tensors("subj02")
    {'linear.weight': 'linear.linears.1.weight', 'linear.bias': 'linear.linears.1.bias', 'subject.token': 'subject.tokens.1'}

    Parameters
    ----------
    n_voxels : mapping of str to int
        By subject.
    gives : mapping of str to tuple of int
        One name and (n_tokens, width). Published: (16, 768).
    depth : int
        Layers of the encoder. Guessed, as all that follows.
    n_heads : int
        Of each layer's attention; `width` is a multiple.
    feed_forward : int
        Values inside a layer's feed-forward half.
    dropout : float
        Within the encoder's layers.
    norm : {"before", "after"}
        Whether layers normalise what their halves read, or what these give.
    positions : bool
        Whether each of the tokens has a learned place.
    subject_token : {"prepended", "added", "none"}
        A subject's token stands before the others, and is left out of what is given; or is added to each of them; or there is
        none.
    token_spread : float
        Standard deviation of the first values of tokens and places.
    """

    reads_subjects = True

    def __init__(
        self,
        n_voxels,
        gives,
        depth=2,
        n_heads=8,
        feed_forward=3072,
        dropout=0.1,
        norm="before",
        positions=True,
        subject_token="prepended",
        token_spread=0.02,
    ):
        super().__init__()
        self.name, self.shape = _asked_for(gives)
        n_tokens, width = self.shape
        check("norm", norm, OneOf(*NORMS))
        check("depth", depth, Number(1, whole=True, example=2))
        self._joins = check("subject_token", subject_token, OneOf(*SUBJECT_TOKENS))
        if width % check("n_heads", n_heads, Number(1, whole=True, example=8)):
            raise InputError(
                f"n_heads is {n_heads} but tokens have {width} values; expected heads of equal width, for example "
                f"n_heads={math.gcd(n_heads, width)}."
            )
        self.linear = SubjectLinears(n_voxels, n_tokens * width)
        self.subject = None if subject_token == "none" else SubjectTokens(tuple(n_voxels), width, token_spread)
        self.positions = nn.Parameter(token_spread * torch.randn(n_tokens, width)) if positions else None
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, n_heads, feed_forward, dropout, "gelu", batch_first=True, norm_first=norm == "before"
            )
            for _ in range(depth)
        )
        self.norm, self.output = nn.LayerNorm(width), nn.Linear(width, width)

    def subject_tensors(self, subject):
        """Names of the tensors that belong to one subject alone: as they are stored, and in the state dict."""
        return tensors_of_parts(subject, {"linear": self.linear, "subject": self.subject})

    def forward(self, patterns):
        """Predict tokens.

        Parameters
        ----------
        patterns : mapping of str to tensor of shape (n of the subject, n_voxels of the subject)
            Of some or all of the subjects.

        Returns
        -------
        values : dict of str to tensor of shape (n of all, n_tokens, width)
            Rows in the order of `patterns`; tokens in the order of the adapter's.
        """
        values = self.linear(patterns).unflatten(1, self.shape)
        if self.positions is not None:
            values = values + self.positions
        if self.subject is not None:
            tokens = self.subject({name: len(rows) for name, rows in patterns.items()})[:, None]
            values = torch.cat([tokens, values], dim=1) if self._joins == "prepended" else values + tokens
        for layer in self.layers:
            values = layer(values)
        return {self.name: self.output(self.norm(values[:, -self.shape[0] :]))}


def _asked_for(gives):
    """The one name, and its shape."""
    if len(gives) != 1 or len(next(iter(gives.values()))) != 2:
        raise InputError(
            f"The network gives one value of shape (n_tokens, width), but is asked for {dict(gives)}; name image tokens, such as "
            '{"ip_tokens": (16, 768)}.'
        )
    ((name, shape),) = gives.items()
    return name, tuple(shape)
