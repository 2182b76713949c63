"""A classifier of a picture's tokens: voxels to scores of every code at every place.

Of the network of VQ-fMRI (Chen et al., ICML 2023) no code and no number is known; this one is our own.
"""

from __future__ import annotations

import torch
from torch import nn

from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from stages.networks.region_encoder import check_sizes


class TokenClassifier(nn.Module):
    """A wide layer, a residual block, a row of values for each place, to which a learned one is added, and a layer to scores.

    >>> network = TokenClassifier(20, {"vq_tokens": (9,), "vq_scores": (9, 5)}, hidden=16, width=4)
    >>> {name: tuple(one.shape) for name, one in network(torch.zeros(2, 20)).items()}
    {'vq_tokens': (2, 9), 'vq_scores': (2, 9, 5)}
    >>> {name: tuple(one.shape) for name, one in network(torch.zeros(2, 20), torch.zeros(2, 9)).items()}
    {'vq_tokens': (2, 9, 5)}

    Parameters
    ----------
    n_voxels : int
    gives : mapping of str to tuple of int
        The most probable tokens, (n_places,), and then the scores of all, (n_places, n_codes).
    hidden : int
    width : int
        Values of a place.
    dropout : float
        Share of the hidden values that training leaves out.
    """

    def __init__(self, n_voxels, gives, hidden=1024, width=64, dropout=0.5):
        super().__init__()
        (self.tokens, places), (self.scores, (n_places, n_codes)) = gives.items()
        if tuple(places) != (n_places,):
            raise InputError(
                f"{self.tokens} has shape {tuple(places)} but {self.scores} {(n_places, n_codes)}; give both places."
            )
        check_sizes(n_voxels=n_voxels, hidden=hidden, width=width)
        check("dropout", dropout, Number(0, 1, below=True, example=0.5))
        # Training tells the scores apart from the tokens by what it hands over besides.
        self.reads_in_training = (self.tokens,)
        self.first = nn.Sequential(*_half(n_voxels, hidden, dropout))
        self.block = nn.Sequential(*_half(hidden, hidden, dropout))
        self.to_places = nn.Linear(hidden, n_places * width)
        self.places = nn.Parameter(torch.randn(n_places, width) * 0.02)
        self.to_codes = nn.Linear(width, n_codes)

    def forward(self, patterns, tokens=None):
        """Of patterns (n, n_voxels), the most probable tokens and all scores; with true tokens, scores by the tokens' name."""
        hidden = self.first(patterns)
        places = self.to_places(hidden + self.block(hidden)).unflatten(1, self.places.shape) + self.places
        scores = self.to_codes(places)
        if tokens is not None:
            return {self.tokens: scores}
        return {self.tokens: scores.argmax(dim=-1).to(scores.dtype), self.scores: scores}


def _half(inputs, outputs, dropout):
    return nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.GELU(), nn.Dropout(dropout)
