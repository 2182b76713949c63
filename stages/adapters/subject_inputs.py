"""Layers that belong to one subject each: voxels of any number in, values of one width out, which the other layers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean


class SubjectModules(nn.ModuleList):
    """A module for each subject, of whatever kind.

    >>> modules = SubjectModules({"subj01": 15, "subj02": 14}, lambda n_voxels: nn.Sequential(nn.Linear(n_voxels, 8), nn.GELU()))
    >>> modules({"subj02": torch.zeros(3, 14), "subj01": torch.zeros(2, 15)}).shape
    torch.Size([5, 8])
    >>> modules.subject_tensors("subj02")
    {'0.weight': '1.0.weight', '0.bias': '1.0.bias'}

    Parameters
    ----------
    n_voxels : mapping of str to int
        By subject; a subject's module is the one at its place here.
    make : callable
        ``make(n_voxels) -> torch.nn.Module``.

    Raises
    ------
    InputError
        There is no subject, or a subject without voxels.
    """

    def __init__(self, n_voxels: Mapping[str, int], make: Callable[[int], nn.Module]) -> None:
        if not isinstance(n_voxels, Mapping) or not n_voxels:
            raise InputError(
                f'n_voxels is {n_voxels!r}; expected the number of voxels of each subject, such as {{"subj01": 15724}}.'
            )
        for name, n in n_voxels.items():
            check(f"n_voxels of {name}", n, Number(1, whole=True, example=15724))
        super().__init__(map(make, n_voxels.values()))
        self.subjects = tuple(n_voxels)

    def forward(self, patterns: Mapping[str, Tensor]) -> Tensor:
        """Pass the rows of some or all of the subjects through the module of each.

        Parameters
        ----------
        patterns : mapping of str to tensor of shape (n of the subject, n_voxels of the subject)

        Returns
        -------
        values : tensor of shape (n of all, ...)
            Rows of one subject after those of the one before it, in the order of `patterns`.
        """
        if not patterns:
            raise InputError(f"There are patterns of no subject; give those of some of {', '.join(self.subjects)}.")
        return torch.cat([self.of(name)(rows) for name, rows in patterns.items()])

    def of(self, subject: str) -> nn.Module:
        """The module of one subject."""
        return self[self._place(subject)]

    def subject_tensors(self, subject: str) -> dict[str, str]:
        """Names of the tensors that belong to one subject alone: without its place among the others, and in the state dict."""
        place = self._place(subject)
        return {name: f"{place}.{name}" for name in self[place].state_dict()}

    def _place(self, subject: str) -> int:
        if subject not in self.subjects:
            raise InputError(
                f"The network has no layer of subject {subject!r}{did_you_mean(subject, self.subjects)}; it was made for "
                f"{', '.join(self.subjects)}."
            )
        return self.subjects.index(subject)


class SubjectLinears(nn.Module):
    """A linear layer for each subject, after Scotti et al. (2024), "MindEye2".

    >>> layers = SubjectLinears({"subj01": 15724, "subj02": 14278}, width=8)
    >>> layers({"subj02": torch.zeros(3, 14278), "subj01": torch.zeros(2, 15724)}).shape
    torch.Size([5, 8])
    >>> layers.subject_tensors("subj02")
    {'weight': 'linears.1.weight', 'bias': 'linears.1.bias'}

    Parameters
    ----------
    n_voxels : mapping of str to int
        By subject; a subject's layer is `linears[i]`, where i is its place here.
    width : int
        Values of a row. Published: 4096.

    Raises
    ------
    InputError
        There is no subject, or a subject without voxels.
    """

    def __init__(self, n_voxels: Mapping[str, int], width: int) -> None:
        super().__init__()
        check("width", width, Number(1, whole=True, example=4096))
        self.linears = SubjectModules(n_voxels, lambda n: nn.Linear(n, width))

    @property
    def subjects(self) -> tuple[str, ...]:
        """Their names, in the order of the layers."""
        return self.linears.subjects

    def forward(self, patterns: Mapping[str, Tensor]) -> Tensor:
        """Bring rows (n of the subject, n_voxels) of some or all of the subjects to one width, in the order of `patterns`."""
        return self.linears(patterns)

    def subject_tensors(self, subject: str) -> dict[str, str]:
        """Names of the tensors that belong to one subject alone: without its place among the others, and in the state dict."""
        return {name: f"linears.{place}" for name, place in self.linears.subject_tensors(subject).items()}


def tensors_of_parts(subject: str, parts: Mapping[str, nn.Module | None]) -> dict[str, str]:
    """Names of the tensors of one subject's own in the parts of a network: as they are stored, and in the state dict.

    >>> parts = {"ridge": SubjectLinears({"subj01": 50, "subj02": 40}, width=8), "skips": None}
    >>> tensors_of_parts("subj02", parts)
    {'ridge.weight': 'ridge.linears.1.weight', 'ridge.bias': 'ridge.linears.1.bias'}

    Parameters
    ----------
    subject : str
    parts : mapping of str to Module or None
        By the name that a part has in the network; each says itself in `subject_tensors` what is whose. None has nothing.
    """
    return {
        f"{part}.{own}": f"{part}.{place}"
        for part, module in parts.items()
        if module is not None
        for own, place in module.subject_tensors(subject).items()
    }
