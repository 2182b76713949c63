"""Pictures that stay on disk until they are asked for."""

from functools import cached_property

import numpy as np
from PIL import Image, ImageOps

from brainrecon.datasets.dataset import Option
from brainrecon.datasets.hdf5_rows import Hdf5Rows
from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from stages.ground.lazy_rows import LazyRows
from stages.ground.reading.picture_files import picture_file

LARGEST = 2**12
"""Side of the largest square that pictures are resized to: a block of them must fit into memory."""
IMAGE_SIZE = Option(
    "image_size", "cut and resize pictures to squares of so many pixels; needed only if they differ in size"
)


def check_image_size(size):
    """Raise an InputError unless a value of the option `IMAGE_SIZE` is None or a whole number from 1 to `LARGEST`."""
    check("image_size", size, Number(1, LARGEST, whole=True, optional=True, example=224), "--option {name}={example}")


def check_one_size(paths):
    """Raise an InputError unless all pictures are as large as the first; only their headers are read."""
    sizes = {}
    for path in paths:
        with picture_file(path) as picture:
            sizes.setdefault(picture.size, path)
        if len(sizes) > 1:
            (one, first), (two, second) = sizes.items()
            raise InputError(
                f"{second} is {two[0]} x {two[1]} pixels but {first} {one[0]} x {one[1]}; pass image_size={min(one)}, "
                "for example, to bring all to one size."
            )


def stimulus_images(path, rows, dataset="imgBrick"):
    """Some rows of an HDF5 brick of pictures.

    Parameters
    ----------
    path : pathlib.Path
    rows : array of int, shape (n_stimuli,)
        0-based rows of the brick, in any order, repeats allowed.
    dataset : str
        Name of the HDF5 dataset, (n_pictures, height, width, 3) uint8.

    Returns
    -------
    images : LazyRows of shape (n_stimuli, height, width, 3), uint8
        The file is opened for each read and holds nothing in memory between reads.

    Raises
    ------
    InputError
        The file cannot be opened, the dataset is absent or of another layout, or a row lies outside it.
    """
    brick, rows = Hdf5Rows(path, dataset), np.asarray(rows, dtype=np.int64)
    if brick.ndim != 4 or brick.shape[3] != 3 or brick.dtype != np.uint8:
        raise InputError(
            f"'{dataset}' in {path} is {brick.dtype} {brick.shape}; expected uint8 pictures "
            "(n, height, width, 3): copy the original file again."
        )
    if len(rows) and (rows.min() < 0 or rows.max() >= len(brick)):
        raise InputError(
            f"The design shows picture {rows.max()} (counted from 0) but {path} holds {len(brick):,}; "
            "take the stimulus file and the design from the same release."
        )
    return brick.take(rows)


def pictures_of_splits(files, size=None, mend="save it again as PNG"):
    """The picture files of each split as lazy arrays, all of one size.

    Parameters
    ----------
    files : dict of str to sequence of path
        By split, in the order of its stimuli.
    size, mend
        As of `PictureFiles`.

    Returns
    -------
    pictures : dict of str to PictureFiles

    Raises
    ------
    InputError
        `size` is none, or it is not given and pictures differ in size, of which the headers are read.
    """
    check_image_size(size)
    if size is None:
        check_one_size([file for own in files.values() for file in own])
    return {split: PictureFiles(own, size, mend) for split, own in files.items()}


class PictureFiles(LazyRows):
    """Picture files as a lazy array of shape (n_pictures, height, width, 3), uint8.

    Parameters
    ----------
    paths : sequence of path, length n_pictures
        Anything Pillow reads; converted to RGB.
    size : int, optional
        Cut the middle square out of each picture and resize it to `size` x `size` (bicubic). Without it pictures stay
        as they are, and all must be as large as the first, which is read when the shape is first asked for.
    mend : str
        What to do with a picture that cannot be read, for the message.

    Raises
    ------
    InputError
        On reading: a picture cannot be read, or is of another size than the first.
    """

    takes_any_order = True
    dtype = np.dtype(np.uint8)

    def __init__(self, paths, size=None, mend="save it again as PNG"):
        self.paths, self._size, self._mend = list(paths), size, mend

    def __len__(self):
        return len(self.paths)

    @property
    def shape(self):
        return (len(self.paths), *self._picture_shape)

    @property
    def ndim(self):
        return 4

    @cached_property
    def _picture_shape(self):
        if self._size:
            return self._size, self._size, 3
        if not self.paths:
            return 0, 0, 3
        # What the file says; its pixels are decoded when they are looked at.
        with self._opened(self.paths[0]) as picture:
            return picture.height, picture.width, 3

    def _opened(self, path):
        """A picture as a context that gives it opened."""
        return picture_file(path, self._mend)

    def _read(self, rows):
        pictures = [self._picture(self.paths[row]) for row in rows]
        for row, picture in zip(rows, pictures):
            if picture.shape != self._picture_shape:
                height, width = self._picture_shape[:2]
                raise InputError(
                    f"{self.paths[row]} is {picture.shape[1]} x {picture.shape[0]} pixels but {self.paths[0]} {width} x "
                    f"{height}; save all pictures in one size."
                )
        return np.stack(pictures)

    def _picture(self, path):
        with self._opened(path) as opened:
            picture = as_rgb(opened, path)
        if self._size:
            picture = np.asarray(
                ImageOps.fit(Image.fromarray(picture), (self._size, self._size), Image.Resampling.BICUBIC)
            )
        return picture


def read_picture(path, mend="save it again as PNG"):
    """Picture of a file, uint8 (height, width, 3).

    Parameters
    ----------
    path : path
    mend : str
        What to do with a picture that cannot be read, for the message.

    Raises
    ------
    InputError
        The file is no picture, or has values that are not 8-bit colours.
    """
    with picture_file(path, mend) as picture:
        return as_rgb(picture, path)


def as_rgb(picture, where):
    """An opened picture, uint8 (height, width, 3); an InputError if its values are not 8-bit colours."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        raise InputError(
            f"{where} holds values of mode {picture.mode}, not 8-bit colours; save it as 8-bit RGB or grey."
        )
    return np.asarray(picture.convert("RGB"))
