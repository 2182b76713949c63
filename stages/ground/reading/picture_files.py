"""Picture files: of the formats that are meant, by their content, and no larger than a picture is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from stages.ground.errors import InputError
from stages.ground.reading.wall import reading

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
        width, height = picture.size
        if width * height > MOST_PIXELS:
            raise InputError(
                f"{path} says that it has {width:,} x {height:,} pixels; expected {MOST_PIXELS:,} at most: {remedy}."
            )
        yield picture
