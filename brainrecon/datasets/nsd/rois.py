"""NSD's regions of interest by the names people use.

A ROI volume holds -1 outside the cortical ribbon, 0 for cortex without a label, and labels from 1 on; only
values above 0 select (NSD data manual, "ROIs"; taking ``!= -1`` selects the whole ribbon).
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from brainrecon.datasets.nsd.volumes import read_volume
from brainrecon.datasets.voxels import Regions
from stages.ground.errors import InputError
from stages.ground.listing import visible

LABELS = {
    "nsdgeneral": {1: "nsdgeneral"},
    "prf-visualrois": {1: "V1v", 2: "V1d", 3: "V2v", 4: "V2d", 5: "V3v", 6: "V3d", 7: "hV4"},
    "prf-eccrois": {1: "ecc0pt5", 2: "ecc1", 3: "ecc2", 4: "ecc4", 5: "ecc4+"},
    "streams": {
        1: "early",
        2: "midventral",
        3: "midlateral",
        4: "midparietal",
        5: "ventral",
        6: "lateral",
        7: "parietal",
    },
    "floc-faces": {1: "OFA", 2: "FFA-1", 3: "FFA-2", 4: "mTL-faces", 5: "aTL-faces"},
    "floc-words": {1: "OWFA", 2: "VWFA-1", 3: "VWFA-2", 4: "mfs-words", 5: "mTL-words"},
    "floc-places": {1: "OPA", 2: "PPA", 3: "RSC"},
    "floc-bodies": {1: "EBA", 2: "FBA-1", 3: "FBA-2", 4: "mTL-bodies"},
}
"""Atlas -> value -> label, for atlases whose own label file is absent."""

UNIONS = {"V1": ("V1v", "V1d"), "V2": ("V2v", "V2d"), "V3": ("V3v", "V3d")}
"""Areas that prf-visualrois keeps in a ventral and a dorsal half."""


@dataclass(frozen=True, eq=False)
class Region:
    """Some labels of one atlas.

    Attributes
    ----------
    atlas : str
    path : pathlib.Path
        The ROI volume.
    volume : array of shape (x, y, z), int16
        The atlas' labels.
    values : tuple of int
        The labels that belong to the region; empty for the atlas as a whole.
    """

    atlas: str
    path: Path
    volume: np.ndarray
    values: tuple[int, ...] = ()

    def within(self, mask):
        """Which of the voxels of `mask` (x, y, z) belong to the region, (n_voxels,) bool, in C order."""
        labels = self.volume[mask]
        return np.isin(labels, self.values) if self.values else labels > 0

    @property
    def mask(self):
        """The region's voxels, (x, y, z) bool; on a surface its vertices."""
        return np.isin(self.volume, self.values) if self.values else self.volume > 0

    def in_hemisphere(self, side):
        """The same labels in the volume of one hemisphere, "lh" or "rh", which lies beside that of both."""
        path = self.path.with_name(f"{side}.{self.path.name}")
        volume = _read_labelled(path)
        if volume.shape != self.volume.shape:
            raise InputError(
                f"{path} has shape {volume.shape} but {self.path} {self.volume.shape}; "
                "take both from the same subject and space."
            )
        return replace(self, path=path, volume=volume)


def read_rois(layout, subject, space):
    """All regions of a subject, by name.

    Parameters
    ----------
    layout : brainrecon.datasets.nsd.layout.Layout
    subject, space : str

    Returns
    -------
    regions : dict of str to Region
        Atlas after atlas, those of `LABELS` first: the atlas as a whole, its labels, and unions of them. A
        label that an earlier atlas also has is there as ``atlas:label``. Labels of no voxel are there too.

    Raises
    ------
    InputError
        No ROI volume, or a damaged one.
    """
    folder = layout.rois(subject, space)
    names = (path.name.removesuffix(".nii.gz") for path in visible(folder, "*.nii.gz"))
    atlases = [name for name in names if not name.startswith(("lh.", "rh."))]
    if not atlases:
        raise InputError(f"{folder} holds no ROI volume; expected nsdgeneral.nii.gz and others: copy them there.")
    known = list(LABELS)
    atlases.sort(key=lambda name: (known.index(name) if name in LABELS else len(known), name))
    regions = {}
    for atlas in atlases:
        path = layout.roi(subject, space, atlas)
        labels = read_labels(layout.labels(subject, atlas)) or dict(LABELS.get(atlas, {}))
        named_regions(regions, Region(atlas, path, _read_labelled(path)), labels)
    return regions


def named_regions(regions, whole, labels):
    """Add the regions of one atlas to those of others: itself, its labels, and unions of them.

    Parameters
    ----------
    regions : dict of str to Region
        A name that is taken is added as ``atlas:label``.
    whole : Region
        The atlas as a whole.
    labels : dict of int to str
        Names of its values; what has none is called ``atlas:value``.
    """
    labels = dict(labels)
    for value in np.unique(whole.volume[whole.volume > 0]).tolist():
        labels.setdefault(value, f"{whole.atlas}:{value}")
    own = {label: (value,) for value, label in labels.items() if label != whole.atlas}
    for union, parts in UNIONS.items():
        if union not in own and all(part in own for part in parts):
            own[union] = tuple(value for part in parts for value in own[part])
    regions[whole.atlas] = whole
    for label, values in own.items():
        regions[f"{whole.atlas}:{label}" if label in regions else label] = replace(whole, values=values)


def _read_labelled(path):
    volume = read_volume(path)
    if volume.ndim != 3:
        raise InputError(f"{path} has shape {volume.shape}; expected (x, y, z): copy the file again.")
    return as_labels(volume, path)


def as_labels(values, path):
    """Values of a file as labels, int16; an InputError if they are none."""
    if not np.isfinite(values).all() or np.abs(values).max() > np.iinfo(np.int16).max:
        raise InputError(
            f"{path} holds values that are no labels, up to {np.abs(values).max():g}; copy the file again."
        )
    return np.rint(values).astype(np.int16)


def read_labels(path):
    """Labels from an atlas' ``.mgz.ctab`` (rows "value name"), without value 0; empty without a file."""
    labels = {}
    if path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is no text ({error}); copy the file again or remove it.") from None
        for line in text.splitlines():
            fields = line.split()
            if len(fields) >= 2 and fields[0].isdigit() and int(fields[0]) > 0:
                labels[int(fields[0])] = fields[1]
    return labels


def select(regions, expression, where="this subject"):
    """The voxels of one or several regions.

    Parameters
    ----------
    regions : dict of str to Region
    expression : str
        An atlas ("streams"), a label ("V1", "FFA-1"), a label of a named atlas ("streams:ventral"), one hemisphere of
        any of these ("lh.FFA-1"), or several of them joined, see `brainrecon.datasets.voxels`: "nsdgeneral - V1".
    where : str
        Whose regions they are, for messages.

    Returns
    -------
    mask : array of shape (x, y, z), bool

    Raises
    ------
    InputError
        A name that is not there, a region without a voxel, or a selection that leaves none.
    """
    further = [f"{region.atlas}:{name}" for name, region in regions.items()]
    further += [f"{side}.{name}" for side in ("lh", "rh") for name in (*regions, *further)]
    aliases = tuple(name for name in further if name not in regions)
    return Regions(where, tuple(regions), lambda name: _find(regions, name).mask, aliases).select(expression)


def _find(regions, name):
    """The region of a name that `select` recognised."""
    side, name = (name[:2], name[3:]) if re.match(r"[lr]h\.", name) else (None, name)
    region = regions[name] if name in regions else regions[name.partition(":")[2]]
    return region.in_hemisphere(side) if side else region
