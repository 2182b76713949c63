"""A second way in for brain tokens: one vector that is added to what a UNet makes of the time (MinD-Vis, Chen et al., 2023)."""

from __future__ import annotations

from torch import Tensor, nn


class TimeMapper(nn.Module):
    """Tokens to a vector of the width of a UNet's time embedding, by layers without activation.

        vector = W · conv₂(conv₁(tokens)) + b

    Both convolutions mix tokens and leave the places in a token apart: from n to n // 2, and to one.

    >>> import torch
    >>> mapper = TimeMapper()
    >>> mapper(torch.zeros(5, 77, 512)).shape
    torch.Size([5, 768])
    >>> [(name, tuple(value.shape)) for name, value in mapper.state_dict().items()][:2]
    [('time_embed_condtion.0.weight', (38, 77, 1)), ('time_embed_condtion.0.bias', (38,))]

    Parameters
    ----------
    n_tokens, context_width : int
        Of the tokens that cross-attention reads. One token, which is what pooled patches are, passes the linear layer alone.
    width : int
        Of the UNet's time embedding: four times that of its first level.

    Notes
    -----
    The name of its part is spelt as the authors' files spell it.
    """

    def __init__(self, n_tokens: int = 77, context_width: int = 512, width: int = 768) -> None:
        super().__init__()
        self.width = width
        last = nn.Linear(context_width, width)
        if n_tokens == 1:
            self.time_embed_condtion = last
        else:
            fewer = n_tokens // 2
            self.time_embed_condtion = nn.Sequential(nn.Conv1d(n_tokens, fewer, 1), nn.Conv1d(fewer, 1, 1), last)

    def forward(self, context: Tensor) -> Tensor:
        """Map tokens (n, n_tokens, context_width) to vectors (n, width)."""
        return self.time_embed_condtion(context)[:, 0]
