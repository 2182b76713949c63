"""A feed-forward layer of experts, all of which work on every token, in shares that a subject's own parameters say.

After the figure of Psychometry (Quan et al., CVPR 2024): experts belong to everybody, and their shares for a token O follow from
O and the subject's alpha. What alpha is, and how shares are made, the figure does not tell; both readings of it are here.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.adapters.subject_inputs import SubjectModules, tensors_of_parts
from stages.ground.checks import Number, OneOf, check

GATES = ("matrix", "scale")


class SubjectExperts(nn.Module):
    """The weighted sum of all experts: y = sum_e w_e(O) FFN_e(O), with FFN_e two linear layers around a GELU.

    >>> layer = SubjectExperts({"subj01": 15, "subj02": 14}, width=8, inner=16, n_experts=3)
    >>> layer(torch.zeros(2, 5, 8), "subj02").shape
    torch.Size([2, 5, 8])
    >>> layer.shares(torch.zeros(2, 5, 8), "subj02")[0, 0].sum().item()
    1.0
    >>> layer.subject_tensors("subj02")
    {'gates.alpha': 'gates.1.alpha'}

    All experts are computed as one matrix product into `n_experts * inner` values and one back, which equals the sum.

    Parameters
    ----------
    n_voxels : mapping of str to int
        By subject; the numbers are not looked at.
    width : int
        Values of a token.
    inner : int
        Values inside an expert.
    n_experts : int
    gate : {"matrix", "scale"}
        Shares of a subject: ``softmax(O alpha)`` with alpha (width, n_experts); or ``softmax(router(O * alpha))`` with alpha
        (width,) and one linear router for all subjects.
    """

    def __init__(
        self, n_voxels: Mapping[str, int], width: int, inner: int, n_experts: int, gate: str = "matrix"
    ) -> None:
        super().__init__()
        for name, value in {"width": width, "inner": inner, "n_experts": n_experts}.items():
            check(name, value, Number(1, whole=True, example=8))
        check("gate", gate, OneOf(*GATES))
        self.n_experts = n_experts
        self.gates = SubjectModules(n_voxels, lambda n: _Gate(width, n_experts, gate))
        self.router = nn.Linear(width, n_experts) if gate == "scale" else None
        self.weight_in = nn.Parameter(torch.empty(n_experts, inner, width))
        self.bias_in = nn.Parameter(torch.empty(n_experts, inner))
        self.weight_out = nn.Parameter(torch.empty(n_experts, inner, width))
        self.bias_out = nn.Parameter(torch.empty(n_experts, width))
        # As PyTorch begins the linear layers of one expert.
        for weights, bias, n_inputs in ((self.weight_in, self.bias_in, width), (self.weight_out, self.bias_out, inner)):
            for one in (weights, bias):
                nn.init.uniform_(one, -(n_inputs**-0.5), n_inputs**-0.5)

    def shares(self, tokens: Tensor, subject: str) -> Tensor:
        """Share of each expert for tokens (..., width), tensor (..., n_experts): above 0, adding to 1."""
        return self.gates.of(subject)(tokens, self.router)

    def forward(self, tokens: Tensor, subject: str) -> Tensor:
        """Of tokens (..., width) of a subject, a tensor of the same shape."""
        shares = self.shares(tokens, subject)
        inner = functional.gelu(functional.linear(tokens, self.weight_in.flatten(0, 1), self.bias_in.flatten()))
        inner = inner.unflatten(-1, (self.n_experts, -1)) * shares[..., None]
        return inner.flatten(-2) @ self.weight_out.flatten(0, 1) + shares @ self.bias_out

    def subject_tensors(self, subject: str) -> dict[str, str]:
        """Names of the tensors that belong to one subject alone: without its place among the others, and in the state dict."""
        return tensors_of_parts(subject, {"gates": self.gates})


class _Gate(nn.Module):
    """A subject's alpha, and the shares that it gives."""

    def __init__(self, width: int, n_experts: int, gate: str) -> None:
        super().__init__()
        # Logits of a token of unit variance have unit variance; a scale begins as none.
        first = torch.randn(width, n_experts) * width**-0.5 if gate == "matrix" else torch.ones(width)
        self.alpha = nn.Parameter(first)

    def forward(self, tokens: Tensor, router: nn.Module | None) -> Tensor:
        logits = tokens @ self.alpha if router is None else router(tokens * self.alpha)
        return logits.softmax(dim=-1)
