"""What the name of a picture tells: which picture it is, where it is from, and what it shows."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import NamedTuple

from stages.ground.errors import InputError
from weights.names import trouble_with_part

IMAGENET, COCO, SCENES = SOURCES = ("imagenet", "coco", "scenes")
"""Sources, as the events call them."""
FOLDERS = {IMAGENET: "ImageNet", COCO: "COCO", SCENES: "Scene"}
"""Where the pictures of each source lie."""
ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
REPEAT = "rep_"
"""Stands before the name of a picture that was shown before, in some lists."""
_COCO = re.compile(r"(?:COCO_train2014_)?0*(\d{1,12})", re.IGNORECASE)
_OTHER_COCO = re.compile(r"COCO_[a-z]+\d{4}_0*(\d{1,12})", re.IGNORECASE)
_IMAGENET = re.compile(r"(n\d{8})_\d+", re.IGNORECASE)


class Named(NamedTuple):
    """A picture by its name.

    Attributes
    ----------
    stimulus_id : str
        Without ending and without the mark of a repeat; of COCO with the prefix that not every file has.
    source : {"imagenet", "coco", "scenes"}
    word : str
        WordNet id of ImageNet, name of a scene without its number; nothing of COCO.
    coco_id : int, optional
        Number of the picture in COCO.
    is_repeat : bool
        Whether the name says that the picture was shown before.
    """

    stimulus_id: str
    source: str
    word: str = ""
    coco_id: int | None = None
    is_repeat: bool = False


def named(name: str, where: object) -> Named:
    """The picture that a name stands for, in whatever spelling.

    >>> named("rep_COCO_train2014_000000420713.jpg", "a list").stimulus_id
    'COCO_train2014_000000420713'
    >>> named("000000420713.JPG", "a folder").stimulus_id
    'COCO_train2014_000000420713'
    >>> named("n01930112_19568.JPEG", "a list").word, named("tailor6.jpg", "a list").word
    ('n01930112', 'tailor')

    Parameters
    ----------
    name : str
    where : str or path
        Where it was read, for the message.

    Raises
    ------
    InputError
        It is no name of a file.
    """
    plain = name.strip()
    if trouble := trouble_with_part(plain):
        raise InputError(
            f"{where} names {plain[:80]!r}, which cannot be a picture, for {trouble}; expected names such as tailor6.jpg: "
            "copy it again."
        )
    path = PurePosixPath(plain)
    stem = path.stem if path.suffix.lower() in ENDINGS else plain
    is_repeat = stem.startswith(REPEAT)
    stem = stem.removeprefix(REPEAT)
    if not stem:
        raise InputError(
            f"{where} names {plain!r}, which is no picture; expected names such as tailor6.jpg: copy it again."
        )
    if found := _COCO.fullmatch(stem):
        number = int(found[1])
        return Named(f"COCO_train2014_{number:012d}", COCO, "", number, is_repeat)
    if found := _OTHER_COCO.fullmatch(stem):
        return Named(stem, COCO, "", int(found[1]), is_repeat)
    if found := _IMAGENET.fullmatch(stem):
        return Named(stem, IMAGENET, found[1].lower(), None, is_repeat)
    return Named(stem, SCENES, stem.rstrip("0123456789").rstrip("_-") or stem, None, is_repeat)
