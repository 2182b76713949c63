"""Data of every kind, loaded as subjects: `load("kind:path")`. A file or a folder reads each kind."""

import os
from dataclasses import replace
from pathlib import Path

from brainrecon.datasets.dataset import dataset_of, kinds, loaded_options
from brainrecon.datasets.split import DisagreementError
from brainrecon.datasets.voxels import MASK
from stages.ground.errors import InputError

__all__ = ["dataset_of", "kinds", "load", "parse_source", "subjects"]


def parse_source(data):
    """Split ``kind:path`` into its parts.

    >>> kind, path = parse_source("nsd:/data/nsd")
    >>> kind, path.as_posix()
    ('nsd', '/data/nsd')

    Parameters
    ----------
    data : str
        For example ``nsd:/data/nsd``. A leading ``~`` of the path is the home folder.

    Returns
    -------
    kind : str
        One of `kinds`.
    path : pathlib.Path
        Whether it exists is not checked here.

    Raises
    ------
    InputError
        No kind, an unknown kind, an empty path, or a folder that may not be listed.
    """
    kind, separator, path = str(data).partition(":")
    if not separator or not path:
        raise InputError(
            f"'{data}' does not say what kind of data it is; write kind:path with one of "
            f"{', '.join(kinds())}, for example nsd:{data if not separator else 'PATH'}."
        )
    dataset_of(kind)
    place = Path(path).expanduser()
    # What lies in it would be said to be missing.
    if place.is_dir() and not os.access(place, os.R_OK | os.X_OK):
        raise InputError(f"{place} may not be listed by this user; ask its owner, or take a copy.")
    return kind, place


def load(data, subject=None, roi=None, mask=None, **options):
    """Load one subject of a dataset.

    >>> subject = load("nsd:/data/nsd", subject="subj02", roi="V1 + V2", betas="b3")  # doctest: +SKIP
    >>> subject.train.patterns.shape  # doctest: +SKIP
    (9000, 2405)
    >>> from brainrecon.datasets.arrays.writing import write_template
    >>> write_template("my-study")
    >>> subject = load("arrays:my-study")
    >>> subject.train.betas.shape
    (12, 50)

    Parameters
    ----------
    data : str
        ``kind:path``, see `kinds`.
    subject : str, optional
        For example ``subj01``; by default the first that is there.
    roi : str, optional
        Which voxels; by default the dataset's own choice (NSD: ``nsdgeneral``).
    mask : path or array, optional
        Voxels of one's own, the region ``mask`` of a roi, alone unless `roi` says otherwise. A NIfTI or .npy file, or an array,
        of 0 and 1: a volume (x, y, z) if the data know where their voxels are, or one value for each voxel, as they are stored.
    **options
        The dataset's own options, ``dataset_of(kind).options``, for example ``betas="b2"`` for NSD. Every kind takes
        ``fold=(k, n)``: all stimuli of train and test are dealt to n parts, of which part k, counted from 0, is tested,
        see `brainrecon.datasets.folds`.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject

    Raises
    ------
    InputError
        The data are absent, damaged or at odds with each other, or an option is unknown.
    """
    kind, path = parse_source(data)
    reader = dataset_of(kind)
    # A dataset that deals its stimuli itself says so; what any other loads is dealt afterwards.
    deals = any(option.name == "fold" for option in reader.options)
    fold = None if deals else options.pop("fold", None)
    keywords = loaded_options(kind, options)
    if fold is not None:
        from brainrecon.datasets.folds import checked_fold, in_fold

        checked_fold(fold)
    try:
        if mask is None:
            loaded = reader.load(path, subject=subject, roi=roi, **keywords)
        else:
            loaded = _load_with_mask(reader, path, subject, roi, mask, keywords)
    except DisagreementError as error:
        raise InputError(f"The data at {path} do not fit each other: {error}") from None
    if not loaded.pictures and reader.description.pictures:
        loaded = replace(loaded, pictures=reader.description.pictures)
    return loaded if fold is None else in_fold(loaded, fold)


def _load_with_mask(reader, path, subject, roi, mask, keywords):
    """A subject that has a mask of one's own as a region, and is recorded with it."""
    from brainrecon.datasets.own_mask import read_mask, within_mask

    own, roi = read_mask(mask), roi or MASK
    if any(option.name == MASK for option in reader.options):
        loaded = reader.load(path, subject=subject, roi=roi, mask=own, **keywords)
    else:
        loaded = within_mask(reader.load(path, subject=subject, **keywords), own, roi)
    count = int(loaded.rois[MASK].sum()) if MASK in loaded.rois else 0
    named = replace(loaded, details=loaded.details | own.details)
    used = f"{count:,} voxels of the mask {own.name} are used"
    note = used if named.region != named.roi else f"the roi {roi} leaves the mask {own.name} out"
    return replace(named, notes=[*loaded.notes, note])


def subjects(data):
    """Names of the subjects found at ``kind:path``, sorted.

    >>> from brainrecon.datasets.arrays.writing import write_template
    >>> write_template("an-example")
    >>> subjects("arrays:an-example")
    ['subj01']
    """
    kind, path = parse_source(data)
    return dataset_of(kind).subjects(path)
