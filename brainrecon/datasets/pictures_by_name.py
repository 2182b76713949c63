"""Pictures that lie in folders under the names of the stimuli, with any ending and in any subfolder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from brainrecon.datasets.arrays.bids_events import PICTURES
from brainrecon.datasets.stimulus_images import PictureFiles, check_image_size, pictures_of_splits
from stages.ground.errors import InputError
from stages.ground.listing import visible


def pictures_by_name(
    stimulus_ids: dict[str, Sequence[str]],
    folders: Sequence[Path],
    folder_of: Callable[[str], Path],
    size: int | None = None,
) -> tuple[dict[str, PictureFiles], list[str]]:
    """The pictures of each split that has all of them, and notes of those that have none.

    Parameters
    ----------
    stimulus_ids : dict of str to sequence of str
        By split; a picture is called as its stimulus.
    folders : sequence of path
        Where pictures are looked for, in this order.
    folder_of : callable
        In which of them the picture of a stimulus belongs, for messages.
    size : int, optional
        Side of the square that pictures are cut and resized to; needed if they differ in size.

    Raises
    ------
    InputError
        Some pictures of a split are there and others are not, or they differ in size.
    """
    check_image_size(size)
    found: dict[str, Path] = {}
    for file in (one for folder in folders for one in visible(folder, "**/*")):
        if file.suffix.lower() in PICTURES:
            found.setdefault(file.stem, file)
    pictures, notes = {}, []
    for split, names in stimulus_ids.items():
        absent = [name for name in names if name not in found]
        if len(absent) == len(names):
            notes.append(f"{split} has no pictures: put {absent[0]}.jpg and the others into {folder_of(absent[0])}")
        elif absent:
            raise InputError(
                f"{folder_of(absent[0])} has no picture of {len(absent):,} of {len(names):,} {split} stimuli, the first is "
                f"{absent[0]}; add them, under their names."
            )
        else:
            pictures[split] = [found[name] for name in names]
    return pictures_of_splits(pictures, size), notes
