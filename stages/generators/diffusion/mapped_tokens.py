"""Tokens that lead a network in two ways: through cross-attention, and through its time embedding."""

import torch

from stages.generators.diffusion.conditioners import Conditioner, stacked


class MappedTokens(Conditioner):
    """Tokens for cross-attention, and what a mapper makes of them for the time embedding (MinD-Vis' double conditioning).

    Parameters
    ----------
    reads : str
    nothing : tensor of shape (n_tokens, width)
        What guidance's unconditional rows read.
    mapper : torch.nn.Module or None
        ``mapper(tokens)`` gives vectors (n, added), in float32; None adds zeros.
    added : int
        Width of the time embedding.
    """

    def __init__(self, reads, nothing, mapper, added):
        self.reads, self._nothing, self._mapper, self._added = reads, nothing, mapper, added

    def prepare(self, value, sampling):
        nothing = self._nothing.to(sampling.device)
        tokens = stacked(value, nothing)
        sampling = sampling.with_context(tokens, nothing)
        return sampling.with_argument("class_labels", self._vectors(tokens), self._vectors(nothing.expand_as(tokens)))

    def _vectors(self, tokens):
        if self._mapper is None:
            return tokens.new_zeros(len(tokens), self._added)
        own = next(self._mapper.parameters())
        # One by one: a row does not depend on its batch.
        return torch.cat([self._mapper(row[None].to(own)) for row in tokens]).float()
