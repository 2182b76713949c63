"""Alignment of what leads a diffusion model with the meaning of a picture, as CMVDM has it (Zeng et al., AAAI 2024)."""

from __future__ import annotations

from torch.nn.functional import cosine_similarity


class AttributeAlignment:
    """A loss that falls as outputs turn towards their targets.

        loss = weight · exp(-mean over samples of cos(output, target))

    It is weight · 0.368 where all agree, weight where they are orthogonal, and its gradient shrinks as they agree.

    >>> import torch
    >>> objective = AttributeAlignment("attributes", "clip")
    >>> ones = {"attributes": torch.ones(2, 3)}
    >>> loss, parts = objective(ones, {"clip": torch.ones(2, 3)}, step=0)
    >>> round(loss.item(), 7), round(parts["cosine"].item(), 6)
    (0.0014715, 1.0)

    Parameters
    ----------
    output : str
        Of the network; no predicted value need be called so.
    target : str
    weight : float
    """

    reads = ()

    def __init__(self, output, target, weight=0.004):
        self.output, self.target, self.weight = output, target, weight

    def __call__(self, outputs, targets, step):
        found = cosine_similarity(outputs[self.output].float(), targets[self.target].float(), dim=-1).mean()
        return self.weight * (-found).exp(), {"cosine": found.detach()}

    def __repr__(self):
        return f"AttributeAlignment({self.output!r}, {self.target!r}, weight={self.weight})"
