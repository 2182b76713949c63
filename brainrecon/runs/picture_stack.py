"""Pictures in one array of a file, as other toolkits save their reconstructions: `.npy`, or a tensor in `.pt`."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np

from stages.ground.errors import InputError
from stages.ground.lazy_rows import LazyRows
from stages.ground.pictures import to_uint8
from stages.ground.reading.numpy_files import read_npy

STACKS = (".npy", ".pt", ".pth")
COLOURS = (3, 1)
ROUNDING = 1e-3
"""What half precision and a decoder's last layer may leave outside of 0 to 1; it is cut off."""
_BLOCK = 64


class PictureStack(LazyRows):
    """The pictures of an array as uint8 (n_stimuli * n_samples, height, width, 3), samples of a stimulus in a row.

    Parameters
    ----------
    values : array or tensor of shape (n_stimuli, [n_samples,] height, width, 3) or (n_stimuli, [n_samples,] 3, height, width)
        uint8, or floats in 0 to 1, which are rounded to 256 levels. A single colour is grey.
    where : path
        For messages.

    Attributes
    ----------
    n_stimuli, n_samples : int

    Raises
    ------
    InputError
        Another shape, or values outside of their range or not finite.
    """

    takes_any_order = True

    def __init__(self, values, where):
        shape = tuple(int(size) for size in values.shape)
        last, first = (len(shape) in (4, 5) and shape[axis] in COLOURS for axis in (-1, -3))
        if last == first or 0 in shape:
            both = "; save the colours last" if last and first else ""
            raise InputError(
                f"{where} has shape {shape}; expected pictures (n_stimuli, height, width, 3) or (n_stimuli, 3, height, width), "
                f"with n_samples behind n_stimuli if there are several of each{both}."
            )
        self._stored, self._where, self._first = values, where, first
        self.n_stimuli, self.n_samples = shape[0], shape[1] if len(shape) == 5 else 1
        height, width = (shape[-2:]) if first else shape[-3:-1]
        super().__init__((self.n_stimuli * self.n_samples, height, width, 3), np.uint8)
        self._are_bytes = self._checked_range()

    def _read(self, rows):
        chosen = np.stack([self._picture(row) for row in rows])
        chosen = chosen if self._are_bytes else to_uint8(255 * chosen.astype(np.float32))
        return np.ascontiguousarray(np.broadcast_to(chosen, (*chosen.shape[:-1], 3)).astype(np.uint8))

    def _picture(self, row):
        """One picture as it is stored, colours last."""
        stimulus, sample = divmod(int(row), self.n_samples)
        picture = _as_numpy(self._stored[stimulus, sample] if self._stored.ndim == 5 else self._stored[stimulus])
        return np.moveaxis(picture, 0, -1) if self._first else picture

    def _checked_range(self):
        """Whether values are bytes, once all of them are in their range."""
        low, high, kind = np.inf, -np.inf, "f"
        for start in range(0, self.n_stimuli, _BLOCK):
            block = _as_numpy(self._stored[start : start + _BLOCK])
            kind = block.dtype.kind
            if kind not in "fiu" or not np.isfinite(block).all():
                what = f"are {block.dtype}" if kind not in "fiu" else "hold NaN or infinite values"
                raise InputError(f"Pictures in {self._where} {what}; save them as uint8, or as floats from 0 to 1.")
            low, high = min(low, block.min()), max(high, block.max())
        if kind in "iu" and low >= 0 and high <= 255:
            return True
        if kind == "f" and low >= -ROUNDING and high <= 1 + ROUNDING:
            return False
        if kind == "f":
            if low >= 0 and high <= 255:
                mend = "x / 255"
            elif low >= -1 - ROUNDING and high <= 1 + ROUNDING:
                mend = "(x + 1) / 2 if -1 is black, or x.clip(0, 1) if 0 is"
            else:
                mend = "floats from 0 to 1"
            raise InputError(
                f"Floats in {self._where} run from {low:g} to {high:g}; expected 0 to 1: save {mend}, or uint8 pictures."
            )
        raise InputError(
            f"Whole numbers in {self._where} run from {low} to {high}; expected 0 to 255: save uint8 pictures."
        )


def read_stack(path):
    """The pictures of a `.npy` or `.pt` file; nothing is unpickled.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    PictureStack

    Raises
    ------
    InputError
        The file is absent, damaged, holds anything but one array, or `PictureStack` refuses the array.
    """
    path = Path(path)
    return PictureStack(read_npy(path, mapped=True) if path.suffix == ".npy" else _tensor(path), path)


def _tensor(path):
    import torch

    again = f"save it again with torch.save(pictures, {path.name!r})"
    try:
        with warnings.catch_warnings():
            # PyTorch's own remarks on how a file was pickled.
            warnings.simplefilter("ignore")
            # Files of before PyTorch 1.6 cannot be mapped.
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except (pickle.UnpicklingError, RuntimeError, ValueError, OSError, EOFError, KeyError) as error:
        raise InputError(f"{path} cannot be read as a tensor and nothing else ({_line(error)}); {again}.") from None
    if not isinstance(content, torch.Tensor):
        held = (
            f"a dictionary of {', '.join(map(str, content))}"
            if isinstance(content, dict)
            else f"a {type(content).__name__}"
        )
        raise InputError(f"{path} holds {held}; expected one tensor of pictures: {again}.")
    return content.detach()


def _is_zip(path):
    with open(path, "rb") as file:
        return file.read(2) == b"PK"


def _as_numpy(values):
    """An array, or a tensor as one; numpy knows no bfloat16."""
    if isinstance(values, np.ndarray):
        return values
    return (values.float() if values.is_floating_point() else values).numpy()


def _line(error):
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else f"{text[:160]} ..."
