"""What a dataset holds, and which files it needs, as plain values to print."""

from importlib import import_module

import numpy as np

from brainrecon.datasets import KINDS


def describe(subject):
    """What was loaded.

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject

    Returns
    -------
    facts : dict
        JSON-able. ``splits`` gives for each split n_trials, n_stimuli, sessions, ``repeats`` (trials of a
        stimulus -> number of stimuli), the pictures' size, and whether there are captions and categories;
        ``rois`` the voxels of each region; ``noise_ceiling_median`` percent or None. No betas are read.
    """
    return {
        "dataset": subject.dataset,
        "subject": subject.name,
        "source": subject.source,
        "simulated": subject.simulated,
        "splits": {name: _describe_split(split) for name, split in subject.splits.items()},
        "roi": subject.roi,
        "n_voxels": subject.n_voxels,
        "rois": {name: int(mask.sum()) for name, mask in subject.rois.items()},
        "noise_ceiling_median": None if subject.noise_ceiling is None else float(np.median(subject.noise_ceiling)),
        "details": subject.details,
        "fingerprint": subject.fingerprint,
        "notes": list(subject.notes),
    }


def _describe_split(split):
    counts, stimuli = np.unique(split.repeats, return_counts=True)
    return {
        "n_trials": split.n_trials,
        "n_stimuli": split.n_stimuli,
        "repeats": {int(count): int(number) for count, number in zip(counts, stimuli)},
        "sessions": None if split.sessions is None else len(np.unique(split.sessions)),
        "picture_size": None if split.images is None else [int(size) for size in split.images.shape[1:3]],
        "captions": split.has_captions,
        "categories": split.has_categories,
    }


def files(kind, path, subject=None, **options):
    """The files that a dataset consists of, there or not.

    Parameters
    ----------
    kind : str
        One of `brainrecon.datasets.KINDS`.
    path : pathlib.Path
    subject : str, optional
    **options
        As for loading, for example ``betas="b3"``.

    Returns
    -------
    files : list of dict
        ``path`` (str), ``what`` (a phrase), ``present`` (bool), ``size`` (bytes, None where absent).
    """
    rows = []
    for file, what in import_module(KINDS[kind]).files(path, subject, **options):
        present = file.is_file()
        rows.append(
            {
                "path": str(file),
                "what": what,
                "present": present,
                "size": file.stat().st_size if present else None,
            }
        )
    return rows
