"""Skip-LoRA: a low-rank path with a bend, from what a network reads straight into a hidden layer.

After Gong et al. (AAAI 2025), "MindTuner", as a third-party implementation has it: s(v) = GELU((alpha / r) B A v) of voxels v,
which is added to the values of a layer. It is no linear map, so that no layer's weights can take it up.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.functional import gelu

from stages.adapters.subject_lora import check_low_rank, draw_second
from stages.ground.checks import Number, check
from stages.ground.errors import InputError

# What a network with such paths gives beside its values: for each path what stands there without it, and what it adds.
BESIDE, SKIPPED = "beside_skips", "skips"


class SkipLora(nn.Module):
    """s(v) = GELU((alpha / r) B A v), of vectors v of n_in values.

    >>> import torch
    >>> path = SkipLora(15724, 4096)
    >>> sum(parameter.numel() for parameter in path.parameters())
    158560
    >>> path(torch.ones(2, 15724)).abs().max().item()
    0.0

    Before training it gives 0, since one factor is 0.

    Parameters
    ----------
    n_in, n_out : int
    rank, alpha, init
        See `stages.adapters.subject_lora.SubjectLora`.
    """

    def __init__(self, n_in: int, n_out: int, rank: int = 8, alpha: float = 8.0, init: str = "b_normal") -> None:
        super().__init__()
        check_low_rank(rank, alpha, init)
        for name, n in (("n_in", n_in), ("n_out", n_out)):
            check(name, n, Number(1, whole=True, example=4096))
        self.scaling = alpha / rank
        self.lora_A = nn.Linear(n_in, rank, bias=False)
        self.lora_B = nn.Linear(rank, n_out, bias=False)
        if init == "b_normal":
            draw_second(self.lora_A.weight, self.lora_B.weight)
        else:
            nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))
            nn.init.zeros_(self.lora_B.weight)

    def forward(self, voxels: Tensor) -> Tensor:
        """Of voxels (n, n_in), values (n, n_out)."""
        return gelu(self.lora_B(self.lora_A(voxels)) * self.scaling)

    def merge(self) -> None:
        """Refuse: nothing linear is equal to it."""
        raise InputError(
            "A Skip-LoRA bends what it gives (GELU), so that no weights can take it up; merge the adapters of layers alone, and "
            "keep this path."
        )
