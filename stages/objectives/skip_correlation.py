"""What keeps a non-linear path from repeating what the layers beside it carry: the absolute correlation of both."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import normalize

from stages.adapters.skip_lora import BESIDE, SKIPPED
from stages.ground.checks import Number, OneOf, check

REACHES = ("both", "skips", "neither")
_LEAST_LENGTH = 1e-8


class SkipCorrelation:
    """``|r|`` of what a path gives and what stands beside it, averaged over paths and samples.

    >>> values = torch.randn(3, 4, 16)
    >>> loss, parts = SkipCorrelation()({"beside_skips": 2 * values + 1, "skips": -values}, {}, step=0)
    >>> round(loss.item(), 4), list(parts)
    (1.5, ['correlation of skips'])

    Parameters
    ----------
    weight : float
        A third-party implementation of MindTuner: 1.5.
    reaches : {"both", "skips", "neither"}
        What its gradient changes: what stands beside a path as well, or the path alone. With "neither", as in that
        implementation, it has none and changes nothing.
    """

    # What the network gives beside its values; nothing is true of it.
    reads = ()

    def __init__(self, weight: float = 1.5, reaches: str = "both") -> None:
        self.weight = check("weight", weight, Number(0))
        self.reaches = check("reaches", reaches, OneOf(*REACHES))

    def __call__(
        self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Judge `outputs` "beside_skips" and "skips", each tensor (n, n_paths, n_values)."""
        beside, skips = outputs[BESIDE], outputs[SKIPPED]
        if self.reaches != "both":
            beside = beside.detach()
        if self.reaches == "neither":
            skips = skips.detach()
        correlation = absolute_correlation(beside, skips).mean()
        return self.weight * correlation, {"correlation of skips": correlation.detach()}

    def __repr__(self) -> str:
        return f"SkipCorrelation({self.weight}, {self.reaches!r})"


def absolute_correlation(one: Tensor, other: Tensor) -> Tensor:
    """Absolute value of Pearson's r over the last axis; 0 if either does not vary.

    >>> absolute_correlation(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.0, -2.0, -6.0])).item()
    1.0

    Parameters
    ----------
    one, other : tensors of shape (..., n_values)

    Returns
    -------
    correlation : tensor of shape (...), float32
    """
    rows = [normalize(_centred(values.float()), dim=-1, eps=_LEAST_LENGTH) for values in (one, other)]
    return (rows[0] * rows[1]).sum(-1).abs()


def _centred(values: Tensor) -> Tensor:
    return values - torch.mean(values, dim=-1, keepdim=True)
