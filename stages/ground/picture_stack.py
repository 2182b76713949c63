"""Pictures as people have them in memory: arrays and tensors of either order of axes, bytes or floats, and lists of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.ground.errors import InputError
from stages.ground.lazy_rows import LazyRows
from stages.ground.pictures import to_uint8

COLOURS = (3, 1)
ROUNDING = 1e-3
"""What half precision and a decoder's last layer may leave outside of 0 to 1; it is cut off."""
_BLOCK = 64


class Given(NamedTuple):
    """Pictures, samples of a stimulus in a row.

    Attributes
    ----------
    pictures : array or lazy array of shape (n_pictures, height, width, 3), uint8
    n_samples : list of int, length n_stimuli
    """

    pictures: Any
    n_samples: list[int]


def pictures_given(values: Any, what: str) -> Given:
    """Pictures in any of the forms that people have, as uint8.

    >>> given = pictures_given([Image.new("RGB", (4, 2)), Image.new("L", (4, 2), 255)], "shown pictures")
    >>> given.pictures.shape, int(given.pictures[1].min()), given.n_samples
    ((2, 2, 4, 3), 255, [1, 1])
    >>> pictures_given(np.full((2, 5, 3, 8, 8), 0.5), "pictures").n_samples
    [5, 5]

    Parameters
    ----------
    values : array, tensor or list
        - An array or a tensor of shape (n_stimuli, [n_samples,] height, width, 3), or with the colours before height: uint8, or
          floats in 0 to 1. A single colour is grey.
        - A list with a picture for each stimulus, or a list of samples for each: PIL pictures, or arrays and tensors as above
          without the first axes.
        - Anything else with `shape` is left as it is, for it may be on disk.
    what : str
        What they are, for messages.

    Returns
    -------
    Given

    Raises
    ------
    InputError
        Another shape, values outside of their range or not finite, pictures of several sizes in one list, or of 16 bits.
    """
    if isinstance(values, list | tuple):
        return _listed(values, what)
    if isinstance(values, LazyRows) or not (isinstance(values, np.ndarray) or hasattr(values, "is_floating_point")):
        return Given(values, [1] * len(values))
    values = values.detach().cpu() if hasattr(values, "detach") else values
    if isinstance(values, np.ndarray) and values.dtype == np.uint8 and values.ndim == 4 and values.shape[-1] == 3:
        return Given(values, [1] * len(values))
    stack = PictureStack(values, f"the array of {what}")
    return Given(stack, [stack.n_samples] * stack.n_stimuli)


def _listed(values: Any, what: str) -> Given:
    if not values:
        raise InputError(f"There are no {what}; give a picture for each stimulus.")
    counts = [len(one) if isinstance(one, list | tuple) else 1 for one in values]
    flat = [each for one in values for each in (one if isinstance(one, list | tuple) else [one])]
    if 0 in counts:
        raise InputError(
            f"Stimulus {counts.index(0)} of the {what} has an empty list; give a picture for each, or leave it out."
        )
    pictures = [_one_picture(picture, what) for picture in flat]
    sizes = {picture.shape for picture in pictures}
    if len(sizes) > 1:
        (height, width, _), (other_height, other_width, _) = sorted(sizes)[:2]
        raise InputError(
            f"The {what} are of {len(sizes)} sizes, {width} x {height} and {other_width} x {other_height} among them; bring them "
            "to one size first, by picture.resize((width, height))."
        )
    return Given(np.stack(pictures), counts)


def _one_picture(picture: Any, what: str) -> NDArray:
    """One picture of a list, uint8 (height, width, 3)."""
    if isinstance(picture, Image.Image):
        if picture.mode == "F" or picture.mode.startswith("I"):
            raise InputError(
                f"A picture among the {what} holds values of mode {picture.mode}, not 8-bit colours; convert it to RGB."
            )
        return np.asarray(picture.convert("RGB"))
    if not hasattr(picture, "shape"):
        raise InputError(
            f"A picture among the {what} is a {type(picture).__name__}; expected a PIL picture, an array or a tensor: open files "
            "with PIL.Image.open."
        )
    stack, counts = pictures_given(picture[None], what)
    if len(counts) != 1 or counts[0] != 1:
        raise InputError(
            f"A picture among the {what} has shape {tuple(picture.shape)}; expected (height, width, 3): put samples of a "
            "stimulus into a list of their own."
        )
    return np.asarray(stack[0])


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

    def __init__(self, values: Any, where: str | Path) -> None:
        shape = tuple(int(size) for size in values.shape)
        last, first = (len(shape) in (4, 5) and shape[axis] in COLOURS for axis in (-1, -3))
        if last == first or 0 in shape:
            both = "; save the colours last" if last and first else ""
            raise InputError(
                f"The shape of {where} is {shape}; expected pictures (n_stimuli, height, width, 3) or (n_stimuli, 3, height, "
                f"width), with n_samples behind n_stimuli if there are several of each{both}."
            )
        self._stored, self._where, self._first = values, where, first
        self.n_stimuli, self.n_samples = shape[0], shape[1] if len(shape) == 5 else 1
        height, width = (shape[-2:]) if first else shape[-3:-1]
        super().__init__((self.n_stimuli * self.n_samples, height, width, 3), np.uint8)
        self._are_bytes = self._checked_range()

    def _read(self, rows: NDArray) -> NDArray:
        chosen = np.stack([self._picture(row) for row in rows])
        chosen = chosen if self._are_bytes else to_uint8(255 * chosen.astype(np.float32))
        return np.ascontiguousarray(np.broadcast_to(chosen, (*chosen.shape[:-1], 3)).astype(np.uint8))

    def _picture(self, row: int) -> NDArray:
        """One picture as it is stored, colours last."""
        stimulus, sample = divmod(int(row), self.n_samples)
        picture = _as_numpy(self._stored[stimulus, sample] if self._stored.ndim == 5 else self._stored[stimulus])
        return np.moveaxis(picture, 0, -1) if self._first else picture

    def _checked_range(self) -> bool:
        """Whether values are bytes, once all of them are in their range."""
        low, high, kind = np.inf, -np.inf, "f"
        for start in range(0, self.n_stimuli, _BLOCK):
            block = _as_numpy(self._stored[start : start + _BLOCK])
            kind = block.dtype.kind
            if kind not in "fiu" or not np.isfinite(block).all():
                what = f"are {block.dtype}" if kind not in "fiu" else "hold NaN or infinite values"
                raise InputError(f"Pictures in {self._where} {what}; give them as uint8, or as floats from 0 to 1.")
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
                f"Floats in {self._where} run from {low:g} to {high:g}; expected 0 to 1: give {mend}, or uint8 pictures."
            )
        raise InputError(
            f"Whole numbers in {self._where} run from {low} to {high}; expected 0 to 255: give uint8 pictures."
        )


def _as_numpy(values: Any) -> NDArray:
    """An array, or a tensor as one; numpy knows no bfloat16."""
    if isinstance(values, np.ndarray):
        return values
    return (values.float() if values.is_floating_point() else values).numpy()
