"""Pictures that stay on disk until they are asked for."""

import h5py
import numpy as np
from PIL import Image, ImageOps

from stages.ground.errors import InputError


class StimulusImages:
    """Some rows of an HDF5 brick of pictures, read when indexed.

    Behaves as a uint8 array of shape (n_stimuli, height, width, 3) under an int, a slice, or an array of ints
    or bools. The file is opened for each read and holds nothing in memory between reads.

    Parameters
    ----------
    path : pathlib.Path
    rows : array of int, shape (n_stimuli,)
        0-based rows of the brick, in any order, repeats allowed.
    dataset : str
        Name of the HDF5 dataset, (n_pictures, height, width, 3) uint8.

    Raises
    ------
    InputError
        The file cannot be opened, the dataset is absent or of another layout, or a row lies outside it.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, path, rows, dataset="imgBrick"):
        self.path = path
        self.rows = np.asarray(rows, dtype=np.int64)
        self.dataset = dataset
        with self._open() as file:
            if dataset not in file:
                raise InputError(
                    f"{path} has no dataset '{dataset}' but {', '.join(file) or 'nothing'}; "
                    "copy the original file again."
                )
            brick = file[dataset]
            if brick.ndim != 4 or brick.shape[3] != 3 or brick.dtype != np.uint8:
                raise InputError(
                    f"'{dataset}' in {path} is {brick.dtype} {brick.shape}; expected uint8 pictures "
                    "(n, height, width, 3): copy the original file again."
                )
            if len(self.rows) and (self.rows.min() < 0 or self.rows.max() >= len(brick)):
                raise InputError(
                    f"The design shows picture {self.rows.max()} (counted from 0) but {path} holds "
                    f"{len(brick):,}; "
                    "take the stimulus file and the design from the same release."
                )
            self._picture_shape = brick.shape[1:]

    def _open(self):
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            raise InputError(f"{self.path} cannot be read as HDF5 ({error}); copy the file again.") from error

    @property
    def shape(self):
        return (len(self.rows), *self._picture_shape)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        wanted = self.rows[index]
        # h5py takes increasing rows without repeats.
        rows, inverse = np.unique(wanted, return_inverse=True)
        if len(rows) == 0:
            return np.empty((0, *self._picture_shape), dtype=np.uint8)
        with self._open() as file:
            try:
                pictures = file[self.dataset][rows]
            except OSError as error:
                raise InputError(
                    f"{self.path}: '{self.dataset}' cannot be read ({error}); copy the file again."
                ) from error
        return pictures[inverse.reshape(np.shape(wanted))]

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype=dtype)


class PictureFiles:
    """Picture files as a lazy uint8 array of shape (n_stimuli, height, width, 3), read when indexed.

    Parameters
    ----------
    paths : sequence of pathlib.Path, length n_stimuli
        Anything Pillow reads; converted to RGB.
    size : int, optional
        Cut the middle square out of each picture and resize it to `size` x `size` (bicubic). Without it pictures stay
        as they are, and all must be as large as the first.

    Raises
    ------
    InputError
        A picture cannot be read, or is of another size than the first.
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, paths, size=None):
        self._paths = np.array(paths, dtype=object)
        self._size = size
        self._shape = (size, size, 3) if size else None
        self.shape = (len(paths), *self._read(self._paths[0]).shape)
        self._shape = self.shape[1:]

    def __len__(self):
        return len(self._paths)

    def __getitem__(self, index):
        chosen = self._paths[index]
        if not isinstance(chosen, np.ndarray):
            return self._read(chosen)
        return np.stack([self._read(path) for path in chosen]) if len(chosen) else np.empty((0, *self._shape), np.uint8)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype=dtype)

    def _read(self, path):
        try:
            with Image.open(path) as picture:
                picture = picture.convert("RGB")
        except OSError as error:
            raise InputError(f"{path} cannot be read as a picture ({error}); save it again as PNG.") from None
        if self._size:
            picture = ImageOps.fit(picture, (self._size, self._size), Image.Resampling.BICUBIC)
        values = np.asarray(picture)
        if self._shape and values.shape != self._shape:
            raise InputError(
                f"{path} is {values.shape[1]} x {values.shape[0]} pixels but the first picture {self._shape[1]} x "
                f"{self._shape[0]}; save all pictures in one size."
            )
        return values
