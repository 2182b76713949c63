"""A small correction of what a layer reads or gives, which begins as none: a bottleneck beside the identity."""

from __future__ import annotations

import math

from torch import Tensor, nn

from stages.ground.checks import Number, check


class ResidualAdapter(nn.Module):
    """x + up(relu(down(x))), with `up` and the biases 0 at first, so that a fresh one gives what it reads.

    >>> import torch
    >>> adapter = ResidualAdapter(width=8, bottleneck=2)
    >>> values = torch.randn(3, 8)
    >>> torch.equal(adapter(values), values)
    True

    While `up` is 0 nothing reaches `down`: its gradient is 0 in the first step, and in no later one.

    Parameters
    ----------
    width : int
        Values of a row. MindBridge (CVPR 2024): 8192.
    bottleneck : int
        MindBridge: 128.
    """

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        check("width", width, Number(1, whole=True, example=8192))
        check("bottleneck", bottleneck, Number(1, whole=True, example=128))
        self.down_proj, self.up_proj = nn.Linear(width, bottleneck), nn.Linear(bottleneck, width)
        nn.init.kaiming_uniform_(self.down_proj.weight, a=math.sqrt(5))
        for zero in (self.up_proj.weight, self.up_proj.bias, self.down_proj.bias):
            nn.init.zeros_(zero)

    def forward(self, values: Tensor) -> Tensor:
        """Correct rows, tensor of shape (n, width)."""
        return values + self.up_proj(self.down_proj(values).relu())
