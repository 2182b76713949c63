"""The simulated cortex on FreeSurfer's average surface: which voxel each vertex samples, and its areas there.

A hemisphere of the simulated brain is an ellipsoid and the mesh of fsaverage a sphere, both with the occipital pole at the back:
a vertex samples the voxel in its direction, in the middle of the ribbon. As the simulated cortex is visual cortex alone, it is
drawn together to `REACH` about the pole. In front of it a vertex samples the inside of the brain, noise. The medial wall is what
nilearn's flat map leaves out.

Areas are those of the first subject, as an atlas on fsaverage is everybody's. HCP_MMP1 has V1 to V4 where the simulation has
them, and cuts each stream into areas that lie there in people; all other cortex is one area, "4".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from scipy.spatial import cKDTree

from brainrecon.simulation.brain.anatomy import ATLASES, Anatomy
from stages.ground.errors import InputError
from stages.ground.reading.flat_files import read_flat

MESHES = {"fsaverage3": 642, "fsaverage4": 2562, "fsaverage5": 10242}
"""Meshes that can be simulated and the vertices of a hemisphere: the first ones of fsaverage5, which comes with nilearn."""

DEPTH = 0.86
"""Of the radius: the middle of the cortical ribbon."""

INSIDE = 0.4
"""Of the radius: where there is no cortex."""

REACH = np.radians(60)
"""Angle from the occipital pole up to which the simulated cortex goes: a quarter of a hemisphere's surface."""

NUMBERS = {
    "V1": 1, "MST": 2, "V6": 3, "V2": 4, "V3": 5, "V4": 6, "V8": 7, "4": 8, "V3A": 13, "V7": 16, "IPS1": 17, "FFC": 18,
    "V3B": 19, "LO1": 20, "LO2": 21, "PIT": 22, "MT": 23, "PHA1": 126, "PHA3": 127, "TE2p": 136, "PH": 138, "IP0": 146,
    "V6A": 152, "VMV1": 153, "VMV3": 154, "PHA2": 155, "V4t": 156, "FST": 157, "V3CD": 158, "LO3": 159, "VMV2": 160,
    "VVC": 163,
}  # fmt: skip
"""Area of HCP_MMP1 -> its label."""

_STREAMS = {
    "ventral": ("PHA1", "PHA2", "PHA3", "VMV1", "VMV2", "VMV3", "VVC", "V8", "FFC", "PIT", "TE2p"),
    "lateral": ("PH", "FST", "LO2", "LO1", "LO3", "V4t", "MT", "MST", "V3CD"),
    "parietal": ("IP0", "IPS1", "V3B", "V3A", "V7", "V6", "V6A"),
}
"""Areas of a stream from medial over ventral and lateral to dorsal."""

_EARLY = {"V1v": "V1", "V1d": "V1", "V2v": "V2", "V2d": "V2", "V3v": "V3", "V3d": "V3", "hV4": "V4"}


@dataclass(frozen=True)
class Surface:
    """A subject's brain seen from the average surface.

    Attributes
    ----------
    n_vertices : int
        Of each hemisphere; the left one comes first.
    voxels : int array of shape (2 * n_vertices,)
        Row of an array over the brain mask's voxels that each vertex samples.
    labels : dict of str to int16 array of shape (2 * n_vertices,)
        By atlas: ``HCP_MMP1``, ``nsdgeneral``, ``streams``; 0 where there is no label.
    """

    n_vertices: int
    voxels: np.ndarray
    labels: dict[str, np.ndarray]


def lay_on_surface(anatomy: Anatomy, mesh: str) -> Surface:
    """Sample a simulated brain by the vertices of one of `MESHES`."""
    n = MESHES[mesh]
    half = anatomy.shape[0] // 2
    size = np.array([half, *anatomy.shape[1:]])
    brain = np.argwhere(anatomy.brain)
    voxels, cortical, turned, cortex = [], [], [], []
    for is_right, side in ((False, "left"), (True, "right")):
        direction = _sphere(side)[:n]
        on_map = np.zeros(n, dtype=bool)
        vertices, _ = read_flat(_bundled(f"flat_{side}"))
        on_map[vertices[vertices < n]] = True
        cortex.append(on_map)
        # As in the anatomy, x grows towards the midline.
        inwards = direction * ((-1 if is_right else 1), 1, 1)
        turned.append(-np.arctan2(inwards[:, 2], inwards[:, 0]) % (2 * np.pi))
        own = np.setdiff1d(np.flatnonzero((brain[:, 0] >= half) == is_right), anatomy.in_brain)
        ribbon = np.flatnonzero(anatomy.right == is_right)
        from_pole = np.arccos(np.clip(-inwards[:, 1], -1, 1))
        visual = from_pole <= REACH
        stretched = DEPTH * _drawn_apart(inwards, from_pole, _reach(anatomy.ribbon[ribbon], size))
        place = (size - 1) / 2 + (size - 3) / 2 * np.where(visual[:, None], stretched, INSIDE * inwards)
        if is_right:
            place[:, 0] = 2 * half - 1 - place[:, 0]
        far, near = cKDTree(anatomy.ribbon[ribbon]).query(place)
        inside = visual & (far <= 1)
        elsewhere = own[cKDTree(brain[own]).query(place)[1]]
        voxels.append(np.where(inside, anatomy.in_brain[ribbon[near]], elsewhere))
        cortical.append(np.where(inside, ribbon[near], -1))
    row = np.concatenate(cortical)
    labels = {}
    for atlas in ("nsdgeneral", "streams"):
        labels[atlas] = np.where(row >= 0, anatomy.labels[atlas][row], 0).astype(np.int16)
    early = np.where(row >= 0, anatomy.labels["prf-visualrois"][row], 0)
    areas = _areas(early, labels["streams"], np.concatenate(turned), np.concatenate(cortex), n)
    return Surface(n, np.concatenate(voxels), {"HCP_MMP1": areas} | labels)


def _reach(ribbon: np.ndarray, size: np.ndarray) -> float:
    """Largest angle from the occipital pole of the cortex of a hemisphere, radians, whose places (n, 3) are given."""
    x = np.minimum(ribbon[:, 0], 2 * size[0] - 1 - ribbon[:, 0])
    unit = (np.stack([x, ribbon[:, 1], ribbon[:, 2]], axis=1) - (size - 1) / 2) / ((size - 3) / 2)
    return float(np.arccos(-unit[:, 1] / np.linalg.norm(unit, axis=1)).max())


def _drawn_apart(directions: np.ndarray, from_pole: np.ndarray, reach: float) -> np.ndarray:
    """Directions whose angle from the occipital pole is stretched, `REACH` to `reach`."""
    stretched = from_pole * reach / REACH
    aside = np.sin(stretched) / np.maximum(np.sin(from_pole), 1e-9)
    return np.stack([directions[:, 0] * aside, -np.cos(stretched), directions[:, 2] * aside], axis=1)


def _areas(early: np.ndarray, streams: np.ndarray, turned: np.ndarray, cortex: np.ndarray, n: int) -> np.ndarray:
    """Labels of HCP_MMP1 for each vertex, 0 on the medial wall."""
    found = np.where(cortex, NUMBERS["4"], 0).astype(np.int16)
    for name, areas in _STREAMS.items():
        values = [1 + ATLASES["streams"].index(one) for one in ATLASES["streams"] if one.endswith(name)]
        for first in (0, n):
            there = first + np.flatnonzero((np.isin(streams, values) & (early == 0) & cortex)[first : first + n])
            order = there[np.argsort(turned[there], kind="stable")]
            for area, part in zip(areas, np.array_split(order, len(areas))):
                found[part] = NUMBERS[area]
    for value, name in enumerate(ATLASES["prf-visualrois"], start=1):
        found[(early == value) & cortex] = NUMBERS[_EARLY[name]]
    return found


def _sphere(side: str) -> np.ndarray:
    """Directions of the vertices of fsaverage5's registration sphere, unit vectors (10242, 3)."""
    points = nibabel.load(_bundled(f"sphere_{side}")).darrays[0].data.astype(np.float64)  # type: ignore[attr-defined]
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _bundled(name: str) -> Path:
    # An extra: who simulates volumes alone does without.
    try:
        from nilearn import datasets
    except ImportError:
        raise InputError(
            "A cortical surface is simulated on the mesh that comes with nilearn, which is not installed; run "
            "`pip install 'brainrecon[surface]'`, or leave --surface out."
        ) from None
    return Path(datasets.__file__).parent / "data" / "fsaverage5" / f"{name}.gii.gz"
