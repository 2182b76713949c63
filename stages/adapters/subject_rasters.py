"""Responses of several subjects as pictures of one size, each subject's values at places of its own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

_CORNERS = 4


class SubjectRasters(nn.Module):
    """Pictures whose pixels are weighted sums of a few of a subject's values.

        picture[p] = Σ_k weights[k, p] · pattern[values[k, p]]

    The tables are buffers: they are stored with a network, and read with it.

    >>> rasters = SubjectRasters({"subj01": 3}, size=2)
    >>> rasters.put("subj01", *in_order(3, 2))
    >>> rasters({"subj01": torch.tensor([[5.0, 6.0, 7.0]])})
    tensor([[[[5., 6.],
              [7., 0.]]]])

    Parameters
    ----------
    n_voxels : mapping of str to int
        By subject.
    size : int
        Height and width of a picture in pixels.
    n_corners : int
        Values that a pixel is made of, at most.
    """

    def __init__(self, n_voxels: Mapping[str, int], size: int, n_corners: int = _CORNERS) -> None:
        super().__init__()
        check("size", size, Number(1, whole=True, example=256))
        self.n_voxels, self.size = dict(n_voxels), size
        for place in range(len(self.n_voxels)):
            self.register_buffer(f"values_{place}", torch.zeros(n_corners, size * size, dtype=torch.int32))
            self.register_buffer(f"weights_{place}", torch.zeros(n_corners, size * size))

    def put(self, subject: str, values: np.ndarray, weights: np.ndarray) -> None:
        """Say which values a subject's pixels are made of.

        Parameters
        ----------
        subject : str
        values : int array of shape (k, size * size), k up to `n_corners`
            Numbers of values in a pattern.
        weights : float array of that shape
            0 outside the mask.

        Raises
        ------
        InputError
            The tables do not fit the picture, or name values that the subject does not have.
        """
        place = self._place(subject)
        kept, shares = self._tables(place)
        values, weights = np.asarray(values), np.asarray(weights, dtype=np.float32)
        fits = values.ndim == 2 and values.shape == weights.shape and values.shape[1] == kept.shape[1]
        if not fits or len(values) > len(kept):
            raise InputError(
                f"The raster of {subject} has tables of shapes {values.shape} and {weights.shape}; expected both of up to "
                f"({len(kept)}, {kept.shape[1]}): make them for pictures of {self.size} pixels."
            )
        if values.size and not (0 <= values.min() and values.max() < self.n_voxels[subject]):
            raise InputError(
                f"The raster of {subject} reads values {values.min()} to {values.max()} but a pattern has "
                f"{self.n_voxels[subject]:,}; give the raster of this subject's own values."
            )
        if not np.isfinite(weights).all():
            raise InputError(f"The raster of {subject} has weights that are not finite; give finite ones.")
        kept.zero_()
        shares.zero_()
        kept[: len(values)] = torch.from_numpy(values.astype(np.int32))
        shares[: len(values)] = torch.from_numpy(weights)

    def forward(self, patterns: Mapping[str, Tensor]) -> Tensor:
        """Pictures (n of all, 1, size, size) of patterns (n of the subject, n_voxels) by subject, in their order."""
        pictures = []
        for subject, rows in patterns.items():
            values, weights = self._tables(self._place(subject))
            found = sum(rows[:, corner.long()] * share for corner, share in zip(values, weights))
            pictures.append(found.unflatten(1, (1, self.size, self.size)))
        return torch.cat(pictures)

    def mask(self, subject: str) -> Tensor:
        """Pixels (size, size) of a subject that are made of any value, bool."""
        _, weights = self._tables(self._place(subject))
        return (weights != 0).any(dim=0).unflatten(0, (self.size, self.size))

    def subject_tensors(self, subject: str) -> dict[str, str]:
        """Names of the tensors that belong to one subject alone: without its place among the others, and in the state dict."""
        place = self._place(subject)
        return {name: f"{name}_{place}" for name in ("values", "weights")}

    def _tables(self, place: int) -> tuple[Tensor, Tensor]:
        return self.get_buffer(f"values_{place}"), self.get_buffer(f"weights_{place}")

    def _place(self, subject: str) -> int:
        subjects = tuple(self.n_voxels)
        if subject not in subjects:
            raise InputError(
                f"There is no raster of subject {subject!r}{did_you_mean(subject, subjects)}; there are those of "
                f"{', '.join(subjects)}."
            )
        return subjects.index(subject)


def in_order(n_values: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Tables of a picture that shows values in their order, row by row in the smallest square, enlarged to whole pixels.

    For responses of which it is not known where they lie. Neighbours in it are neighbours by their numbers alone.

    >>> values, weights = in_order(3, 4)
    >>> values.reshape(4, 4)
    array([[0, 0, 1, 1],
           [0, 0, 1, 1],
           [2, 2, 0, 0],
           [2, 2, 0, 0]])
    >>> weights.reshape(4, 4)[2].tolist()
    [1.0, 1.0, 0.0, 0.0]

    Parameters
    ----------
    n_values : int
        Up to size².
    size : int

    Returns
    -------
    values : int array of shape (1, size * size)
    weights : float array of that shape
    """
    if not 0 < n_values <= size * size:
        raise InputError(
            f"A picture of {size} pixels cannot show {n_values:,} values; expected 1 to {size * size:,}: load fewer voxels, or "
            "make the picture larger."
        )
    side = next(one for one in range(1, size + 1) if one * one >= n_values)
    places = np.arange(size) * side // size
    numbers = (places[:, None] * side + places).ravel()
    inside = numbers < n_values
    return np.where(inside, numbers, 0)[None], inside[None].astype(np.float32)
