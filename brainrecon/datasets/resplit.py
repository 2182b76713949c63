"""Another division of a subject's stimuli into train and test than the dataset's own."""

from dataclasses import replace
from functools import partial

import numpy as np

from brainrecon.datasets.nsd.betas import SessionBetas, zscored_by
from brainrecon.datasets.subject import Split, stimulus_fingerprint
from stages.ground.errors import InputError

POOLED = ("train", "test")


def resplit(subject, test_ids, how):
    """Train on all of a subject's stimuli but some, and test on these.

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    test_ids : collection of str
        The stimuli to hold out, from train and test alike.
    how : str
        The rule in words, for the notes: "every picture with a dog".

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        With a train and a test split, each with the stimuli in the order of the dataset, train's before test's.
        Further splits are left out, as they may show what is now trained on. There is no noise ceiling: it would be
        that of the dataset's own test stimuli. Betas that are z-scored when read are z-scored by the trials that are
        now trained on; of betas that are stored as z-scores a note says that test trials may be in their statistics.

    Raises
    ------
    InputError
        No stimulus, or every one, is held out.
    """
    sources = [subject.splits[name] for name in POOLED]
    ids = np.concatenate([source.stimulus_ids for source in sources])
    held_out = np.isin(ids, list(test_ids))
    if not held_out.any() or held_out.all():
        raise InputError(
            f"The split holds out {held_out.sum():,} of {len(ids):,} stimuli ({how}); "
            "choose one that leaves some for both train and test."
        )
    betas, stored_zscores = _standardized(sources, ids[~held_out], subject.details)
    splits = {
        "train": _pooled(sources, betas, set(ids[~held_out])),
        "test": _pooled(sources, betas, set(ids[held_out])),
    }
    dropped = [name for name in subject.splits if name not in POOLED]
    note = f"split anew: {how}, {held_out.sum():,} of {len(ids):,} stimuli, are tested"
    if dropped:
        note += f"; {', '.join(dropped)} left out"
    if stored_zscores:
        note += "; responses were z-scored before, by trials of which some may be tested now"
    return replace(
        subject,
        splits=splits,
        noise_ceiling=None,
        fingerprint=stimulus_fingerprint(subject.dataset, splits, pooled=subject.fingerprint),
        notes=[*subject.notes, note],
        details=subject.details | {"split": how},
    )


def _standardized(sources, trained, details):
    """The betas of each source, by statistics of training trials alone, and whether that could not be had."""
    betas = [source.betas for source in sources]
    if all(isinstance(part, SessionBetas) and getattr(part.store, "reference_rows", None) for part in betas):
        return zscored_by(
            betas, [np.flatnonzero(np.isin(source.trial_stimulus_ids, trained)) for source in sources]
        ), False
    return betas, "z-score" in " ".join(map(str, details.values()))


def _pooled(sources, betas, wanted):
    trials = [np.flatnonzero(np.isin(source.trial_stimulus_ids, list(wanted))) for source in sources]
    stimuli = [np.flatnonzero(np.isin(source.stimulus_ids, list(wanted))) for source in sources]

    def per_trial(name):
        columns = [getattr(source, name) for source in sources]
        if any(column is None for column in columns):
            return None
        return np.concatenate([column[rows] for column, rows in zip(columns, trials)])

    def per_stimulus(name):
        if not all(getattr(source, f"has_{name}") for source in sources):
            return None
        return partial(_join, sources, stimuli, name)

    has_images = all(source.images is not None for source in sources)
    return Split(
        betas=Stacked(betas, trials),
        trial_stimulus_ids=per_trial("trial_stimulus_ids"),
        sessions=per_trial("sessions"),
        runs=per_trial("runs"),
        images=Stacked([source.images for source in sources], stimuli) if has_images else None,
        captions=per_stimulus("captions"),
        categories=per_stimulus("categories"),
    )


def _join(sources, stimuli, name):
    return [getattr(source, name)[row] for source, rows in zip(sources, stimuli) for row in rows]


class Stacked:
    """Some rows of several lazy arrays, one after the other, read when indexed.

    Parameters
    ----------
    arrays : list of array-like
        Of one shape but for the first axis; indexed by increasing int arrays.
    rows : list of array of int
        Which rows of each.
    """

    def __init__(self, arrays, rows):
        self.arrays = arrays
        self._part = np.repeat(np.arange(len(arrays)), [len(chosen) for chosen in rows])
        self._row = np.concatenate(rows)
        self.shape = (len(self._row), *arrays[0].shape[1:])
        self.ndim = len(self.shape)
        self.dtype = np.dtype(getattr(arrays[0], "dtype", np.float32))
        if any(tuple(array.shape[1:]) != self.shape[1:] for array in arrays):
            raise InputError(
                f"Train and test hold rows of {tuple(arrays[0].shape[1:])} and {tuple(arrays[1].shape[1:])}; "
                "stimuli can only be split anew where all are of one size."
            )

    def __len__(self):
        return len(self._row)

    def __getitem__(self, index):
        index, columns = (index[0], index[1:]) if isinstance(index, tuple) else (index, ())
        parts, rows = self._part[index], self._row[index]
        if np.ndim(rows) == 0:
            return self.arrays[int(parts)][int(rows)][columns]
        values = np.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        for part in np.unique(parts):
            wanted = parts == part
            values[wanted] = self.arrays[part][rows[wanted]]
        return values[(slice(None), *columns)]

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype=dtype)
