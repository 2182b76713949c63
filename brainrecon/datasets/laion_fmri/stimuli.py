"""Pictures of LAION-fMRI, packed as the bytes of their files, and what people wrote of them."""

from __future__ import annotations

import io
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from brainrecon.datasets.captions import checked_captions
from brainrecon.datasets.laion_fmri.layout import Layout
from brainrecon.datasets.spellings import said_of
from brainrecon.datasets.stimulus_images import check_image_size
from brainrecon.datasets.trial_tables import read_table
from stages.ground.errors import InputError
from stages.ground.lazy_rows import LazyRows
from stages.ground.reading.hdf5_files import dataset, hdf5_file
from stages.ground.reading.picture_files import MOST_PIXELS
from stages.ground.reading.wall import one_line

BACKGROUND = 128
"""Level of the grey behind pictures in the scanner: half of the range."""
REQUEST = "https://laion-fmri.hebartlab.com/request"


class PackedPictures(LazyRows):
    """Pictures whose files' bytes are the entries of an HDF5 dataset, uint8 (n_pictures, height, width, 3).

    What shines through a picture is the grey that stood behind it in the scanner.

    Parameters
    ----------
    path : pathlib.Path
    rows : sequence of int
        Which entries of the dataset ``images``.
    names : sequence of str
        Of these entries, for messages.
    size : int, optional
        Resize pictures to squares of so many pixels. Without it all must be as large as the first.
    """

    takes_any_order = True
    dtype = np.dtype(np.uint8)

    def __init__(self, path, rows, names, size=None):
        self.path, self.rows, self.names, self._size = path, np.asarray(rows), list(names), size

    def __len__(self):
        return len(self.rows)

    @property
    def ndim(self):
        return 4

    @property
    def shape(self):
        return (len(self.rows), *self._picture_shape)

    @cached_property
    def _picture_shape(self):
        if self._size or not len(self.rows):
            return self._size or 0, self._size or 0, 3
        return self._decoded([0])[0].shape

    def _read(self, rows):
        pictures = self._decoded(rows)
        for row, picture in zip(rows, pictures):
            if picture.shape != self._picture_shape:
                (height, width), (other, wide) = self._picture_shape[:2], picture.shape[:2]
                raise InputError(
                    f"{self.names[row]} in {self.path} is {wide} x {other} pixels but {self.names[0]} {width} x {height}; pass "
                    f"image_size={min(height, width, other, wide)}, for example, to bring all to one size."
                )
        return np.stack(pictures)

    def _decoded(self, rows):
        with hdf5_file(self.path) as file:
            packed = dataset(file, "images")
            contents = [_bytes(packed[self.rows[row]]) for row in rows]
        return [self._picture(content, self.names[row]) for row, content in zip(rows, contents)]

    def _picture(self, content, name):
        try:
            with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    raise ValueError(f"it says that it has {picture.width:,} x {picture.height:,} pixels")
                if picture.mode == "F" or picture.mode.startswith("I"):
                    raise ValueError(f"it has values of mode {picture.mode}, not 8-bit colours")
                shown = _as_shown(picture)
        # Of damaged bytes the decoders make errors of any kind.
        except Exception as error:
            raise InputError(
                f"The picture {name} in {self.path} cannot be read ({one_line(error)}); fetch the file again."
            ) from error
        if self._size:
            shown = ImageOps.fit(shown, (self._size, self._size), Image.Resampling.BICUBIC)
        return np.asarray(shown)


def _bytes(value):
    return bytes(value) if isinstance(value, bytes) else np.asarray(value, dtype=np.uint8).tobytes()


def _as_shown(picture):
    """A picture in RGB, over grey where it lets something through."""
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        behind = Image.new("RGBA", picture.size, (BACKGROUND, BACKGROUND, BACKGROUND, 255))
        return Image.alpha_composite(behind, picture.convert("RGBA")).convert("RGB")
    return picture.convert("RGB")


class Stimuli:
    """What is there of the pictures.

    Parameters
    ----------
    layout : Layout
    size : int, optional
        As of `PackedPictures`.

    Attributes
    ----------
    notes : list of str
        What is absent.
    """

    def __init__(self, layout: Layout, size=None):
        self.layout, self.notes = layout, []
        check_image_size(size)
        self._size = size
        self._rows = self._rows_of_pictures()

    def _rows_of_pictures(self):
        """The entry of each picture by name; None without pictures."""
        packed, table = self.layout.pictures, self.layout.metadata
        if not packed.is_file():
            self.notes.append(
                f"no {packed}, so there are no pictures: agree to their terms at {REQUEST} and put both files there"
            )
            return None
        names = _column(table, "image_name", f"{packed} has no table of names beside it; expected {table}: fetch both.")
        with hdf5_file(packed) as file:
            images = dataset(file, "images")
            if images.ndim != 1 or not images.dtype.hasobject:
                raise InputError(
                    f"'images' in {packed} is {images.dtype} {images.shape}; expected the bytes of a file for each picture: "
                    "fetch it again."
                )
            n_pictures = len(images)
        if n_pictures != len(names):
            raise InputError(f"{packed} has {n_pictures:,} pictures but {table} {len(names):,} rows; fetch both again.")
        rows = {name: row for row, name in enumerate(names)}
        if len(rows) < len(names):
            twice = next(name for row, name in enumerate(names) if rows[name] != row)
            raise InputError(f"{table} names {twice} twice; fetch it again.")
        return rows

    def images(self, ids):
        """Pictures of stimuli, lazy; None if there are no pictures."""
        if self._rows is None:
            return None
        absent = [name for name in ids if name not in self._rows]
        if absent:
            raise InputError(
                f"{self.layout.metadata} has no row for {len(absent):,} of {len(ids):,} stimuli, the first is "
                f"{absent[0]}{said_of(absent[0], self._rows)}; fetch it and the pictures again."
            )
        return PackedPictures(self.layout.pictures, [self._rows[name] for name in ids], ids, self._size)

    def captions(self, ids):
        """What people wrote of stimuli, best first, as a callable; None without a file."""
        path = self.layout.captions
        if not path.is_file():
            if not any("captions" in note for note in self.notes):
                self.notes.append(f"no {path.name}, so there are no captions")
            return None
        return lambda: checked_captions(self._said, ids, path)

    @cached_property
    def _said(self):
        """Captions by picture: those of people in their order, or a network's if there are no others."""
        path = self.layout.captions
        people, networks = {}, {}
        for number, row in enumerate(_table(path, ("image_name", "caption_idx", "source", "caption")), start=2):
            if not (rank := row["caption_idx"]).isdigit():
                raise InputError(f"Row {number} of {path} has caption_idx {rank!r}; expected a number: fetch it again.")
            said = networks if row["source"] == "ai" else people
            said.setdefault(row["image_name"], []).append((int(rank), number, row["caption"]))
        return {name: [text for _, _, text in sorted(texts)] for name, texts in (networks | people).items()}


def _table(path: Path, columns):
    rows = read_table(path)
    absent = [name for name in columns if not rows or name not in rows[0]]
    if absent:
        head = ", ".join(rows[0]) if rows else "no rows"
        raise InputError(f"{path} has {head[:200]}; expected the columns {', '.join(columns)}: fetch it again.")
    return rows


def _column(path: Path, name, absent):
    try:
        return [row[name] for row in _table(path, (name,))]
    except FileNotFoundError:
        raise InputError(absent) from None
