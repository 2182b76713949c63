"""A learned token for each subject, which tells the layers that subjects share whose responses they read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean


class SubjectTokens(nn.Module):
    """One token for each subject, after Han et al. (2024), "MindFormer".

    >>> tokens = SubjectTokens(["subj01", "subj02"], width=8)
    >>> tokens({"subj02": 3, "subj01": 2}).shape
    torch.Size([5, 8])
    >>> tokens.subject_tensors("subj02")
    {'token': 'tokens.1'}

    Parameters
    ----------
    subjects : sequence of str
        A subject's token is `tokens[i]`, where i is its place here.
    width : int
        Values of a token. Published: 768.
    spread : float
        Standard deviation of the first values, around 0.

    Raises
    ------
    InputError
        There is no subject, or a number is out of its range.
    """

    def __init__(self, subjects: Sequence[str], width: int, spread: float = 0.02) -> None:
        super().__init__()
        if not subjects:
            raise InputError("There are tokens of no subject; expected names of subjects, such as ['subj01'].")
        check("width", width, Number(1, whole=True, example=768))
        check("spread", spread, Number(0, example=0.02))
        self.subjects = tuple(subjects)
        self.tokens = nn.ParameterList(nn.Parameter(spread * torch.randn(width)) for _ in self.subjects)

    def forward(self, counts: Mapping[str, int]) -> Tensor:
        """Repeat the tokens of some or all of the subjects.

        Parameters
        ----------
        counts : mapping of str to int
            How many rows there are of each subject.

        Returns
        -------
        tokens : tensor of shape (n of all, width)
            Rows of one subject after those of the one before it, in the order of `counts`.
        """
        if not counts:
            raise InputError(f"There are rows of no subject; give those of some of {', '.join(self.subjects)}.")
        return torch.cat([self.tokens[self._place(name)].expand(n, -1) for name, n in counts.items()])

    def subject_tensors(self, subject: str) -> dict[str, str]:
        """Names of the tensors that belong to one subject alone: without its place among the others, and in the state dict."""
        return {"token": f"tokens.{self._place(subject)}"}

    def _place(self, subject: str) -> int:
        if subject not in self.subjects:
            raise InputError(
                f"The network has no token of subject {subject!r}{did_you_mean(subject, self.subjects)}; it was made for "
                f"{', '.join(self.subjects)}."
            )
        return self.subjects.index(subject)
