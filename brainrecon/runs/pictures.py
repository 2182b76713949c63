"""Pictures in files, read when they are looked at: those of a run, and a folder of somebody else's."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from brainrecon.methods.conditions import SAMPLED
from stages.ground.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

# stim-<id>_sample-<k>, as a run writes them; both additions may be absent.
_NAME = re.compile(r"(?s)(?:stim-)?(?P<stimulus>.+?)(?:_sample-(?P<sample>\d+))?")


class PictureFiles:
    """Pictures of one size in files, indexed like an array of shape (n, height, width, 3), uint8.

    Parameters
    ----------
    paths : sequence of path
    """

    def __init__(self, paths):
        self.paths = list(paths)
        self._shape = None

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, rows):
        """One picture for an int, an array of pictures for a slice or an array of rows."""
        if isinstance(rows, (int, np.integer)):
            return self._read(self.paths[rows])
        paths = self.paths[rows] if isinstance(rows, slice) else [self.paths[row] for row in np.asarray(rows)]
        return np.stack([self._read(path) for path in paths])

    def _read(self, path):
        image = read_image(path)
        self._shape = self._shape or image.shape
        if image.shape != self._shape:
            raise InputError(
                f"{path} has {image.shape[1]} x {image.shape[0]} pixels but {self.paths[0]} has {self._shape[1]} x "
                f"{self._shape[0]}; bring the pictures of a folder to one size."
            )
        return image


def read_image(path):
    """Picture in a file, uint8 (height, width, 3)."""
    try:
        with Image.open(path) as picture:
            if picture.mode in ("F", "I", "I;16") or picture.mode.startswith("I;"):
                raise InputError(
                    f"{path} holds values of mode {picture.mode}, not 8-bit colours; save it as 8-bit RGB or grey."
                )
            return np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read as a picture ({error}); delete it and run the same command again."
        ) from None


def drawn_pictures(run, condition):
    """What has been drawn under one condition: (list of stimulus ids, PictureFiles), samples of a stimulus in a row."""
    ids, paths = [], []
    for part in run.parts:
        for name in part.subject.test.stimulus_ids:
            for sample in range(run.config.samples if condition in SAMPLED else 1):
                path = part.image_path(condition, name, sample)
                if path.exists():
                    ids.append(str(name))
                    paths.append(path)
    return ids, PictureFiles(paths)


def pictures_in(folder, stimulus_ids):
    """Pictures of a folder that are named by stimulus: `<id>.png`, `stim-<id>.png`, `stim-<id>_sample-<k>.png`.

    Parameters
    ----------
    folder : path
    stimulus_ids : sequence of str
        The test stimuli.

    Returns
    -------
    ids : list of str, length n_pictures
        In the order of `stimulus_ids`, samples of a stimulus in a row.
    pictures : PictureFiles

    Raises
    ------
    InputError
        No folder, no picture in it, or one that is named after no test stimulus or after one twice.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}; name one that holds pictures after --images.")
    known = {str(name) for name in stimulus_ids}
    found, strangers = {}, []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        whole = path.stem
        parts = _NAME.fullmatch(whole)
        # An id may itself look like a name with additions; what is an id as it stands is one.
        name, sample = (whole, 0) if whole in known else (parts["stimulus"], int(parts["sample"] or 0))
        if name not in known:
            strangers.append(path.name)
        elif (name, sample) in found:
            raise InputError(
                f"{path.name} and {found[name, sample].name} in {folder} are both sample {sample} of stimulus {name}; keep one."
            )
        else:
            found[name, sample] = path
    if strangers or not found:
        what = (
            f"{len(strangers)} pictures in {folder} are named after no test stimulus, the first is {strangers[0]}"
            if strangers
            else f"{folder} holds no picture ({', '.join(SUFFIXES)})"
        )
        raise InputError(f"{what}; name each after its stimulus, for example {next(iter(stimulus_ids))}.png.")
    order = {str(name): row for row, name in enumerate(stimulus_ids)}
    keys = sorted(found, key=lambda key: (order[key[0]], key[1]))
    return [name for name, _ in keys], PictureFiles([found[key] for key in keys])
