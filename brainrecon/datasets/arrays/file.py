"""A subject as one file: .npz, HDF5 (.h5, .hdf5) or MATLAB (.mat) with these arrays.

FILE
  betas                   (n_trials, n_voxels) numbers, one row per trial, or
  patterns                (n_stimuli, n_voxels) numbers, one row per stimulus, or
  volumes                 (n_volumes, n_voxels) numbers, raw runs one after the other, one row per volume
  stimulus_ids            a text or whole number per row; of volumes nothing, rest or -1 where none is shown
  split                   a text per row: train, test, or any further one; not needed with --folds
  sessions, runs          a whole number per row                            optional, but volumes need runs
  images                  (n_stimuli, height, width, 3) uint8               optional
  image_ids               whose the pictures and captions are; without it they are in the order in which
                          stimulus_ids first names each stimulus; needed
                          if ids are mere numbers in another order          optional
  captions                (n_stimuli,) or (n_stimuli, k) text               optional
  noise_ceiling           (n_voxels,) percent of variance                   optional
  rois/<name>, roi_<name> (n_voxels,) of 0 and 1                            optional
  subject                 the subject's name, a text                        optional
  standardized            session, if betas were z-scored within sessions   optional

Without split, each split may have arrays of its own: train_betas, train_stimulus_ids, train_images, ...,
test_betas, test_stimulus_ids, ... In MATLAB texts are cell arrays of char, and rois may be a struct.
"""

import re
from dataclasses import asdict, replace

import numpy as np

from brainrecon.datasets.arrays.finite_voxels import LEFT_OUT, FiniteVoxels
from brainrecon.datasets.arrays.parts import (
    check_ids,
    check_voxels,
    choose_voxels,
    own_subject,
    train_first,
)
from brainrecon.datasets.arrays.raw_runs import cleaning, trials_of_runs
from brainrecon.datasets.captions import checked_captions
from brainrecon.datasets.named_arrays import NamedArrays
from brainrecon.datasets.own_mask import as_mask
from brainrecon.datasets.responses import checked_standardized, stored_responses
from brainrecon.datasets.spellings import said_of
from brainrecon.datasets.split import Split, first_presentation_order
from brainrecon.datasets.voxels import MASK
from stages.ground.errors import InputError
from stages.ground.lazy_rows import as_rows
from stages.ground.pictures import how_to_convert

RESPONSES = re.compile(r"(.*_|)(betas|patterns|volumes)")


def subjects(path):
    """The one subject of the file."""
    return [_subject_name(NamedArrays(path))]


def load(path, subject=None, roi=None, needs_split=True, own=None, **raw):
    """Load the subject of a file; as `brainrecon.datasets.arrays.reader.load`.

    HDF5 is read by rows when betas or pictures are asked for; .npz and MATLAB's older .mat are read into memory.

    Parameters
    ----------
    path, subject, roi
        As of the reader.
    needs_split : bool
        Whether there must be train and test; otherwise all may be one split, train.
    own : brainrecon.datasets.own_mask.OwnMask, optional
    **raw
        As `brainrecon.datasets.arrays.raw_runs.cleaning` takes them.
    """
    arrays = NamedArrays(path)
    name = _subject_name(arrays)
    if subject not in (None, name):
        raise InputError(f"{path} holds subject {name}, not {subject}; ask for {name}.")
    prefixes = _prefixes(arrays, needs_split)
    how = cleaning(path, any(f"{prefix}volumes" in arrays for prefix in prefixes), raw)
    groups = {prefix: _Trials(arrays, prefix, how) for prefix in prefixes}
    n_voxels = next(iter(groups.values())).betas.shape[1]
    rois = {
        re.sub("^rois?_", "", key): as_mask(arrays[key], f"'{key}' in {path}").reshape(-1)
        for key in sorted(arrays)
        if re.match("rois?_", key)
    }
    if own is not None:
        rois[MASK] = own.in_columns(n_voxels)
    labels = _labels(arrays, groups[""], needs_split) if "" in groups else None
    finite = FiniteVoxels(lambda: _as_stored(groups, labels))
    chosen = choose_voxels(path, rois, roi, n_voxels, finite)
    ceiling = _vector(arrays, "noise_ceiling")
    if ceiling is not None:
        if ceiling.dtype.kind not in "fiu":
            raise InputError(f"'noise_ceiling' in {path} is {ceiling.dtype}; expected percent of variance per voxel.")
        check_voxels(ceiling, n_voxels, "the noise ceiling", path)
        ceiling = ceiling.astype(np.float32)
    if labels is not None:
        found = train_first(set(labels.tolist()))
        splits = {label: groups[""].split(np.flatnonzero(labels == label), chosen) for label in found}
    else:
        splits = {prefix[:-1]: trials.split(np.arange(len(trials.ids)), chosen) for prefix, trials in groups.items()}
    averaged = any(trials.averaged for trials in groups.values())
    notes = ["one averaged response per stimulus: its single trials are not in the file"] if averaged else []
    notes += dict.fromkeys(note for trials in groups.values() for note in trials.notes)
    notes += finite.notes
    subject = own_subject(path, name, splits, roi, rois, chosen, ceiling, notes)
    return subject if how is None else replace(subject, details=subject.details | asdict(how))


def _as_stored(groups, labels):
    """Pairs of split and responses as they are stored; raw runs all count as training."""
    for prefix, trials in groups.items():
        stored = as_rows(trials.betas)
        if labels is None or trials.responses is not None:
            yield prefix[:-1] or "train", stored
        else:
            yield from (
                (label, stored.take(np.flatnonzero(labels == label))) for label in train_first(set(labels.tolist()))
            )


def _prefixes(arrays, needs_split):
    """What stands before the names of a group of trials: nothing when one group holds all splits."""
    found = {match[1] for match in map(RESPONSES.fullmatch, arrays) if match}
    if "" in found:
        return [""]
    if "betasmd" in arrays:
        raise InputError(
            f"{arrays.path} holds GLMsingle's betasmd but not what was shown; put it into a folder with its events.tsv "
            "and stimuli/, and give that folder."
        )
    if any(name in arrays for name in ("metadata_key", "metaData_key")):
        raise InputError(f"{arrays.path} is a BData file, which is read as bdata:{arrays.path}.")
    if not ({"train_", "test_"} if needs_split else {"train_"}) <= found:
        raise InputError(
            f"{arrays.path} holds {_listed(arrays)}; it needs betas, stimulus_ids and split, or train_betas, "
            "train_stimulus_ids, test_betas and test_stimulus_ids; raw runs are called volumes."
        )
    return [f"{name}_" for name in train_first(prefix[:-1] for prefix in found)]


class _Trials:
    """The arrays of one group of trials, checked against each other."""

    def __init__(self, arrays, prefix, how=None):
        self.path, self.prefix, self.notes = arrays.path, prefix, []
        self.responses, self._labelled = None, slice(None)
        there = [f"{prefix}{kind}" for kind in ("betas", "patterns", "volumes") if f"{prefix}{kind}" in arrays]
        if len(there) > 1:
            raise InputError(f"{self.path} holds both {there[0]} and {there[1]}; keep {there[0]} only.")
        (self.name,) = there
        self.averaged = self.name == f"{prefix}patterns"
        self.betas = arrays[self.name]
        if self.betas.ndim != 2 or self.betas.dtype.kind not in "fiu":
            raise InputError(
                f"'{self.name}' in {self.path} is {self.betas.dtype} {self.betas.shape}; expected numbers "
                "(rows, n_voxels)."
            )
        self.ids = self.per_row(arrays, "stimulus_ids", as_texts)
        if self.ids is None:
            raise InputError(
                f"{self.path} holds no {prefix}stimulus_ids but {_listed(arrays)}; add one id per row of {self.name}."
            )
        self.standardized = checked_standardized(_text(arrays, "standardized", "no"), self.path)
        if self.name == f"{prefix}volumes":
            self._clean(arrays, how)
        self.stimuli = first_presentation_order(self.ids)[0].tolist()
        check_ids(self.stimuli, f"'{prefix}stimulus_ids' in {self.path}")
        if self.averaged and len(self.stimuli) < len(self.ids):
            raise InputError(
                f"'{self.name}' in {self.path} has {len(self.ids):,} rows for {len(self.stimuli):,} stimuli; patterns "
                f"have one row per stimulus, so name single trials {prefix}betas."
            )
        self.sessions = self.per_row(arrays, "sessions", _whole_numbers)
        self.runs = self.per_row(arrays, "runs", _whole_numbers)
        self._read_stimuli(arrays)

    def _clean(self, arrays, how):
        """Trials in the place of the volumes."""
        runs = self.per_row(arrays, "runs", _whole_numbers)
        if runs is None:
            raise InputError(
                f"{self.path} holds {self.name} but no {self.prefix}runs; add the number of the run of each volume."
            )
        found = trials_of_runs(self.betas, self.ids, runs, how, f"'{self.name}' in {self.path}")
        self._labelled, self.notes = found.labelled, found.notes
        self.responses, self.standardized = found.responses, found.responses.standardized
        self.ids = self.ids[self._labelled]

    def per_row(self, arrays, name, convert):
        """An array with an entry per row, converted, for each trial; None when it is absent."""
        values = _vector(arrays, self.prefix + name)
        if values is None:
            return None
        if len(values) != len(self.betas):
            lies = self.betas.shape[1] == len(values)
            raise InputError(
                f"'{self.name}' in {self.path} is {self.betas.shape[0]:,} x {self.betas.shape[1]:,} but "
                f"'{self.prefix}{name}' has {len(values):,} entries; "
                + ("transpose the betas to one row per trial." if lies else "give one entry per row.")
            )
        return convert(values, f"'{self.prefix}{name}' in {self.path}")[self._labelled]

    def _read_stimuli(self, arrays):
        """Pictures, captions, and the row of each stimulus in both."""
        images = self.images = arrays.get(f"{self.prefix}images")
        if images is not None and (images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8):
            raise InputError(
                f"'{self.prefix}images' in {self.path} is {images.dtype} {images.shape}; expected uint8 "
                f"(n_stimuli, height, width, 3), 0 to 255: {how_to_convert(images)}."
            )
        self.captions = self._read_captions(arrays)
        named = _vector(arrays, f"{self.prefix}image_ids")
        names = self.stimuli if named is None else as_texts(named, f"'{self.prefix}image_ids' in {self.path}").tolist()
        if named is None and (images is not None or self.captions is not None):
            self._check_order()
        for what, values in (("images", images), ("captions", self.captions)):
            if values is not None and len(values) != len(names):
                raise InputError(
                    f"'{self.prefix}{what}' in {self.path} has {len(values):,} rows but there are {len(names):,} "
                    + (f"distinct {self.prefix}stimulus_ids" if named is None else f"{self.prefix}image_ids")
                    + f"; give one row for each, or name the rows with {self.prefix}image_ids."
                )
        self.row = {}
        for row, name in enumerate(names):
            first = self.row.setdefault(name, row)
            if first != row and images is not None and not np.array_equal(images[first], images[row]):
                raise InputError(
                    f"{self.path} has two different pictures of stimulus {name}, rows {first + 1:,} and {row + 1:,} of "
                    f"{self.prefix}images; give each picture an id of its own."
                )

    def _check_order(self):
        """Raise an InputError if ids may be the rows of the pictures: 0 to n - 1 or 1 to n, in another order."""
        numbers = [int(name) for name in self.stimuli if name.isdecimal()]
        first, n = min(numbers, default=0), len(self.stimuli)
        if len(numbers) == n and first in (0, 1) and sorted(numbers) == list(range(first, first + n)) != numbers:
            raise InputError(
                f"'{self.prefix}stimulus_ids' in {self.path} are {first} to {first + n - 1} and not shown in that order, so they "
                f"may be rows of the pictures or names in order of presentation; add {self.prefix}image_ids, the id of each "
                f"picture: numpy.arange({first}, {first + n}) for rows."
            )

    def split(self, rows, chosen):
        """The Split of some rows, over the chosen voxels."""
        stimuli = first_presentation_order(self.ids[rows])[0].tolist()
        images = captions = None
        if self.images is not None or self.captions is not None:
            absent = [name for name in stimuli if name not in self.row]
            if absent:
                raise InputError(
                    f"{self.path} has no picture or caption for {len(absent):,} of {len(stimuli):,} stimuli, the first "
                    f"is {absent[0]}{said_of(absent[0], self.row)}; add it, and its id to {self.prefix}image_ids."
                )
            places = [self.row[name] for name in stimuli]
            images = None if self.images is None else as_rows(self.images).take(places)
            if self.captions is not None:
                said = {name: list(map(str, self.captions[place])) for name, place in zip(stimuli, places)}
                captions = checked_captions(said, stimuli, f"'{self.prefix}captions' in {self.path}")
        return Split(
            self._responses(rows, chosen),
            self.ids[rows],
            None if self.sessions is None else self.sessions[rows],
            None if self.runs is None else self.runs[rows],
            images,
            captions,
        )

    def _responses(self, rows, chosen):
        if self.responses is not None:
            # A run is cleaned once for all of its trials, so that columns are chosen first.
            return (self.responses if chosen is None else self.responses.columns(chosen)).take(rows)
        betas = as_rows(self.betas).take(rows)
        betas = betas if chosen is None else betas.columns(chosen)
        return stored_responses(betas, f"'{self.name}' in {self.path}", standardized=self.standardized, remedy=LEFT_OUT)

    def _read_captions(self, arrays):
        """(n_stimuli, k) text, where a row may end with empty texts; None when there are none."""
        if f"{self.prefix}captions" not in arrays:
            return None
        texts = np.asarray(arrays[f"{self.prefix}captions"])
        if texts.dtype.kind != "U" or texts.ndim > 2:
            raise InputError(
                f"'{self.prefix}captions' in {self.path} is {texts.dtype} {texts.shape}; expected text (n_stimuli,) or "
                "(n_stimuli, k)."
            )
        # A cell array of MATLAB is often one row.
        return texts.reshape(-1, 1) if texts.ndim < 2 or len(texts) == 1 < len(self.stimuli) else texts


def _labels(arrays, trials, needs_split):
    labels = trials.per_row(arrays, "split", as_texts)
    if labels is None and not needs_split:
        return np.full(len(trials.ids), "train")
    if labels is None:
        raise InputError(
            f"{arrays.path} has no array 'split'; add one text per row, 'train' or 'test', or test every stimulus once, as with "
            "--folds 10."
        )
    found = sorted(set(labels.tolist()))
    if not ({"train", "test"} if needs_split else {"train"}) <= set(found):
        raise InputError(
            f"'split' in {arrays.path} holds {', '.join(found[:8])}; write 'train' for some rows and 'test' for others."
        )
    return labels


def as_texts(values, where):
    """Ids or labels as an array of str; whole numbers, as float or int, become their digits."""
    values = np.asarray(values)
    if values.dtype.kind == "U":
        return values
    if values.dtype.kind == "b":
        raise InputError(f"{where} holds bools; write texts or whole numbers.")
    return _whole_numbers(values, where).astype(str)


def _whole_numbers(values, where):
    whole = values.astype(np.int64) if values.dtype.kind in "iuf" and np.isfinite(values).all() else None
    if whole is None or (whole != values).any():
        raise InputError(f"{where} is {values.dtype} and not all whole numbers; mend those that are not.")
    return whole


def _vector(arrays, name):
    """An array as one axis, which MATLAB gives a second one; None when it is absent."""
    return np.asarray(arrays[name]).reshape(-1) if name in arrays else None


def _subject_name(arrays):
    return _text(arrays, "subject", "subj01")


def _text(arrays, name, absent):
    """A text of the file; what stands for it if there is none."""
    values = _vector(arrays, name)
    return absent if values is None or not len(values) else str(values[0])


def _listed(arrays):
    names = sorted(arrays)
    return (", ".join(names[:8]) + (", ..." if len(names) > 8 else "")) or "nothing"
