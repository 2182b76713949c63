"""What a dataset holds, and which files it needs, as plain values to print."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from brainrecon.datasets import load, parse_source
from brainrecon.datasets.cohort import Cohort
from brainrecon.datasets.dataset import dataset_of, loaded_options
from brainrecon.datasets.near_duplicates import near_duplicates
from brainrecon.datasets.noise_ceiling import FEW_VALUES, measured_noise_ceiling
from brainrecon.datasets.silent_trials import silence_note, silent_trials
from brainrecon.datasets.split import ROWS_PER_BLOCK, NotFiniteError
from stages.ground.errors import InputError
from stages.ground.progress import SILENT

FEW_PICTURE_BYTES = 2**28
"""Up to so many bytes of pictures are looked through for near-duplicates without being asked."""


def describe(subject, duplicates=None, progress=SILENT):
    """What was loaded.

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    duplicates : bool, optional
        Whether to look for near-duplicate pictures across the split; by default where there are up to 256 MB of them.
    progress : callable, optional
        Called as ``progress(label, done, total)``.

    Returns
    -------
    facts : dict
        JSON-able. ``splits`` gives for each split n_trials, n_stimuli, sessions, ``repeats`` (trials of a
        stimulus -> number of stimuli), the pictures' size, and whether there are captions and categories;
        ``stimuli_shared_by_all`` how many every subject of the data saw, None if there is one or another cannot be read;
        ``rois`` the voxels of each region; ``noise_ceiling_median`` percent or None, by the repeats of the test stimuli if
        the files hold no ceiling and the responses are few; ``near_duplicates`` the number of test pictures that a
        training picture resembles, and the closest pair of ids, or None if nobody looked.
    """
    kind, path = parse_source(subject.source)
    reader = dataset_of(kind)
    unmeasured = _without_values(subject)
    ceiling, unknown = _noise_ceiling(subject)
    return {
        "dataset": subject.dataset,
        "subject": subject.name,
        "source": subject.source,
        "about": asdict(reader.description),
        "subjects": (names := reader.subjects(path)),
        "stimuli_shared_by_all": _n_shared(subject, names),
        "simulated": subject.simulated,
        "splits": {name: _describe_split(split) for name, split in subject.splits.items()},
        "roi": subject.region,
        "n_voxels": subject.n_voxels,
        "unit": subject.unit,
        "rois": {name: int(mask.sum()) for name, mask in subject.rois.items()},
        "noise_ceiling_median": ceiling,
        "noise_ceiling_measured": ceiling is not None and subject.noise_ceiling is None,
        "details": subject.details,
        "fingerprint": subject.fingerprint,
        "near_duplicates": _near_duplicates(subject, duplicates, progress),
        "voxels_without_values": unmeasured[0],
        "notes": [*subject.notes, *unmeasured[1], *unknown],
    }


def _n_shared(subject, names):
    """How many stimuli all subjects of the data saw; None if there is one subject, or another cannot be read."""
    others = [name for name in names if name != subject.name]
    if not others:
        return None
    try:
        return len(Cohort([subject, *(load(subject.source, subject=name) for name in others)]).shared_ids)
    except InputError:
        return None


def _shared_text(facts):
    count, n = facts["stimuli_shared_by_all"], len(facts["subjects"])
    return "" if count is None else f"; {count:,} stimuli were seen by all {n}"


def _without_values(subject):
    """How many voxels lack a value on some trial, and notes of them and of silent trials; None and none if reading takes long."""
    splits = subject.splits.values()
    quick = all(getattr(split.betas, "is_quick", True) for split in splits)
    if not quick or sum(split.n_trials for split in splits) * subject.n_voxels > FEW_VALUES:
        return None, []
    found, told, silent = np.zeros(subject.n_voxels, dtype=bool), "", []
    for name, split in subject.splits.items():
        quiet = []
        for start in range(0, split.n_trials, ROWS_PER_BLOCK):
            try:
                quiet.extend(start + silent_trials(split.betas[start : start + ROWS_PER_BLOCK]))
            except NotFiniteError as error:
                found |= error.voxels
                told = told or str(error)
        silent += [silence_note(quiet, split.n_trials, name)] if quiet else []
    count, remedy = int(found.sum()), told.rpartition("; ")[2].removesuffix(".")
    note = (
        f"{count:,} of {subject.n_voxels:,} voxels hold NaN or infinite betas, from which no method can learn; {remedy}"
    )
    return count, [note] * bool(count) + silent


def _noise_ceiling(subject):
    """Median noise ceiling of the voxels, or None, and a note if damaged responses hide it."""
    try:
        ceiling = measured_noise_ceiling(subject)
    except InputError as error:
        return None, [f"the noise ceiling cannot be measured: {error}"]
    return None if ceiling is None else float(np.median(ceiling)), []


def _near_duplicates(subject, wanted, progress):
    train, test = subject.train, subject.test
    if train.images is None or test.images is None:
        return None
    if wanted is None:
        wanted = sum(np.prod(split.images.shape) for split in (train, test)) <= FEW_PICTURE_BYTES
    if not wanted:
        return None
    pairs = near_duplicates(train.images, test.images, progress=progress)
    closest = [str(test.stimulus_ids[pairs[0][0]]), str(train.stimulus_ids[pairs[0][1]])] if pairs else None
    return {"n_test_stimuli": len(pairs), "closest": closest}


def summary(facts):
    """About ten lines of what `describe` found, and one more for each thing that is unusual."""
    details, about = facts["details"], facts["about"]
    yield f"{facts['dataset']}: {'SIMULATED, no human was measured' if facts['simulated'] else about['measured']}"
    if not facts["simulated"]:
        yield f"cite: {about['citation']}; licence: {about['licence']}"
    yield f"subjects: {', '.join(facts['subjects'])}; this is {facts['subject']}{_shared_text(facts)}"
    measured = ", ".join(str(details[name]) for name in ("betas", "space", "units") if name in details)
    yield f"{facts['unit']}: {facts['n_voxels']:,} of {facts['roi']}" + (f"; {measured}" if measured else "")
    if facts["rois"]:
        yield f"regions, counted within {facts['roi']}: " + ", ".join(
            f"{name} {count:,}" for name, count in facts["rois"].items()
        )
    for name, split in facts["splits"].items():
        yield f"{name}: {_split_line(split)}"
    if further := [name for name in facts["splits"] if name not in ("train", "test")]:
        yield f"further splits: test them beside test by --beside {','.join(further)}, or in its place by --split {further[0]}"
    if facts["noise_ceiling_median"] is not None:
        how = ", by their repeats" if facts["noise_ceiling_measured"] else ""
        yield f"noise ceiling: median {facts['noise_ceiling_median']:.1f} % of the variance of the test patterns{how}"
    near = facts["near_duplicates"]
    if near is None:
        yield "near-duplicates between train and test: not looked for (--duplicates does)"
    elif near["n_test_stimuli"]:
        test, train = near["closest"]
        yield (
            f"near-duplicates: {near['n_test_stimuli']:,} test pictures have one in training, closest {test} and {train}"
        )
    else:
        yield "near-duplicates between train and test: none"
    for note in facts["notes"]:
        yield f"note: {note}"


def _split_line(split):
    repeats = ", ".join(f"{stimuli:,} x {count}" for count, stimuli in split["repeats"].items())
    size = "no pictures" if split["picture_size"] is None else "{1} x {0} pixels".format(*split["picture_size"])
    words = [f"{split['n_trials']:,} trials", f"{split['n_stimuli']:,} stimuli ({repeats})"]
    if split["sessions"]:
        words.append(f"{split['sessions']} sessions")
    words += [size, "captions" if split["captions"] else "no captions"]
    return ", ".join([*words, "categories" if split["categories"] else "no categories"])


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
        "standardized": split.standardized,
    }


def files(kind, path, subject=None, **options):
    """The files that a dataset consists of, there or not.

    Parameters
    ----------
    kind : str
        One of `brainrecon.datasets.kinds`.
    path : pathlib.Path
    subject : str, optional
    **options
        As for loading, for example ``betas="b3"``.

    Returns
    -------
    files : list of dict
        ``path`` (str), ``what`` (a phrase), ``optional`` (bool), ``present`` (bool), ``size`` (bytes, None if absent),
        ``largest`` (bytes at most, reckoned, of what is absent; None if nobody knows) and ``address`` (str, "" likewise).
    """
    rows = []
    for file in dataset_of(kind).files(path, subject, **loaded_options(kind, options, for_files=True)):
        present = file.path.is_file()
        rows.append(
            {
                "path": str(file.path),
                "what": file.what,
                "optional": file.optional,
                "present": present,
                "size": file.path.stat().st_size if present else None,
                "largest": None if present else file.largest,
                "address": file.address,
            }
        )
    return rows


def terms(kind):
    """On what terms a dataset is to be had; an InputError if it has no download."""
    reader = dataset_of(kind)
    if not getattr(reader, "download", None):
        where = reader.description.available.rstrip(".")
        raise InputError(f"{kind} data cannot be fetched from here; they are to be had so: {where}.")
    return f"{reader.terms}."


def download(kind, path, subject=None, progress=SILENT, **options):
    """Fetch what is missing of a dataset; the paths of optional files that are not to be had."""
    if path.exists() and not Path(path).is_dir():
        raise InputError(f"{path} is a file; name the folder that is to hold the data.")
    keywords = loaded_options(kind, options, for_files=True)
    return dataset_of(kind).download(path, subject, progress=progress, **keywords)
