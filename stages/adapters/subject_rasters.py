"""Responses of several subjects as pictures of one size, each subject's values at places of its own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from stages.adapters.surface_raster import SurfaceRaster
from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

_TABLES = ("pixels", "sheets")


class SubjectRasters(nn.Module):
    """The raster of each subject, stored with a network and read with it.

    >>> rasters = SubjectRasters({"subj01": 4}, size=3)
    >>> rasters.put("subj01", in_order(4, 3))
    >>> rasters({"subj01": torch.tensor([[1.0, 3.0, 5.0, 7.0]])})
    tensor([[[[1., 2., 3.],
              [3., 4., 5.],
              [5., 6., 7.]]]])
    >>> rasters.subject_tensors("subj01")
    {'pixels': 'pixels_0', 'sheets': 'sheets_0'}

    Parameters
    ----------
    n_voxels : mapping of str to int
        By subject.
    size : int
        Height and width of a picture in pixels.
    """

    def __init__(self, n_voxels: Mapping[str, int], size: int) -> None:
        super().__init__()
        check("size", size, Number(2, whole=True, example=256))
        self.n_voxels, self.size = dict(n_voxels), size
        for place, n in enumerate(self.n_voxels.values()):
            for name in _TABLES:
                self.register_buffer(f"{name}_{place}", torch.zeros(n, dtype=torch.int32))
        self._made: dict[int, SurfaceRaster] = {}

    def put(self, subject: str, raster: SurfaceRaster) -> None:
        """Say where a subject's values lie.

        Raises
        ------
        InputError
            The raster is of pictures of another size, or of another number of values.
        """
        place = self._place(subject)
        if raster.side != self.size or len(raster) != self.n_voxels[subject]:
            raise InputError(
                f"The raster of {subject} puts {len(raster):,} values into {raster.side} pixels square; expected "
                f"{self.n_voxels[subject]:,} values and {self.size} pixels: make it of this subject's own places."
            )
        for name in _TABLES:
            self.get_buffer(f"{name}_{place}").copy_(torch.from_numpy(getattr(raster, name).astype(np.int32)))
        self._made[place] = raster

    def forward(self, patterns: Mapping[str, Tensor]) -> Tensor:
        """Pictures (n of all, 1, size, size) of patterns (n of the subject, n_voxels) by subject, in their order."""
        return torch.cat([self._drawn(self._place(subject), rows) for subject, rows in patterns.items()])

    def raster(self, subject: str) -> SurfaceRaster:
        """Where a subject's values lie."""
        return self._raster(self._place(subject))

    def subject_tensors(self, subject: str) -> dict[str, str]:
        """Names of the tensors that belong to one subject alone: without its place among the others, and in the state dict."""
        place = self._place(subject)
        return {name: f"{name}_{place}" for name in _TABLES}

    def _drawn(self, place, rows):
        if rows.is_meta:
            # An outline, whose places are not known.
            return rows.new_empty(len(rows), 1, self.size, self.size)
        return self._raster(place).to_raster(rows)

    def _raster(self, place):
        # Made once: to look at the tensors again would wait for the device.
        if place not in self._made:
            tables = [self.get_buffer(f"{name}_{place}").cpu().numpy() for name in _TABLES]
            self._made[place] = SurfaceRaster(*tables, self.size)
        return self._made[place]

    def _load_from_state_dict(self, *arguments, **named):
        self._made = {}
        super()._load_from_state_dict(*arguments, **named)

    def _place(self, subject: str) -> int:
        subjects = tuple(self.n_voxels)
        if subject not in subjects:
            raise InputError(
                f"There is no raster of subject {subject!r}{did_you_mean(subject, subjects)}; there are those of "
                f"{', '.join(subjects)}."
            )
        return subjects.index(subject)


def in_order(n_values: int, size: int) -> SurfaceRaster:
    """A raster that shows values in their order, row by row in the smallest square, for those of which no place is known.

    Neighbours in it are neighbours by their numbers alone. Of more than size² values some share a pixel, which is their mean.

    >>> in_order(4, 5).pixels.tolist()
    [0, 4, 20, 24]

    Parameters
    ----------
    n_values : int
    size : int
    """
    check("n_values", n_values, Number(1, whole=True, example=15724))
    side = int(np.ceil(np.sqrt(n_values)))
    rows, columns = np.divmod(np.arange(n_values), side)
    along = np.round(np.linspace(0, size - 1, side)).astype(int)
    return SurfaceRaster(
        along[rows] * size + along[columns], np.zeros(n_values, dtype=int), size, "values in their order"
    )
