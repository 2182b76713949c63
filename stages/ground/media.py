"""What a system puts out, and how it lies in a file: a picture, a film, a caption, features.

A film is an animated PNG: every browser and image program shows it, no value is lost (an animated GIF has 256 colours), and
Pillow writes it (a folder of frames could be half written, and nobody can look at an .npz).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from stages.ground.checks import uint8_picture, uint8_pictures
from stages.ground.errors import InputError
from stages.ground.reading.picture_files import picture_file
from stages.ground.reading.wall import reading
from weights.whole_files import whole_file

FRAMES_PER_SECOND = 8
"""How fast a program shows the film of a file. The frames themselves have no rate."""

_REPEATS = "brainrecon repeats"

DRAW_AGAIN = "delete it and run the same command again"
"""What to do with a damaged output."""


@dataclass(frozen=True)
class Medium:
    """A kind of output and its file.

    >>> PICTURE.write("stim-nsd00001_sample-0.png", picture)  # doctest: +SKIP
    >>> PICTURE.read("stim-nsd00001_sample-0.png")  # doctest: +SKIP

    Attributes
    ----------
    name : str
        For example "picture".
    suffix : str
        Of its files, with the dot.
    check : callable
        ``check(value)`` returns the value, or raises an InputError unless it is one of this kind.
    """

    name: str
    suffix: str
    check: Callable[[Any], Any]
    _save: Callable[[Path, Any], None]
    _load: Callable[[Path], Any]

    def write(self, path: str | Path, value: Any) -> None:
        """Write a value into the file `path`, whole or not at all; InputError unless it is one of this kind."""
        value = self.check(value)
        with whole_file(path) as partial:
            self._save(partial, value)

    def read(self, path: str | Path) -> Any:
        """Read the value in the file `path`; InputError, a sentence that names the file, if it is absent or damaged."""
        with reading(path, f"a {self.name}", DRAW_AGAIN):
            return self._load(Path(path))

    def __repr__(self) -> str:
        return f"<medium {self.name!r}, {self.suffix}>"


# Pictures


def _check_picture(picture: ArrayLike) -> NDArray[np.uint8]:
    return uint8_picture(picture, "a picture's file")


def _save_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    Image.fromarray(picture).save(path, format="PNG")


def _load_picture(path: Path) -> NDArray[np.uint8]:
    with picture_file(path, DRAW_AGAIN) as picture:
        return _frame(path, picture)


def _frame(path: Path, picture: Image.Image) -> NDArray[np.uint8]:
    if picture.mode in ("F", "I", "I;16") or picture.mode.startswith("I;"):
        raise InputError(
            f"{path} holds values of mode {picture.mode}, not 8-bit colours; save it as 8-bit RGB or grey."
        )
    return np.asarray(picture.convert("RGB"))


# Films


def _check_film(given: ArrayLike) -> NDArray[np.uint8]:
    frames = uint8_pictures(given, "a film's file")
    if not len(frames):
        raise InputError("The film has 0 frames; expected 1 or more: give uint8 of shape (n_frames, height, width, 3).")
    return frames


def _save_film(path: Path, frames: NDArray[np.uint8]) -> None:
    # Pillow joins equal neighbours and keeps no count: each is written once, beside how often it is shown.
    changes = (frames[1:] != frames[:-1]).any(axis=(1, 2, 3))
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    repeats = np.diff([*starts, len(frames)])
    counts = PngInfo()
    counts.add_text(_REPEATS, " ".join(map(str, repeats)))
    first, *others = (Image.fromarray(frames[start]) for start in starts)
    first.save(
        path,
        format="PNG",
        save_all=True,
        append_images=others,
        duration=[1000 * int(count) / FRAMES_PER_SECOND for count in repeats],
        loop=0,
        pnginfo=counts,
    )


def _load_film(path: Path) -> NDArray[np.uint8]:
    with picture_file(path, DRAW_AGAIN, "a film") as film:
        counts, frames = film.info.get(_REPEATS), []
        for position in range(getattr(film, "n_frames", 1)):
            film.seek(position)
            frames.append(_frame(path, film))
    if counts is None:
        return np.stack(frames)
    return np.repeat(np.stack(frames), [int(count) for count in counts.split()], axis=0)


# Captions


def _check_caption(caption: Any) -> str:
    try:
        caption.encode()
    except AttributeError:
        raise InputError(f"The caption is {caption!r} ({type(caption).__name__}); expected a str.") from None
    except UnicodeEncodeError as error:
        raise InputError(f"The caption {caption!r} cannot be written in UTF-8 ({error.reason}); mend it.") from None
    return caption


def _save_caption(path: Path, caption: str) -> None:
    path.write_bytes(caption.encode())


def _load_caption(path: Path) -> str:
    return path.read_bytes().decode()


# Features


def _check_features(features: Any) -> dict[str, NDArray[np.float32]]:
    try:
        arrays = {name: np.asarray(values) for name, values in features.items()}
    except AttributeError:
        raise InputError(
            f"Features are a {type(features).__name__}; expected float32 arrays by name: {{'clip_image': array}}."
        ) from None
    if not arrays:
        raise InputError("Features are empty; expected one float32 array or more by name.")
    for name, values in arrays.items():
        if not isinstance(name, str) or name == "__metadata__" or values.dtype != np.float32:
            raise InputError(
                f"Features {name!r} are {values.dtype}; expected float32 under a str: convert them with astype, "
                "and name each after its target."
            )
        if bad := int((~np.isfinite(values)).sum()):
            raise InputError(
                f"Features {name!r} hold {bad:,} of {values.size:,} values that are NaN or infinite; expected finite numbers: "
                "look at what produced them."
            )
    return arrays


def _save_features(path: Path, features: Mapping[str, NDArray[np.float32]]) -> None:
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(values) for name, values in features.items()}, path)


def _load_features(path: Path) -> dict[str, NDArray[np.float32]]:
    from safetensors.numpy import load_file

    return load_file(path)


PICTURE = Medium("picture", ".png", _check_picture, _save_picture, _load_picture)
"""uint8, (height, width, 3)."""
FILM = Medium("film", ".apng", _check_film, _save_film, _load_film)
"""uint8, (n_frames, height, width, 3)."""
CAPTION = Medium("caption", ".txt", _check_caption, _save_caption, _load_caption)
"""A str, in UTF-8."""
FEATURES = Medium("features", ".safetensors", _check_features, _save_features, _load_features)
"""Finite float32 arrays of any shape by name."""
MEDIA = {medium.name: medium for medium in (PICTURE, FILM, CAPTION, FEATURES)}
