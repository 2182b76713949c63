"""Pictures of THINGS: a folder for each concept, which users fetch by themselves.

FOLDER/images/                   or object_images, as THINGS' own archive calls it, or _images
  dog/dog_12s.jpg
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from brainrecon.datasets.stimulus_images import check_image_size, pictures_of_splits
from stages.ground.errors import InputError
from stages.ground.listing import visible

FOLDERS = ("images", "object_images", "_images")
WHERE = "https://osf.io/jum2f"


def folder_of(path):
    """Where the pictures are, or would be."""
    return next((path / name for name in FOLDERS if (path / name).is_dir()), path / FOLDERS[0])


def first_picture(path):
    """The first picture that is there, or where they go."""
    folder = folder_of(path)
    return next((file for file in visible(folder, "*/*") if file.is_file()), folder)


def pictures_of(shown, path, images=None, size=None):
    """The pictures of each split.

    Parameters
    ----------
    shown : dict of str to list of brainrecon.datasets.things_fmri.trials.Trial
        One trial of each stimulus of a split.
    path : pathlib.Path
    images : path, optional
        The folder of the concepts' folders.
    size : int, optional
        Side of the square that pictures are cut and resized to.

    Returns
    -------
    pictures : dict of str to PictureFiles
        Empty if there is no folder.
    notes : list of str

    Raises
    ------
    InputError
        The folder lacks pictures, or they differ in size and no size is given.
    """
    check_image_size(size)
    if images is not None and not isinstance(images, str | PathLike):
        raise InputError(f"images is {images!r}; expected the path of a folder.")
    folder = Path(images).expanduser() if images else folder_of(path)
    if not folder.is_dir():
        if images:
            raise InputError(f"There is no folder {folder}; name the folder of the pictures, or leave images out.")
        return {}, [f"no pictures: THINGS' own, {WHERE}, have a folder for each concept; put these into {folder}"]
    there = {file.relative_to(folder).as_posix() for file in visible(folder, "*/*")}
    pictures = {}
    for split, trials in shown.items():
        names = [f"{trial.concept}/{trial.picture}" for trial in trials]
        if absent := [name for name in names if name not in there]:
            raise InputError(
                f"{folder} has no picture for {len(absent):,} of {len(names):,} {split} stimuli, the first is {absent[0]}; put "
                f"all of THINGS there, {WHERE}."
            )
        pictures[split] = [folder / name for name in names]
    return pictures_of_splits(pictures, size, mend="copy it again"), []
