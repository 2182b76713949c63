"""What a decoder of structure maps is trained with: differences, structural similarity and smoothness."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import conv2d, l1_loss

_RADIUS, _SIGMA = 5, 1.5
_C1, _C2 = 0.01**2, 0.03**2


class StructureError:
    """The error of maps in 0..1, as CMVDM's structure decoder is trained without its networks that look at pictures.

        loss = absolute · mean |map - true| + similarity · (1 - SSIM) + variation · mean (dx² + dy²)^(power / 2)

    >>> error = StructureError("structure", "silhouette")
    >>> maps = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> loss, parts = error({"structure": maps}, {"silhouette": maps}, step=0)
    >>> round(parts["difference"].item(), 6), round(parts["SSIM"].item(), 6)
    (0.0, 1.0)

    Parameters
    ----------
    output : str
        Maps (n, channels, side, side).
    target : str
        True ones: of the same shape, or (n, side, side) for all channels.
    absolute, similarity, variation, power : float
    """

    def __init__(self, output, target, absolute=1.0, similarity=0.1, variation=0.3, power=2.5):
        self.reads, self.target = (output,), target
        self.absolute, self.similarity, self.variation, self.power = absolute, similarity, variation, power

    def __call__(self, outputs, targets, step):
        maps, true = outputs[self.reads[0]].float(), targets[self.target].float()
        true = (true[:, None] if true.ndim == 3 else true).expand_as(maps)
        difference, alike = l1_loss(maps, true), structural_similarity(maps, true)
        loss = self.absolute * difference + self.similarity * (1 - alike) + self.variation * self._variation(maps)
        return loss, {"difference": difference.detach(), "SSIM": alike.detach()}

    def _variation(self, maps):
        across = maps[..., :-1, 1:] - maps[..., :-1, :-1]
        down = maps[..., 1:, :-1] - maps[..., :-1, :-1]
        # Away from 0, where a power below 2 has no finite slope.
        return (across**2 + down**2 + 1e-12).pow(self.power / 2).mean()

    def __repr__(self):
        return f"StructureError({self.reads[0]!r}, {self.target!r})"


class AbsoluteWeights:
    """The sum of the absolute weights of a network's convolutions, times `weight`.

    >>> error = AbsoluteWeights(nn.Sequential(nn.Conv2d(1, 1, 1, bias=False)), 0.5)
    >>> error({}, {}, step=0)[0].item() > 0
    True

    Parameters
    ----------
    network : torch.nn.Module
    weight : float
    """

    reads = ()

    def __init__(self, network, weight):
        self._weights = [module.weight for module in network.modules() if isinstance(module, nn.Conv2d)]
        self.weight = weight

    def __call__(self, outputs, targets, step):
        total = sum(one.abs().sum() for one in self._weights)
        return self.weight * total, {"absolute weights": total.detach()}

    def __repr__(self):
        return f"AbsoluteWeights(weight={self.weight})"


def structural_similarity(one, other):
    """SSIM of maps (n, channels, side, side) in 0..1, Gaussian windows of 11, mean over all: a tensor without dimensions."""
    places = torch.arange(-_RADIUS, _RADIUS + 1, device=one.device, dtype=one.dtype)
    line = (-(places**2) / (2 * _SIGMA**2)).exp()
    line = line / line.sum()
    window = (line[:, None] * line)[None, None]

    def means(maps):
        return conv2d(maps.flatten(0, 1)[:, None], window)

    first, second = means(one), means(other)
    variances = means(one**2) - first**2, means(other**2) - second**2
    covariance = means(one * other) - first * second
    above = (2 * first * second + _C1) * (2 * covariance + _C2)
    return (above / ((first**2 + second**2 + _C1) * (sum(variances) + _C2))).mean()
