"""NSD's regions of interest on the cortical surface, and which vertices are cortex.

The labels of a surface lie in FreeSurfer's folder of its owner, ``nsddata/freesurfer/fsaverage/label`` or that of a subject:
``{lh,rh}.ATLAS.mgz`` beside names in ``ATLAS.mgz.ctab``. As in volumes, values above 0 select. Of the medial wall no region has
a vertex.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from brainrecon.datasets.nsd.hemispheres import HemisphereFiles, first_trial, read_map
from brainrecon.datasets.nsd.layout import Layout
from brainrecon.datasets.nsd.rois import LABELS, Region, as_labels, named_regions, read_labels
from brainrecon.datasets.spaces.surface_places import HEMISPHERES
from stages.ground.errors import InputError
from stages.ground.listing import visible

GLASSER = "HCP_MMP1"
"""The atlas of Glasser et al. 2016, 180 areas in each hemisphere; its names come first, V1 is its V1."""
CORTEX = "cortex"
"""All vertices but those of the medial wall."""
FINITE = "finite"
"""All vertices that have a value on the first trial of every session that is used; a session has none where it did not reach."""


@dataclass(frozen=True, eq=False)
class SurfaceRegion(Region):
    """Some labels of one atlas, `volume` (n_left + n_right,), -1 on the medial wall."""

    n_left: int = 0

    def in_hemisphere(self, side: str) -> Region:
        """The same labels in one hemisphere, "lh" or "rh"."""
        left = np.arange(len(self.volume)) < self.n_left
        return replace(self, volume=np.where(left == (side == "lh"), self.volume, np.int16(-1)))


def read_surface_regions(layout: Layout, owner: str, n_vertices: tuple[int, int]) -> tuple[dict[str, Region], str]:
    """All regions of a surface by name, and a note of what was taken for cortex.

    Parameters
    ----------
    layout : brainrecon.datasets.nsd.layout.Layout
    owner : str
        Of the labels: ``fsaverage``, or a subject.
    n_vertices : (int, int)
        Of the left and of the right hemisphere.

    Returns
    -------
    regions : dict of str to SurfaceRegion
        `GLASSER` first, then as in volumes, last `CORTEX`.
    note : str

    Raises
    ------
    InputError
        There are no labels, or they are damaged or of another mesh.
    """
    folder = layout.surface_labels(owner)
    first = (GLASSER, *LABELS)
    files = {path.name[3:].removesuffix(".mgz"): path for path in visible(folder, "lh.*.mgz")}
    # The folder also holds maps of numbers, such as prfeccentricity, which have no names.
    named = [name for name in files if name in first or layout.labels(owner, name).is_file()]
    if not named:
        raise InputError(
            f"{folder} holds no labels; expected lh.{GLASSER}.mgz, rh.{GLASSER}.mgz and {GLASSER}.mgz.ctab: copy them there."
        )
    named.sort(key=lambda name: (first.index(name) if name in first else len(first), name))
    atlases = {name: _read_atlas(layout, owner, name, n_vertices) for name in named}
    cortex, note = _cortex(folder, atlases, n_vertices)
    regions: dict[str, Region] = {}
    for name, values in atlases.items():
        labels = read_labels(layout.labels(owner, name)) or dict(LABELS.get(name, {}))
        region = SurfaceRegion(name, files[name], np.where(cortex, values, np.int16(-1)), (), n_vertices[0])
        named_regions(regions, region, labels)
    regions[CORTEX] = SurfaceRegion(CORTEX, folder, np.where(cortex, 1, -1).astype(np.int16), (), n_vertices[0])
    return regions, note


def finite_region(sessions: dict[int, HemisphereFiles], n_left: int) -> SurfaceRegion:
    """The region `FINITE`, told by one trial of each session: what is not finite on a later one is refused when it is read."""
    reached = np.all([np.isfinite(first_trial(files)) for files in sessions.values()], axis=0)
    return SurfaceRegion(FINITE, next(iter(sessions.values())).lh, reached.astype(np.int16), (), n_left)


def _read_atlas(layout: Layout, owner: str, name: str, n_vertices: tuple[int, int]) -> np.ndarray:
    files = HemisphereFiles(*(layout.surface_atlas(owner, side, name) for side in HEMISPHERES))
    values = read_map(files)
    if values is None:
        raise InputError(f"{files.lh} is there but not {files.rh.name}; add the other hemisphere.")
    if len(values) != sum(n_vertices):
        raise InputError(
            f"{files} have {len(values):,} vertices but the betas {sum(n_vertices):,}; take both of the same mesh."
        )
    return as_labels(values, files)


def _cortex(folder: Path, atlases: dict[str, np.ndarray], n_vertices: tuple[int, int]) -> tuple[np.ndarray, str]:
    """Which vertices are cortex, bool (n_left + n_right,), and how that is known."""
    files = [folder / f"{side}.cortex.label" for side in HEMISPHERES]
    if all(file.is_file() for file in files):
        parts = [_listed(file, size) for file, size in zip(files, n_vertices)]
        return np.concatenate(parts), f"the medial wall is left out by {files[0].name} and {files[1].name}"
    if GLASSER in atlases:
        return atlases[GLASSER] > 0, f"the medial wall is left out: cortex is what {GLASSER} labels"
    return np.ones(sum(n_vertices), dtype=bool), (
        f"the medial wall is not left out, as there are neither {files[0].name} and {files[1].name} nor {GLASSER}"
    )


def _listed(path: Path, n_vertices: int) -> np.ndarray:
    """The vertices that a FreeSurfer label lists, bool (n_vertices,)."""
    try:
        rows = path.read_text(encoding="utf-8").splitlines()[2:]
        numbers = np.array([int(row.split()[0]) for row in rows if row.strip()], dtype=np.int64)
    except (UnicodeDecodeError, ValueError, OverflowError) as error:
        raise InputError(f"{path} is no label of FreeSurfer ({error}); copy the file again or remove it.") from None
    if not len(numbers) or numbers.min() < 0 or numbers.max() >= n_vertices:
        raise InputError(
            f"{path} lists {len(numbers):,} vertices, the last {numbers.max() if len(numbers) else 'none'}, of a hemisphere of "
            f"{n_vertices:,}; take it of the same mesh, or remove it."
        )
    inside = np.zeros(n_vertices, dtype=bool)
    inside[numbers] = True
    return inside
