"""Where the challenge's data keep what, and which picture each of its files shows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from brainrecon.datasets.nsd.design import NSD_PICTURES, stimulus_id
from brainrecon.datasets.nsd.hemispheres import HemisphereFiles
from brainrecon.datasets.spaces.surface_places import HEMISPHERES
from brainrecon.datasets.subject import subject_name
from stages.ground.errors import InputError
from stages.ground.listing import visible
from weights.suggestions import did_you_mean

ATLASES = ("prf-visualrois", "floc-bodies", "floc-faces", "floc-places", "floc-words", "streams")
"""In the order in which names of regions are given away."""
_PICTURE = re.compile(r"(train|test)-(\d+)_nsd-(\d+)\.png", re.IGNORECASE)


class Picture(NamedTuple):
    """A picture file and what its name says.

    Attributes
    ----------
    path : pathlib.Path
    row : int
        Of the responses, from 0; names count from 1.
    stimulus_id : str
        ``nsd00013``, the 0-based row of NSD's own pictures.
    """

    path: Path
    row: int
    stimulus_id: str


@dataclass(frozen=True)
class Layout:
    """Paths of one subject, whether or not they exist."""

    root: Path

    def pictures(self, split: str) -> Path:
        return self.root / f"{split}_split" / f"{split}_images"

    def responses(self, split: str) -> HemisphereFiles:
        folder = self.root / f"{split}_split" / f"{split}_fmri"
        return HemisphereFiles(*(folder / f"{side}_{split}_fmri.npy" for side in HEMISPHERES))

    @property
    def noise_ceiling(self) -> HemisphereFiles:
        folder = self.root / "test_split" / "noise_ceiling"
        return HemisphereFiles(*(folder / f"{side}_noise_ceiling.npy" for side in HEMISPHERES))

    def atlas(self, name: str) -> HemisphereFiles:
        """Labels of the vertices that have responses."""
        return self._masks(f"{name}_challenge_space")

    @property
    def vertices(self) -> HemisphereFiles:
        """Which vertices of fsaverage have responses."""
        return self._masks("all-vertices_fsaverage_space")

    def names(self, atlas: str) -> Path:
        """Names of an atlas' labels that a user wrote; the release's own file is a pickle and is not opened."""
        return self.root / "roi_masks" / f"mapping_{atlas}.json"

    def _masks(self, name: str) -> HemisphereFiles:
        return HemisphereFiles(*(self.root / "roi_masks" / f"{side}.{name}.npy" for side in HEMISPHERES))


def subjects_at(path: Path) -> dict[str, Layout]:
    """Subjects found at a path, by name: of a folder of subjects, or of the one folder of a subject."""
    path = Path(path)
    folders = [path] if (path / "training_split").is_dir() else visible(path, "*")
    found = {}
    for folder in folders:
        name = subject_name(folder.name)
        if re.fullmatch(r"subj\d\d", name) and (folder / "training_split").is_dir():
            found.setdefault(name, Layout(folder))
    return dict(sorted(found.items()))


def choose(path: Path, subject: str | None) -> tuple[str, Layout]:
    """The subject asked for, or the first that is there."""
    found = subjects_at(path)
    if not found:
        raise InputError(
            f"{path} holds no subject of the challenge; give the folder that holds subj01, with subj01/training_split and "
            "subj01/roi_masks."
        )
    name = next(iter(found)) if subject is None else subject_name(subject)
    if name not in found:
        raise InputError(
            f"{path} holds no {name} but {', '.join(found)}{did_you_mean(name, found)}; choose one of these."
        )
    return name, found[name]


def pictures_of(folder: Path, split: str, n_rows: int | None) -> list[Picture]:
    """The pictures of a folder in the order of the responses.

    Parameters
    ----------
    folder : pathlib.Path
    split : str
        "train" or "test", as names begin.
    n_rows : int or None
        Rows of responses; None if there are none.

    Raises
    ------
    InputError
        A picture is not called as in the release, or pictures and rows do not belong together.
    """
    found = []
    for path in visible(folder, "*"):
        match = _PICTURE.fullmatch(path.name)
        if match and match[1].lower() == split and path.is_file():
            picture = int(match[3])
            if picture >= NSD_PICTURES:
                raise InputError(
                    f"{path} names picture {picture} but NSD has {NSD_PICTURES:,}, counted from 0; copy the original again."
                )
            found.append(Picture(path, int(match[2]) - 1, stimulus_id(picture)))
        elif path.suffix.lower() == ".png":
            raise InputError(
                f"{path} is not called as the challenge calls its pictures, {split}-0001_nsd-00013.png, so that nobody knows "
                "its response; take it away or name it so."
            )
    found.sort(key=lambda one: one.row)
    if not found and n_rows is not None:
        raise InputError(
            f"{folder} holds no {split}-0001_nsd-00013.png or others, whose names say which picture of NSD each response is of; "
            "copy the pictures there."
        )
    rows = [one.row for one in found]
    if rows != list(range(len(rows))):
        wrong = next((row for row, expected in zip(rows, range(len(rows))) if row != expected))
        raise InputError(
            f"Pictures of {folder} are numbered to {rows[-1] + 1:,} and there are {len(rows):,}, of which number {wrong + 1:,} "
            "stands where another was expected; copy all of them again."
        )
    if n_rows is not None and len(rows) != n_rows:
        raise InputError(
            f"{folder} holds {len(rows):,} pictures but there are {n_rows:,} responses; copy both of one subject and release."
        )
    ids = [one.stimulus_id for one in found]
    twice = next((name for name in ids if ids.count(name) > 1), None) if len(set(ids)) < len(ids) else None
    if twice:
        raise InputError(
            f"{folder} shows picture {twice} of NSD twice, but responses are averages; copy the pictures again."
        )
    return found
