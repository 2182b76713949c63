"""Tokens at places: the cross-entropy of a classifier for each place."""

from __future__ import annotations

from torch.nn.functional import cross_entropy


class TokenClasses:
    """The cross-entropy of tokens: loss = weight * mean over places of -sum_k q_k log softmax(scores)_k.

    q is 1 - smoothing at the true token, and smoothing / K more at each of the K.

    >>> import torch
    >>> scores, tokens = torch.zeros(2, 3, 8), torch.tensor([[0.0, 2, 7], [1, 1, 1]])
    >>> loss, parts = TokenClasses("vq_tokens")({"vq_tokens": scores}, {"vq_tokens": tokens}, step=0)
    >>> round(loss.item(), 4), list(parts)
    (2.0794, ['vq_tokens loss', 'vq_tokens right'])

    Parameters
    ----------
    name : str
        The output, scores of shape (n, n_places, n_codes), and the target, whole numbers of shape (n, n_places).
    smoothing : float
        Of the labels, 0 to 1.
    weight : float
    """

    def __init__(self, name, smoothing=0.1, weight=1.0):
        self.reads, self.smoothing, self.weight = (name,), smoothing, weight

    def __call__(self, outputs, targets, step):
        (name,) = self.reads
        scores, tokens = outputs[name].float(), targets[name].long()
        loss = cross_entropy(scores.flatten(0, 1), tokens.flatten(), label_smoothing=self.smoothing)
        right = (scores.detach().argmax(dim=-1) == tokens).float().mean()
        return self.weight * loss, {f"{name} loss": loss.detach(), f"{name} right": right}

    def __repr__(self):
        return f"TokenClasses({self.reads[0]!r}, smoothing={self.smoothing}, weight={self.weight})"
