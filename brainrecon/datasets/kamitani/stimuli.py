"""The Kamitani laboratory's stimuli: names from numbers, pictures from a folder that the user names, downloads."""

import re
from os import PathLike
from pathlib import Path

import numpy as np

from brainrecon.datasets.dataset import ExpectedFile, Option
from brainrecon.datasets.download import fetch
from brainrecon.datasets.sources.figshare import figshare_files
from brainrecon.datasets.stimulus_images import IMAGE_SIZE, check_image_size, pictures_of_splits
from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.progress import SILENT

REQUEST_FORM = "https://forms.gle/ujvA34948Xg49jdn9"
PICTURE_SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".tif", ".tiff", ".gif")
CODE_SCALE = 10**6
FIRST_SYNSET = 1740
"""Offset of WordNet's first noun; a smaller code is a number of the file's own."""

SYNSET_PICTURE = re.compile(r"(?<!\d)n?(\d{7,8})([_.])(\d+)(?!\d)")

PICTURE_OPTIONS = (
    Option("images", "folder of the pictures, named after the stimuli; by default the folder images in the path"),
    IMAGE_SIZE,
)
"""What every picture dataset of the laboratory takes."""
ZSCORE = Option("zscore", "true: z-score each voxel within each run, by the run's own trials; by default false")


def name_of_code(code, kind="stimulus"):
    """The stimulus that a number stands for.

    Parameters
    ----------
    code : float
        1518878.010042 is picture 10042 of WordNet's n01518878: six decimals are the picture.
    kind : str
        Put before numbers that are no such code.

    Returns
    -------
    name : str
        ``n01518878_10042``; ``n01518878`` where no picture is told; ``kind_7`` for 7; "" for NaN.
    """
    if np.isnan(code):
        return ""
    synset, picture = divmod(round(code * CODE_SCALE), CODE_SCALE)
    if synset < FIRST_SYNSET:
        return f"{kind}_{code:.6f}".rstrip("0").rstrip(".")
    return f"n{synset:08d}_{picture}" if picture else f"n{synset:08d}"


def name_of_text(text):
    """``n01518878_10042`` for a text that holds it in whatever spelling, such as 1518878.010042; else the text itself."""
    found = SYNSET_PICTURE.search(text)
    if not found:
        return text.strip()
    synset, sign, picture = found.groups()
    return f"n{int(synset):08d}_{int(picture.ljust(6, '0') if sign == '.' else picture)}"


def names_of_codes(bdata, codes, kind="stimulus"):
    """`name_of_code` of every sample; an InputError if the file's numbers are too coarse for the codes."""
    if np.nanmax(codes, initial=0) >= FIRST_SYNSET and bdata.dtype.kind == "f" and bdata.dtype.itemsize < 8:
        raise InputError(
            f"{bdata.path} stores {bdata.dtype} numbers, too coarse for stimulus codes such as 1518878.010042; "
            "take the original file with float64 numbers."
        )
    return [name_of_code(code, kind) for code in codes]


def names_of_labels(bdata, keys):
    """The stimulus of every sample by the file's own labels; None if it has them for none of the keys.

    Parameters
    ----------
    bdata : brainrecon.datasets.kamitani.bdata.BData
    keys : sequence of str
        The first that the file says in words, ``/vmap/<key>``, is taken.

    Returns
    -------
    names : list of str, length n_samples, or None
        As of `name_of_text`; "" for a sample without a stimulus.
    """
    key = next((key for key in keys if key in bdata.keys and bdata.has_labels(key)), None)
    return None if key is None else [name_of_text(label) for label in bdata.labels(key)]


def stimulus_codes(bdata, key):
    """A number for the stimulus of each sample; where the key has several columns, the second holds it."""
    values = bdata.get(key)
    return values[:, 1] if values.shape[1] > 1 else bdata.column(key)


def pictures_of(splits, path, images=None, size=None, how=None):
    """The pictures of each split, joined by name.

    Parameters
    ----------
    splits : dict of str to Split
    path : pathlib.Path
        The dataset's folder; its ``images`` is the default.
    images : path, optional
    size : int, optional
        Side of the square that pictures are cut and resized to.
    how : str, optional
        How pictures are to be had, for the note if there are none; by default by the laboratory's form.

    Returns
    -------
    pictures : dict of str to PictureFiles
        Only splits with pictures.
    notes : list of str

    Raises
    ------
    InputError
        The folder lacks pictures, or they differ in size and no size is given.
    """
    check_image_size(size)
    if images is not None and not isinstance(images, str | PathLike):
        raise InputError(f"images is {images!r}; expected the path of a folder.")
    folder = Path(images).expanduser() if images else path / "images"
    if not folder.is_dir():
        if images:
            raise InputError(f"There is no folder {folder}; name the folder of the pictures, or leave images out.")
        how = how or f"they are to be had by the form {REQUEST_FORM}; put them into {path / 'images'}"
        return {}, [f"no pictures: {how}"]
    found, notes, pictures = {}, [], {}
    for file in visible(folder, "**/*"):
        if file.suffix.lower() in PICTURE_SUFFIXES:
            found.setdefault(name_of_stem(file.stem), file)
    for split, part in splits.items():
        absent = [str(name) for name in part.stimulus_ids if name not in found]
        if absent and (len(absent) < part.n_stimuli or split in ("train", "test")):
            raise InputError(
                f"{folder} has no picture for {len(absent):,} of {part.n_stimuli:,} {split} stimuli, the first is "
                f"{absent[0]}; add {absent[0]}.JPEG and the others."
            )
        if absent:
            notes.append(f"no pictures for {split}: {folder} has none of {absent[0]} and its other stimuli")
        else:
            pictures[split] = [found[name] for name in part.stimulus_ids.tolist()]
    return pictures_of_splits(pictures, size), notes


def picture_row(path):
    """What `files` says of the pictures: the first that is there, or where they go."""
    pictures = (file for file in visible(path / "images", "**/*") if file.is_file())
    return ExpectedFile(next(pictures, path / "images"), f"the pictures, by the form {REQUEST_FORM}", optional=True)


def name_of_stem(stem):
    """The stimulus that a picture file is named after; a name with more to it than a code stays as it is."""
    return name_of_text(stem) if SYNSET_PICTURE.fullmatch(stem) else stem


def download_responses(article, path, subject, wanted, progress=SILENT):
    """Fetch those files of a figshare article that hold responses.

    Parameters
    ----------
    article : int
    path : pathlib.Path
        Where they go.
    subject : int, optional
        Number of the one subject that is wanted; everyone's otherwise.
    wanted : re.Pattern
        Names of the files; its first group is the subject's number.
    progress : callable, optional
        Called as ``progress(label, bytes_done, bytes_of_file)``.

    Returns
    -------
    absent : list
        Always empty: nothing of a listed article is optional.
    """
    listed = [(wanted.fullmatch(remote.path.name), remote) for remote in figshare_files(article, path)]
    chosen = [remote for match, remote in listed if match and subject in (None, int(match[1]))]
    if not chosen:
        raise InputError(
            f"figshare article {article} lists {', '.join(remote.path.name for _, remote in listed) or 'nothing'} and so "
            "nothing of what was asked for; name another subject, or fetch the files by hand."
        )
    for remote in chosen:
        fetch(remote, progress)
    return []
