"""Picture files: of the formats that are meant, by their content, and no larger than a picture is."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from stages.ground.errors import InputError
from stages.ground.reading.wall import one_line, reading

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""By content. Others are left out: some start programs, as PostScript does."""
MOST_PIXELS = 100_000_000


@contextmanager
def picture_file(
    path: str | Path, remedy: str = "save it again as PNG", kind: str = "a picture"
) -> Iterator[Image.Image]:
    """Open a picture; what is wrong with it is told in one sentence, also when it is decoded within the block.

    >>> path = getfixture("tmp_path") / "a.png"
    >>> Image.new("RGB", (4, 2)).save(path)
    >>> with picture_file(path) as picture: print(picture.size)
    (4, 2)

    Parameters
    ----------
    path : path
    remedy : str
        What to do about a file that cannot be read, for the message.
    kind : str
        What it is read as, for the message.

    Raises
    ------
    InputError
        The file is absent, damaged, of another format than `FORMATS`, or has more than `MOST_PIXELS` pixels.
    """
    with reading(path, kind, remedy), Image.open(path, formats=FORMATS) as picture:
        _check_size(picture, path, remedy)
        yield picture


@contextmanager
def picture_of_bytes(content: bytes, where: str, remedy: str = "save it again as PNG") -> Iterator[Image.Image]:
    """Open a picture that is part of another file; errors as of `picture_file`.

    >>> file = io.BytesIO()
    >>> Image.new("RGB", (4, 2)).save(file, format="PNG")
    >>> with picture_of_bytes(file.getvalue(), "a member") as picture: print(picture.size)
    (4, 2)

    Parameters
    ----------
    content : bytes
    where : str
        What they are, for the message.
    remedy : str
        What to do about a picture that cannot be read, for the message.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            _check_size(picture, where, remedy)
            yield picture
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{where} cannot be read as a picture ({one_line(error)}); {remedy}.") from None


def _check_size(picture: Image.Image, where: str | Path, remedy: str) -> None:
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise InputError(
            f"{where} says that it has {width:,} x {height:,} pixels; expected {MOST_PIXELS:,} at most: {remedy}."
        )
