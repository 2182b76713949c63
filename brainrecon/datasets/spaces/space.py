"""Where the values of a pattern are, whatever the measurement: what every kind of space can do."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stages.ground.errors import InputError


@runtime_checkable
class Space(Protocol):
    """The places of a subject's values, in the order of the columns of its patterns.

    >>> from brainrecon.datasets.spaces.surface_places import SurfacePlaces
    >>> from brainrecon.datasets.spaces.voxel_grid import VoxelGrid
    >>> import numpy as np
    >>> grid = VoxelGrid.of_mask(np.ones((1, 1, 2), bool), np.eye(4))
    >>> places = SurfacePlaces.of_mask("fsaverage5", np.array([True, True]), n_left=1)
    >>> [isinstance(space, Space) for space in (grid, places)]
    [True, True]
    >>> list(grid.files([1.0, 2.0])), list(places.files([1.0, 2.0]))
    (['.nii.gz'], ['.lh.func.gii', '.rh.func.gii'])

    A kind of space is a file of this folder and an entry of `brainrecon.datasets.spaces.stored.KINDS`.

    Attributes
    ----------
    kind : str
        The entry of subject.json under which it is stored: "grid", "surface", "grayordinates", "sensors".
    unit : str
        What values are called where they are counted: "voxels", "vertices", "values" of a channel at a time.
    """

    kind: str
    unit: str

    def __len__(self) -> int: ...

    def columns(self, chosen: Any) -> Space:
        """The places of some of the values, chosen like columns of the patterns."""

    def files(self, values: Any) -> dict[str, tuple[str, bytes]]:
        """Values (n_voxels,) or (n_maps, n_voxels) as files: ending -> (which part of the space, "" for all of it; content)."""

    def facts(self) -> dict[str, Any]:
        """JSON-able: what is stored of it beside `arrays`."""

    def arrays(self) -> dict[str, Any]:
        """Name of a .npy file -> array, whose rows are the values."""


def checked_values(values: Any, space: Space) -> NDArray:
    """Values as an array (n_voxels,) or (n_maps, n_voxels); an InputError if they are of another number of places.

    >>> from brainrecon.datasets.spaces.voxel_grid import VoxelGrid
    >>> grid = VoxelGrid.of_mask(np.ones((1, 1, 2), bool), np.eye(4))
    >>> checked_values([5, 6], grid).tolist()
    [5, 6]

    Parameters
    ----------
    values : array
    space : Space
    """
    array = np.asarray(values)
    if array.ndim not in (1, 2) or array.shape[-1] != len(space):
        raise InputError(
            f"Values have shape {array.shape} but there are {len(space):,} {space.unit}; give one value for each, or "
            f"several maps, (n_maps, {len(space)})."
        )
    return array
