"""Segments of EEG-VOA, one for each picture that a person saw, and the splits that were published of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.ground.errors import InputError
from stages.ground.reading.torch_archives import read_torch
from weights.names import trouble_with_part

RATE = 1000
"""Samples in a second."""
LENGTHS = (450, 600)
"""A segment of fewer or more samples is left out, as in the authors' loader."""
SPLITS = range(6)
SPLIT_FILES = {
    "block_splits_by_image_all.pth": "by segments of all subjects",
    "block_splits_by_image_single.pth": "by segments of one subject",
}
PARTS = {"train": "train", "val": "validation", "test": "test"}
BLOCKS = "blocks"
EVERY = 10
"""With whole blocks one class of so many is tested."""
_MEND = "copy it again"
_WORDNET = re.compile(r"(n\d{8})_")


class Recording(NamedTuple):
    """All segments of a file.

    Attributes
    ----------
    path : pathlib.Path
    epochs : list of array of shape (n_channels, n_samples)
    people, images, labels : array of int, shape (n_segments,)
        Number of the subject; places in `image_names` and `class_names`.
    image_names, class_names : list of str
        ImageNet's files without their ending, and WordNet ids.
    """

    path: Path
    epochs: list
    people: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    image_names: list
    class_names: list

    @property
    def n_channels(self):
        return self.epochs[0].shape[0]

    @property
    def subjects(self):
        """Names of the subjects, sorted."""
        return [f"subj{number:02d}" for number in np.unique(self.people).tolist()]

    def stems(self, rows):
        """The picture of each segment."""
        return [self.image_names[place] for place in self.images[rows].tolist()]

    def classes(self, rows):
        """The class of each segment."""
        return [self.class_names[place] for place in self.labels[rows].tolist()]


def read_recording(path: Path) -> Recording:
    """Read the segments of a file; their numbers stay on disk.

    Raises
    ------
    InputError
        The file is damaged or of another layout, or a segment's picture is of another class than its label.
    """
    found = read_torch(path, _MEND)
    segments, labels, images = (
        found.get(key) if isinstance(found, dict) else None for key in ("dataset", "labels", "images")
    )
    for key, values in (("dataset", segments), ("labels", labels), ("images", images)):
        kind = dict if key == "dataset" else str
        if not isinstance(values, list | tuple) or not values or not all(isinstance(one, kind) for one in values):
            raise InputError(f"{path} has no list {key} of {'segments' if kind is dict else 'texts'}; {_MEND}.")
        if kind is str and len(set(values)) != len(values):
            raise InputError(f"{path} has the same text twice in its list {key}; {_MEND}.")
    for name in images:
        if trouble := trouble_with_part(name):
            raise InputError(f"{path} names a picture {name[:80]!r}, and {trouble}; {_MEND}.")
    epochs = [one.get("eeg") for one in segments]
    n_channels = next((one.shape[0] for one in epochs if isinstance(one, np.ndarray) and one.ndim == 2), 0)
    numbers = {}
    for number, (one, eeg) in enumerate(zip(segments, epochs)):
        if not isinstance(eeg, np.ndarray) or eeg.ndim != 2 or eeg.dtype.kind != "f" or eeg.shape[0] != n_channels:
            shape = f"{eeg.dtype} {eeg.shape}" if isinstance(eeg, np.ndarray) else f"a {type(eeg).__name__}"
            raise InputError(
                f"Segment {number:,} of {path} holds {shape} as eeg; expected numbers ({n_channels or 128}, samples): {_MEND}."
            )
        for key, most in (("subject", None), ("image", len(images)), ("label", len(labels))):
            value = _whole(one.get(key))
            if value is None or (most is not None and value >= most):
                expected = "a whole number" if most is None else f"a whole number from 0 to {most - 1:,}"
                raise InputError(
                    f"Segment {number:,} of {path} has {str(one.get(key))[:40]} as {key}; expected {expected}: {_MEND}."
                )
            numbers.setdefault(key, []).append(value)
    recording = Recording(
        path, epochs, *(np.array(numbers[key]) for key in ("subject", "image", "label")), list(images), list(labels)
    )
    _check_classes(recording)
    return recording


def _whole(value):
    """A whole number of 0 or more, from a tensor of one number too; else None."""
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "iu":
        value = value.item()
    return value if type(value) is int and value >= 0 else None


def _check_classes(recording):
    rows = range(len(recording.epochs))
    for number, (stem, label) in enumerate(zip(recording.stems(rows), recording.classes(rows))):
        found = _WORDNET.match(stem)
        if found and found[1] != label:
            raise InputError(
                f"Segment {number:,} of {recording.path} shows {stem} and is labelled {label}; its lists of images and labels "
                f"do not fit: {_MEND}."
            )


def parts_of(path, recording, name, split, n_samples):
    """Which segments are used together.

    Parameters
    ----------
    path : pathlib.Path
        The folder of the splits.
    recording : Recording
    name : str
        Of the subject.
    split : int or str
        Number of a published split, or "blocks".
    n_samples : int
        That a segment must have.

    Returns
    -------
    parts : dict of str to array of int
        Rows of the recording: "train", "test" and, of a published split, "validation".
    notes : list of str

    Raises
    ------
    InputError
        A file is absent or damaged, names a segment that is not there or one twice, or leaves a part without segments.
    """
    own = np.flatnonzero(recording.people == int(name.removeprefix("subj")))
    if str(split) == BLOCKS:
        tested = np.unique(recording.labels)[::EVERY]
        inside = np.isin(recording.labels[own], tested)
        parts = {"train": own[~inside], "test": own[inside]}
        count = len(np.unique(recording.labels))
        notes = [f"{len(tested)} of {count} classes are tested whole, and no picture of them was learned from"]
    else:
        if str(split) not in map(str, SPLITS):
            raise InputError(
                f"split is {split!r}; expected 0 to {len(SPLITS) - 1}, or {BLOCKS}: pass --option split=0."
            )
        parts, notes = _published(path, recording, own, int(split))
    lengths = np.array([epoch.shape[1] for epoch in recording.epochs])
    kept = (lengths >= max(LENGTHS[0], n_samples)) & (lengths <= LENGTHS[1])
    if dropped := int((~kept[np.concatenate(list(parts.values()))]).sum()):
        notes.append(
            f"{dropped:,} segments are left out, with fewer than {max(LENGTHS[0], n_samples)} or more than {LENGTHS[1]} samples"
        )
    parts = {key: rows[kept[rows]] for key, rows in parts.items()}
    if absent := [key for key in ("train", "test") if not len(parts[key])]:
        raise InputError(
            f"{name} of {recording.path} has no segment for {absent[0]}; take another split, or a shorter window."
        )
    return {key: rows for key, rows in parts.items() if len(rows)}, notes


def _published(path, recording, own, number):
    """Rows of one subject's segments in each part of a published split."""
    file = next((path / name for name in SPLIT_FILES if (path / name).exists()), path / next(iter(SPLIT_FILES)))
    found = read_torch(file, _MEND)
    splits = found.get("splits") if isinstance(found, dict) else None
    if not isinstance(splits, list | tuple) or len(splits) <= number or not isinstance(splits[number], dict):
        count = len(splits) if isinstance(splits, list | tuple) else 0
        raise InputError(
            f"{file} has {count} splits and no split {number}; expected {len(SPLITS)}: {_MEND}, or pass another number."
        )
    is_of_all = file.name == next(iter(SPLIT_FILES))
    rows_of = np.arange(len(recording.epochs)) if is_of_all else own
    parts, taken, beyond = {}, set(), 0
    for word, key in PARTS.items():
        values = splits[number].get(word)
        values = values.reshape(-1).tolist() if isinstance(values, np.ndarray) else values
        numbers = [_whole(value) for value in values] if isinstance(values, list | tuple) else [None]
        if None in numbers:
            raise InputError(f"{file} has no list of whole numbers {word} in split {number}; {_MEND}.")
        if is_of_all and numbers and max(numbers) >= len(rows_of):
            raise InputError(
                f"{file} names segment {max(numbers):,} but {recording.path} holds {len(rows_of):,}, counted from 0; take both "
                "from the same source."
            )
        if len(set(numbers)) < len(numbers) or taken & set(numbers):
            raise InputError(f"{file} names a segment twice in split {number}; {_MEND}.")
        taken |= set(numbers)
        inside = [one for one in numbers if one < len(rows_of)]
        beyond += len(numbers) - len(inside)
        rows = np.sort(rows_of[np.array(inside, dtype=int)])
        parts[key] = rows[np.isin(rows, own)]
    notes = []
    if beyond:
        notes.append(f"{file.name} names {beyond:,} segments more than this subject has, which are left out")
    return parts, notes
