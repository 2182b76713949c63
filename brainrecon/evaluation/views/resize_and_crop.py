"""Bringing pictures to the form in which they are compared: resize, crop, normalise.

Pictures come in as 8-bit and are never changed; what is compared is a copy. Published protocols differ in how they
resize: some resize 8-bit pictures with Pillow, some tensors in 0..1 with torchvision. Both are followed to the value,
because scores on pixels and on early layers notice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from stages.ground.errors import InputError
from stages.ground.pictures import how_to_convert
from weights.suggestions import did_you_mean

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "area")
VALUES = ("floats", "bytes")

_PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "area": Image.Resampling.BOX,
}


@dataclass(frozen=True)
class Resize:
    """To what square pictures are brought.

    Attributes
    ----------
    size : int
        Pixels on each side.
    interpolation : {"nearest", "bilinear", "bicubic", "area"}
        "area" is the mean of the pixels that fall into each new one, for shrinking.
    antialias : bool
        Whether shrinking widens the kernel of "bilinear" and "bicubic", as Pillow does and older torchvision did not.
    values : {"floats", "bytes"}
        "floats": as torchvision resizes tensors in 0..1. "bytes": as Pillow resizes 8-bit pictures, rounding to 8 bits;
        Pillow always antialiases.

    Raises
    ------
    InputError
        If a value is none of these, or bytes are to be resized without antialiasing.
    """

    size: int
    interpolation: str
    antialias: bool
    values: str = "floats"

    def __post_init__(self):
        _check_side("size of a resize", self.size)
        for key, allowed in (("interpolation", INTERPOLATIONS), ("antialias", (True, False)), ("values", VALUES)):
            given = getattr(self, key)
            if given not in allowed or isinstance(given, bool) != isinstance(allowed[0], bool):
                options = ", ".join(repr(option) for option in allowed) + did_you_mean(given, allowed)
                raise InputError(f"Invalid {key} of a resize: {given!r}; expected one of {options}. Change it there.")
        if self.values == "bytes" and not self.antialias and self.interpolation in ("bilinear", "bicubic"):
            raise InputError(
                f"A {self.interpolation} resize of bytes is to go without antialiasing, but Pillow always antialiases; "
                "set antialias = true, or values = 'floats'."
            )


@dataclass(frozen=True)
class Preparation:
    """What is done to pictures before a network looks at them.

    Attributes
    ----------
    resize : Resize or None
    crop : int or None
        Side of the centre crop after resizing.
    mean, std : tuple of 3 floats or None
        Subtracted from and divided into pictures in 0..1, per channel. Without them the network takes uint8
        (n, height, width, 3) and normalises by itself; with them float32 (n, 3, height, width).

    Raises
    ------
    InputError
        If the crop is no size, or mean and std are not three finite values each (std above 0) or both absent.
    """

    resize: Resize | None = None
    crop: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self):
        if self.crop is not None:
            _check_side("crop", self.crop)
        absent = [self.mean is None, self.std is None]
        whole = not any(absent) and len(self.mean) == len(self.std) == 3 and np.isfinite((self.mean, self.std)).all()
        if not all(absent) and (not whole or min(self.std) <= 0):
            raise InputError(
                f"Pictures are to be normalised with mean {self.mean} and std {self.std}; expected three finite values "
                "each, those of std above 0, or neither. Give both for red, green and blue."
            )

    @property
    def normalises(self):
        """Whether the network takes normalised tensors rather than 8-bit pictures."""
        return self.mean is not None


@dataclass(frozen=True)
class Form:
    """What pictures are brought to, for one network or for one comparison of pixels.

    Attributes
    ----------
    resizes : tuple of Resize
        One after the other: a protocol's, then a metric's or a network's own.
    crop, mean, std
        As of `Preparation`.
    as_pixels : bool
        Float32 (n, height, width, 3) in 0..1, overshoots of a kernel cut off, for comparing pixels; else as a network takes
        them.
    """

    resizes: tuple[Resize, ...]
    crop: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    as_pixels: bool = False

    @classmethod
    def of_network(cls, resize, preparation):
        """The form that a network takes, `resize` being the protocol's or None."""
        return cls(_steps(resize, preparation.resize), preparation.crop, preparation.mean, preparation.std)

    @classmethod
    def of_pixels(cls, *resizes):
        """Pixels at the last of some sizes; None among them stands for none."""
        return cls(_steps(*resizes), as_pixels=True)


def _steps(*resizes):
    return tuple(step for step in resizes if step is not None)


def views(images, forms):
    """Pictures in several forms. Each is resized once to what several of them ask for.

    >>> small, crop = Form.of_pixels(Resize(8, "area", True)), Form((Resize(8, "area", True),), crop=4)
    >>> seen = views(np.full((2, 16, 16, 3), 51, dtype=np.uint8), [small, crop])
    >>> seen[small].shape, seen[crop].shape, seen[crop].dtype
    ((2, 8, 8, 3), (2, 4, 4, 3), dtype('uint8'))

    Parameters
    ----------
    images : uint8 array of shape (n, height, width, 3)
        Left as they are. One after the other is brought to all forms, while it is in a core's own memory.
    forms : iterable of Form

    Returns
    -------
    seen : dict of Form to array of shape (n, ...)
        As `resize_pictures` and `prepare` describe.

    Raises
    ------
    InputError
        If the pictures are not 8-bit RGB, or smaller than a crop.
    """
    images, forms = _checked(images), list(dict.fromkeys(forms))
    seen = {}
    # Without a picture one of zeros tells the shapes.
    for row, picture in enumerate(images if len(images) else np.zeros((1, *images.shape[1:]), dtype=np.uint8)):
        known = {(): picture[None]}
        for form in forms:
            view = _finished(_resized(known, form.resizes), form)
            if row == 0:
                seen[form] = np.empty((len(images), *view.shape[1:]), dtype=view.dtype)
            if len(images):
                seen[form][row] = view[0]
    return seen


def prepare(images, resize, preparation):
    """Bring pictures to what a network takes: a protocol's resize, the network's own, crop, normalisation.

    >>> prepare(np.zeros((2, 16, 16, 3), dtype=np.uint8), Resize(8, "bilinear", True), Preparation(crop=4)).shape
    (2, 4, 4, 3)

    Parameters
    ----------
    images : uint8 array of shape (n, height, width, 3)
        Left as they are.
    resize : Resize or None
        What the protocol does to pictures before anything else.
    preparation : Preparation
        What it does for this network.

    Returns
    -------
    prepared : array
        With mean and std float32 (n, 3, height, width), normalised; as torchvision leaves tensors, bicubic overshoots
        included. Without them uint8 (n, height, width, 3), rounded.

    Raises
    ------
    InputError
        If the pictures are not 8-bit RGB, or smaller than the crop.
    """
    return views(images, [form := Form.of_network(resize, preparation)])[form]


def resize_pictures(images, resize):
    """Pictures at a protocol's size, for comparing their pixels.

    >>> resize_pictures(np.full((2, 16, 16, 3), 51, dtype=np.uint8), Resize(8, "area", True))[0, 0, 0]
    array([0.2, 0.2, 0.2], dtype=float32)

    Parameters
    ----------
    images : uint8 array of shape (n, height, width, 3)
        Left as they are.
    resize : Resize or sequence of Resize
        Several are done one after the other, for example a protocol's and then a metric's own.

    Returns
    -------
    pictures : float32 array of shape (n, size, size, 3), in 0..1
        The given values divided by 255 if the size is already right. Overshoots of a bicubic kernel are clipped
        after the last resize.

    Raises
    ------
    InputError
        If the pictures are not 8-bit RGB.
    """
    return views(images, [form := Form.of_pixels(*(resize if isinstance(resize, Sequence) else [resize]))])[form]


def _resized(known, steps):
    """A picture (1, height, width, 3) after each resize, uint8 as long as no step works on floats, then float32.

    `known` holds it after fewer steps, and after these from now on.
    """
    if steps not in known:
        pictures, step = _resized(known, steps[:-1]), steps[-1]
        pictures = _as_bytes(pictures) if step.values == "bytes" else _as_floats(pictures)
        # What has the right size already is left alone by Pillow and by torchvision.
        if pictures.shape[1:3] != (step.size, step.size):
            pictures = _like_pillow(pictures, step) if step.values == "bytes" else _like_torchvision(pictures, step)
        known[steps] = pictures
    return known[steps]


def _finished(pictures, form):
    """Resized pictures as a form says."""
    if form.as_pixels:
        return _as_floats(pictures).clip(0, 1)
    pictures = _cropped(pictures, form.crop)
    return _as_bytes(pictures) if form.mean is None else _normalised(pictures, form)


def _like_pillow(pictures, step):
    resized = np.empty((len(pictures), step.size, step.size, 3), dtype=np.uint8)
    for row, picture in enumerate(pictures):
        resized[row] = Image.fromarray(picture).resize((step.size, step.size), _PILLOW[step.interpolation])
    return resized


def _like_torchvision(pictures, step):
    smooth = step.interpolation in ("bilinear", "bicubic")
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))),
        size=(step.size, step.size),
        mode=step.interpolation,
        align_corners=False if smooth else None,
        antialias=step.antialias and smooth,
    )
    resized = resized.permute(0, 2, 3, 1).numpy()
    # Rounding leaves a uniform picture not quite uniform, and a correlation would make something of what is left. Most
    # pictures differ between two corners, and are not looked through.
    corner = pictures[:, :1, :1]
    if not (pictures[:, -1:, -1:] == corner).any():
        return resized
    return np.where((pictures == corner).all(axis=(1, 2), keepdims=True), corner, resized)


def _cropped(pictures, side):
    """The middle of pictures, where torchvision's CenterCrop finds it."""
    if side is None:
        return pictures
    height, width = pictures.shape[1:3]
    if min(height, width) < side:
        raise InputError(
            f"Pictures of {height} x {width} pixels cannot be cropped to {side} x {side}; resize them to at least {side}."
        )
    top, left = round((height - side) / 2), round((width - side) / 2)
    return pictures[:, top : top + side, left : left + side]


def _normalised(pictures, preparation):
    """Float32 (n, 3, height, width), minus mean, by std."""
    mean, std = (np.asarray(values, dtype=np.float32) for values in (preparation.mean, preparation.std))
    return np.ascontiguousarray(((_as_floats(pictures) - mean) / std).transpose(0, 3, 1, 2))


def _as_floats(pictures):
    """Float32; 8-bit pictures are brought to 0..1."""
    return pictures.astype(np.float32) / np.float32(255) if pictures.dtype == np.uint8 else pictures


def _as_bytes(pictures):
    """8-bit pictures, rounded from floats in 0..1."""
    return pictures if pictures.dtype == np.uint8 else np.rint(pictures.clip(0, 1) * 255).astype(np.uint8)


def _checked(images):
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape[1:]:
        raise InputError(
            f"Pictures are {images.dtype} of shape {images.shape}; expected uint8 of shape (n, height, width, 3), 0 to 255: "
            f"{how_to_convert(images)}."
        )
    return images


def _check_side(what, side):
    if not isinstance(side, int) or isinstance(side, bool) or side < 1:
        raise InputError(f"The {what} is {side!r}; expected a whole number of pixels from 1. Change it there.")
