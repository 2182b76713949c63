"""The authors' own results: patterns of the test faces, and the encoding model of each region.

FOLDER/derivatives/sub-01/
  ROI_VAEGAN.mat                    W (latents and a bias, voxels), and validindices: which columns of vol these are, from 1
  ROI_VAEGAN_occipital.mat, ...     the same of other regions                                   optional
  test_patterns.mat                 vol (faces, all voxels), a response to each test face
  test_images.mat                   testimage_vaeganlatentvars (faces, latents) of the test faces
  img_pattern.mat                   a pattern of imagery, or several                            optional
  img_image.mat                     latents of what was imagined                                optional
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.reading.matlab_matrices import read_matrices

PATTERNS, LATENTS = "vol", "testimage_vaeganlatentvars"
REGIONS = "ROI_VAEGAN*.mat"
# Latents of one and the same picture, computed twice, are more alike than this.
_SAME_FACE = 0.99


@dataclass(frozen=True)
class Results:
    """What was published of a subject.

    Attributes
    ----------
    rois : dict of str to bool array of shape (n_voxels,)
        ``vaegan`` first, then ``vaegan_occipital`` and others.
    weights : array of shape (n_latents + 1, n_voxels), float32
        The encoding model, its bias last.
    test : array of shape (n_faces, n_voxels), float32
    imagery : array of shape (n_patterns, n_voxels), float32, or None
    imagined : list of int
        Row among the test faces of each pattern of imagery.
    n_absent : int
        Voxels whose patterns hold values that are not finite, which are taken for 0 as in the authors' script.
    """

    rois: dict[str, NDArray]
    weights: NDArray
    test: NDArray
    imagery: NDArray | None
    imagined: list[int]
    n_absent: int


def folder_of(path: Path, subject: str) -> Path:
    """Where a subject's results lie."""
    return Path(path) / "derivatives" / subject


def files_of(path: Path, subject: str) -> list[tuple[Path, str, bool]]:
    """Path, content and whether it is optional, of the files that are read."""
    folder = folder_of(path, subject)
    regions = _regions(folder) or [folder / "ROI_VAEGAN.mat"]
    return [
        *((file, "encoding model of a region", number > 0) for number, file in enumerate(regions)),
        (folder / "test_patterns.mat", "responses to the test faces", False),
        (folder / "test_images.mat", "latents of the test faces", True),
        (folder / "img_pattern.mat", "responses of imagery", True),
        (folder / "img_image.mat", "latents of what was imagined", True),
    ]


def read_results(path: Path, subject: str) -> Results:
    """Read what was published of a subject.

    Parameters
    ----------
    path : path
        The whole folder.
    subject : str

    Raises
    ------
    InputError
        Files are absent or damaged, or do not fit each other.
    """
    folder = folder_of(path, subject)
    if not (regions := _regions(folder)):
        raise InputError(
            f"{folder} has no {REGIONS}; fetch the derivatives of {subject} from OpenNeuro ds001761, or put betas of "
            f"your own into {Path(path) / 'betas' / subject}."
        )
    models = {file.stem.removeprefix("ROI_").lower(): _region(file) for file in regions}
    sizes = {len(weights) for _, weights in models.values()}
    if len(sizes) > 1:
        raise InputError(f"The encoding models in {folder} have {sorted(sizes)} rows; copy all of them again.")
    voxels = np.unique(np.concatenate([indices for indices, _ in models.values()]))
    weights = np.zeros((sizes.pop(), len(voxels)), dtype=np.float32)
    # The whole region last, so that its weights count where another region has the voxel too.
    for indices, own in reversed(models.values()):
        weights[:, np.searchsorted(voxels, indices)] = own
    rois = {name: np.isin(voxels, indices) for name, (indices, _) in models.items()}
    patterns = _patterns(folder / "test_patterns.mat", voxels)
    imagery, imagined = _imagery(folder, voxels, len(weights) - 1)
    both = [part for part in (patterns, imagery) if part is not None]
    n_absent = int(np.any([(~np.isfinite(part)).any(axis=0) for part in both], axis=0).sum())
    clean = [np.where(np.isfinite(part), part, 0).astype(np.float32) for part in both]
    return Results(rois, weights, clean[0], clean[1] if len(clean) > 1 else None, imagined, n_absent)


def _regions(folder):
    """Files of regions, the whole one first."""
    return sorted(visible(folder, REGIONS), key=lambda file: (file.stem != "ROI_VAEGAN", file.stem))


def _region(file):
    """Voxels of a region, counted from 0, and their weights (n_latents + 1, n_voxels)."""
    content = read_matrices(file)
    indices = _named(file, content, "validindices").ravel()
    weights = _named(file, content, "W")
    whole = np.isfinite(indices).all() and (indices == np.rint(indices)).all()
    if not indices.size or not whole or indices.min() < 1 or len(np.unique(indices)) != len(indices):
        raise InputError(f"validindices in {file} are no numbers of voxels, each once and from 1; copy the file again.")
    if weights.shape[1] != len(indices) or len(weights) < 2:
        raise InputError(
            f"W in {file} is {weights.shape} for {len(indices):,} voxels; expected latents and a bias x voxels: copy it again."
        )
    if not np.isfinite(weights).all():
        raise InputError(f"W in {file} holds values that are not finite; copy the file again.")
    return indices.astype(np.int64) - 1, weights


def _named(file, content, name):
    if name not in content:
        raise InputError(f"{file} has no matrix {name} but {', '.join(content) or 'none'}; copy the file again.")
    return content[name]


def _patterns(file, voxels):
    """Rows of patterns, of some voxels."""
    content = read_matrices(file)
    matrix = content[PATTERNS] if PATTERNS in content else _only(file, content, "patterns")
    if matrix.shape[1] <= voxels[-1]:
        raise InputError(
            f"Patterns in {file} have {matrix.shape[1]:,} voxels but the regions name voxel {voxels[-1] + 1:,}; take both from "
            "one subject."
        )
    return matrix[:, voxels].astype(np.float64)


def _only(file, content, what):
    if len(content) != 1:
        raise InputError(
            f"{file} holds {', '.join(content) or 'no matrix'}; expected one matrix of {what}: copy it again."
        )
    return next(iter(content.values()))


def _imagery(folder, voxels, n_latents):
    """Patterns of imagery, or None, and the row of the face that was imagined for each."""
    places = [folder / name for name in ("img_pattern.mat", "img_image.mat", "test_images.mat")]
    if not all(place.exists() for place in places):
        return None, []
    patterns = _patterns(places[0], voxels)
    test = _named(places[2], read_matrices(places[2]), LATENTS)
    content = {name: one for name, one in read_matrices(places[1]).items() if n_latents in one.shape}
    latents = _only(places[1], content, f"{n_latents:,} latents")
    latents = latents if latents.shape[1] == n_latents else latents.T
    if test.shape[1] != n_latents or len(latents) not in (1, len(patterns)):
        raise InputError(
            f"{folder} has {len(patterns)} patterns of imagery for latents {latents.shape}, and latents {test.shape} of test "
            "faces; copy these files again."
        )
    alike = np.corrcoef(latents, test)[: len(latents), len(latents) :]
    if alike.max(axis=1).min() < _SAME_FACE:
        raise InputError(f"A face of {places[1]} is none of those of {places[2]}; take both from one subject.")
    return patterns, np.broadcast_to(alike.argmax(axis=1), len(patterns)).tolist()
