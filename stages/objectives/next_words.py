"""Words that follow: the cross-entropy of a language model's scores, over the words that are to be learned."""

from __future__ import annotations

from torch.nn.functional import cross_entropy

IGNORED = -100
"""Stands where no word is to be learned."""


class NextWords:
    """The cross-entropy of the words that follow: loss = weight * mean over learned words of -log softmax(scores)[word].

    >>> import torch
    >>> scores, rows = torch.zeros(1, 3, 8), torch.tensor([[[5.0, 2, 3], [IGNORED, 3, 7]]])
    >>> loss, parts = NextWords("caption_tokens")({"caption_tokens": scores}, {"caption_tokens": rows}, step=0)
    >>> round(loss.item(), 4), list(parts)
    (2.0794, ['caption_tokens words'])

    The mean is over all learned words of a batch, so that long captions count more.

    Parameters
    ----------
    name : str
        The output, scores of shape (n, length, n_words), and the target, (n, 2, length): the words that are read, and those that
        are to follow each, or `IGNORED`.
    weight : float
    """

    def __init__(self, name, weight=1.0):
        self.reads, self.weight = (name,), weight

    def __call__(self, outputs, targets, step):
        (name,) = self.reads
        following = targets[name][:, 1].long()
        loss = cross_entropy(outputs[name].float().flatten(0, 1), following.flatten(), ignore_index=IGNORED)
        return self.weight * loss, {f"{name} words": loss.detach()}

    def __repr__(self):
        return f"NextWords({self.reads[0]!r}, weight={self.weight})"
