"""An affine map from one subject's voxels to another's, as two narrow matrices if few stimuli made it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.ground.errors import InputError


@dataclass(frozen=True)
class AffineMap:
    """Map patterns of a source to the voxels of a target.

        y = (x - source_mean) left right + target_mean

    >>> turned = AffineMap(np.array([[0.0, 1.0], [-1.0, 0.0]]))
    >>> turned(np.array([[1.0, 2.0]])).tolist()
    [[-2.0, 1.0]]

    A map that n stimuli make has rank n at most: two matrices of n columns and n rows are far less than one from every voxel
    to every other.

    Parameters
    ----------
    left : array of shape (n_source_voxels, rank)
    right : array of shape (rank, n_target_voxels), optional
        None if `left` reaches the target's voxels by itself.
    source_mean : array of shape (n_source_voxels,), optional
    target_mean : array of shape (n_target_voxels,), optional
    """

    left: np.ndarray
    right: np.ndarray | None = None
    source_mean: np.ndarray | None = None
    target_mean: np.ndarray | None = None

    @property
    def n_source_voxels(self) -> int:
        return self.left.shape[0]

    @property
    def n_target_voxels(self) -> int:
        return (self.left if self.right is None else self.right).shape[1]

    def __call__(self, patterns: np.ndarray) -> np.ndarray:
        """Patterns (n_stimuli, n_source_voxels) in the target's voxels, (n_stimuli, n_target_voxels).

        Raises
        ------
        InputError
            They have another number of voxels.
        """
        if patterns.ndim != 2 or patterns.shape[1] != self.n_source_voxels:
            raise InputError(
                f"Patterns have shape {patterns.shape} but the alignment was fitted on {self.n_source_voxels:,} voxels; load the "
                "same subject and roi, or align this one."
            )
        moved = patterns if self.source_mean is None else patterns - self.source_mean
        moved = moved @ self.left
        moved = moved if self.right is None else moved @ self.right
        return moved if self.target_mean is None else moved + self.target_mean

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """What it is made of, by name, without what is None."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def astype(self, dtype: type) -> AffineMap:
        """The same map in numbers of another type."""
        return AffineMap(**{name: np.ascontiguousarray(value, dtype=dtype) for name, value in self.tensors.items()})
