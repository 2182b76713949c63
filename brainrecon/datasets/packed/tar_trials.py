"""Responses of trials that lie in archives, a few of one picture in each member."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from brainrecon.datasets.packed.tar_members import AGAIN, Member
from brainrecon.datasets.responses import Responses, Standardized
from brainrecon.datasets.split import check_finite
from stages.ground.errors import InputError


class TarTrials(Responses):
    """Responses (n_trials, n_voxels), the trials of a member following each other.

    Parameters
    ----------
    members : sequence of brainrecon.datasets.packed.tar_members.Member
        Each an array (n_rows, n_voxels).
    repeats : int array of shape (n_members,)
        Trials of each.
    distinct : int array of shape (n_members,), optional
        So many rows of each differ from each other, and those are its trials: others are copies of them. Without it the rows
        are the trials as they stand.
    n_voxels : int

    Raises
    ------
    InputError
        On reading: a member is damaged, of another shape, not finite, or has another number of different rows.
    """

    standardized: Standardized = "session"
    takes_any_order = True
    is_quick = False

    def __init__(self, members: Sequence[Member], repeats: NDArray, distinct: NDArray | None, n_voxels: int) -> None:
        self._members, self._distinct = list(members), distinct
        self._owners = np.repeat(np.arange(len(members)), repeats)
        self._numbers = np.arange(len(self._owners)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        super().__init__((len(self._owners), n_voxels), np.float32)

    def _read(self, rows: NDArray) -> NDArray:
        values = np.empty((len(rows), self.shape[1]), dtype=np.float32)
        owners, numbers = self._owners[rows], self._numbers[rows]
        for owner in np.unique(owners):
            wanted = owners == owner
            values[wanted] = self._trials(int(owner))[numbers[wanted]]
        return values

    def _trials(self, owner: int) -> NDArray:
        """The trials of one member, float32."""
        member = self._members[owner]
        stored = member.array()
        if stored.ndim != 2 or stored.shape[1] != self.shape[1] or stored.dtype.kind not in "fiu":
            raise InputError(
                f"{member} holds {stored.dtype} {stored.shape} but others have {self.shape[1]:,} voxels; take all archives of "
                "one subject and release."
            )
        values = stored.astype(np.float32)
        check_finite(values, str(member), remedy=AGAIN)
        if self._distinct is None:
            return values
        kept = [
            row
            for row in range(len(values))
            if not any(np.array_equal(values[row], values[other]) for other in range(row))
        ]
        if len(kept) != self._distinct[owner]:
            raise InputError(
                f"{member} has {len(kept)} rows that differ from each other but is said to have {self._distinct[owner]} trials; "
                f"{AGAIN}, or take its rows as they stand, --option copies=true."
            )
        return values[kept]
