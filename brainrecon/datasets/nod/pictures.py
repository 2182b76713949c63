"""Pictures of ImageNet, which are in the dataset, and of COCO, which are not."""

from __future__ import annotations

from pathlib import Path

from brainrecon.datasets.arrays.bids_events import PICTURES
from brainrecon.datasets.kamitani.stimuli import LARGEST, check_one_size
from brainrecon.datasets.nod.splits import synset_of
from brainrecon.datasets.stimulus_images import PictureFiles
from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from stages.ground.listing import visible

STIMULI = "stimuli"


def pictures_of(path: Path, splits: dict, size: int | None = None) -> tuple[dict[str, PictureFiles], list[str]]:
    """The pictures of each split that has all of them, and notes of the others.

    Parameters
    ----------
    path : path
        The whole folder; ``stimuli/imagenet/n03131574/n03131574_8247.JPEG`` and ``stimuli/coco/000000124419.jpg`` are below it.
    splits : dict of str to brainrecon.datasets.split.Split
    size : int, optional
        Side of the square that pictures are cut and resized to; needed if they differ in size.

    Raises
    ------
    InputError
        A folder has some pictures of a split and not others, or they differ in size.
    """
    check("image_size", size, Number(1, LARGEST, whole=True, optional=True, example=224), "--option {name}={example}")
    folders = {name: Path(path) / STIMULI / name for name in ("imagenet", "coco")}
    found, pictures, notes = {}, {}, []
    for folder in folders.values():
        for file in visible(folder, "**/*"):
            if file.suffix.lower() in PICTURES:
                found.setdefault(file.stem, file)
    for name, part in splits.items():
        absent = [one for one in part.stimulus_ids.tolist() if one not in found]
        if len(absent) == part.n_stimuli:
            place = folders["imagenet" if synset_of(absent[0]) else "coco"]
            notes.append(f"{name} has no pictures: put {absent[0]}.jpg and the others into {place}")
        elif absent:
            place = folders["imagenet" if synset_of(absent[0]) else "coco"]
            raise InputError(
                f"{place} has no picture of {len(absent):,} of {part.n_stimuli:,} {name} stimuli, the first is {absent[0]}; "
                "fetch it from the same release."
            )
        else:
            pictures[name] = [found[one] for one in part.stimulus_ids.tolist()]
    if size is None:
        check_one_size([file for files in pictures.values() for file in files])
    return {name: PictureFiles(files, size=size) for name, files in pictures.items()}, notes
