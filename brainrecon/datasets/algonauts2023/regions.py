"""Regions of the challenge's vertices, and where on fsaverage they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from brainrecon.datasets.algonauts2023.layout import ATLASES, Layout
from brainrecon.datasets.algonauts2023.responses import AGAIN
from brainrecon.datasets.nsd.hemispheres import HemisphereFiles
from brainrecon.datasets.nsd.rois import LABELS, Region, as_labels, named_regions
from brainrecon.datasets.nsd.surface_regions import SurfaceRegion
from brainrecon.datasets.voxels import ALL
from stages.ground.errors import InputError
from stages.ground.reading.json_files import read_json
from stages.ground.reading.numpy_files import read_npy


def read_regions(layout: Layout, n_vertices: tuple[int, int]) -> dict[str, Region]:
    """All regions of a subject by name, first all vertices.

    Parameters
    ----------
    layout : brainrecon.datasets.algonauts2023.layout.Layout
    n_vertices : (int, int)
        That have responses, in the left and in the right hemisphere.

    Returns
    -------
    regions : dict of str to brainrecon.datasets.nsd.rois.Region
        Atlas after atlas: the atlas as a whole, its labels, and unions of them. Labels of no vertex are there too.

    Raises
    ------
    InputError
        A file is damaged, of other vertices, or lacks its other hemisphere.
    """
    whole = np.ones(sum(n_vertices), dtype=np.int16)
    regions: dict[str, Region] = {ALL: SurfaceRegion(ALL, layout.root, whole, (), n_vertices[0])}
    for atlas in ATLASES:
        files = layout.atlas(atlas)
        halves = _both(files)
        if halves is None:
            continue
        if tuple(map(len, halves)) != n_vertices:
            left, right = map(len, halves)
            raise InputError(
                f"{files} have {left:,} and {right:,} vertices but the responses {n_vertices[0]:,} and {n_vertices[1]:,}; take "
                "all of one subject."
            )
        labels = as_labels(np.concatenate(halves), files)
        named_regions(
            regions, SurfaceRegion(atlas, files.lh, labels, (), n_vertices[0]), _names(layout.names(atlas), atlas)
        )
    return regions


def read_vertices(layout: Layout, n_vertices: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]] | None:
    """Which vertices of fsaverage have responses, and how many each of its hemispheres has; None without the files.

    Returns
    -------
    on_surface : bool array of shape (n_left + n_right,)
    sizes : (int, int)

    Raises
    ------
    InputError
        A file is damaged, or tells another number of vertices than have responses.
    """
    halves = _both(layout.vertices)
    if halves is None:
        return None
    left, right = (as_labels(half, layout.vertices) != 0 for half in halves)
    if (left.sum(), right.sum()) != n_vertices:
        raise InputError(
            f"{layout.vertices} mark {left.sum():,} and {right.sum():,} vertices but there are responses of {n_vertices[0]:,} "
            f"and {n_vertices[1]:,}; take all of one subject."
        )
    return np.concatenate([left, right]), (len(left), len(right))


def _both(files: HemisphereFiles) -> list[np.ndarray] | None:
    """A value for each vertex of both hemispheres; None if neither file is there."""
    there = [path.exists() for path in files]
    if not any(there):
        return None
    if not all(there):
        raise InputError(
            f"{files[there.index(True)]} is there but not {files[there.index(False)].name}; add the other one."
        )
    return [_vector(path) for path in files]


def _vector(path: Path) -> np.ndarray:
    values = read_npy(path, remedy=AGAIN)
    if values.ndim != 1 or not values.size or values.dtype.kind not in "biuf":
        raise InputError(f"{path} holds {values.dtype} {values.shape}; expected a number for each vertex: {AGAIN}.")
    return values


def _names(path: Path, atlas: str) -> dict[int, str]:
    """Names of an atlas' labels: those that a user wrote, or NSD's own."""
    if not path.exists():
        return dict(LABELS[atlas])
    content = read_json(path, dict)
    if wrong := next((key for key, name in content.items() if not key.isdecimal() or not isinstance(name, str)), None):
        raise InputError(
            f'{path} has {wrong!r}: {content[wrong]!r}; expected numbers and names, such as {{"1": "V1v"}}.'
        )
    return {int(key): name for key, name in content.items() if int(key) > 0}
