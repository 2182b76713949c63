"""A subject's values as a picture: from the flat map of its surface, or, without a surface, from the slices of its volume."""

import numpy as np

from brainrecon.datasets.spaces.grayordinates import Grayordinates
from stages.adapters.surface_raster import SIDE, SurfaceRaster
from stages.ground.errors import InputError


def raster_of(subject, side=SIDE):
    """The raster of a subject's values.

    >>> import torch
    >>> from brainrecon.datasets.split import Split
    >>> from brainrecon.datasets.subject import Subject
    >>> from brainrecon.datasets.spaces.surface_places import SurfacePlaces
    >>> splits = {name: Split(np.ones((1, 4), np.float32), [name]) for name in ("train", "test")}
    >>> corners = np.array([[0, 0], [0, 2], [2, 0], [2, 2]])
    >>> surface = SurfacePlaces.of_mask("mine", np.ones(4, bool), 4, flat=corners, extent=(0, 2), flat_origin="by hand")
    >>> raster = raster_of(Subject("subj01", "mine", "mine:here", splits, "all", space=surface))
    >>> raster.to_raster(torch.ones(3, 4)).shape, raster.origin
    (torch.Size([3, 1, 256, 256]), 'own raster of the flat map of mine (by hand)')

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    side : int
        Rows and columns of the picture.

    Returns
    -------
    raster : stages.adapters.surface_raster.SurfaceRaster
        Its `origin` says what was drawn.

    Raises
    ------
    InputError
        The data do not say where the values are.
    """
    places, grid = subject.surface, subject.grid
    if places is not None and places.flat is not None:
        origin = f"own raster of the flat map of {places.mesh} ({places.flat_origin})"
        return SurfaceRaster.of_flat(places.flat, places.right.astype(int), side, places.extent, origin)
    if grid is not None:
        flat, slices = slices_beside_each_other(grid.indices)
        origin = "raster of the slices of the volume beside each other, as there is no surface: not the authors' raster"
        return SurfaceRaster.of_flat(flat, slices, side, origin=origin)
    if places is not None:
        raise InputError(
            f"{subject.source or subject.name} has values on {places.mesh} but no flat map of it; name the folder of one, "
            "--option flat=FOLDER."
        )
    if isinstance(subject.space, Grayordinates):
        beyond = int((~subject.space.parts().get("cortex", np.zeros(len(subject.space), dtype=bool))).sum())
        raise InputError(
            f"{subject.source or subject.name} has {beyond:,} of {len(subject.space):,} values below the cortex, which no flat "
            "map "
            "has; take those of the cortex alone, --roi cortex."
        )
    raise InputError(
        f"{subject.source or subject.name} does not say where its voxels are, so that no picture of them can be drawn; NSD, BIDS "
        "folders and nilearn's copy of Miyawaki do."
    )


def slices_beside_each_other(indices):
    """Horizontal slices of a volume, each cut to what it holds, laid in rows, the lowest at the lower left.

    >>> flat, slices = slices_beside_each_other(np.array([[0, 0, 0], [1, 0, 0], [4, 2, 1]]))
    >>> flat.tolist(), slices.tolist()
    ([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]], [0, 0, 1])

    Parameters
    ----------
    indices : int array of shape (n_voxels, 3)

    Returns
    -------
    flat : array of shape (n_voxels, 2), float64
        Right and up, in voxels: x and y of the volume within a slice.
    slices : int array of shape (n_voxels,)
        Which slice each voxel is in, from 0.
    """
    levels, slices = np.unique(indices[:, 2], return_inverse=True)
    slices = slices.reshape(-1)
    boxes = [indices[slices == number, :2] for number in range(len(levels))]
    lows = [box.min(axis=0) for box in boxes]
    sizes = [box.max(axis=0) - low + 2 for box, low in zip(boxes, lows)]
    # As wide as a square of their whole area, or as the widest of them.
    width = max(max(size[0] for size in sizes), int(np.ceil(np.sqrt(sum(size[0] * size[1] for size in sizes)))))
    flat = np.empty((len(indices), 2))
    x = y = height = 0
    for number, (low, size) in enumerate(zip(lows, sizes)):
        if x and x + size[0] > width:
            x, y, height = 0, y + height, 0
        inside = slices == number
        flat[inside] = indices[inside, :2] - low + (x, y)
        x, height = x + size[0], max(height, size[1])
    return flat, slices
