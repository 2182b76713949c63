"""Objects of five classes that five people saw (Huang et al. 2020), in a layout that is this toolkit's own.

No file of the authors could be opened here. `brainrecon.datasets.ocd.trials` describes what to make of what they gave you.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from brainrecon.datasets.chosen_subject import chosen_subject
from brainrecon.datasets.dataset import DatasetOf, ExpectedFile, Option, register
from brainrecon.datasets.description import Description
from brainrecon.datasets.ocd.times import WINDOW, named
from brainrecon.datasets.ocd.trials import Trials
from brainrecon.datasets.own_mask import OWN_MASK, OwnMask, chosen_voxels
from brainrecon.datasets.responses import stored_responses
from brainrecon.datasets.split import Split, first_presentation_order
from brainrecon.datasets.stimulus_images import IMAGE_SIZE, check_image_size, pictures_of_splits
from brainrecon.datasets.subject import Subject, stimulus_fingerprint, subject_name
from brainrecon.datasets.voxels import ALL
from stages.ground.errors import InputError
from stages.ground.listing import visible

PAGE = "www.neuro.uestc.edu.cn/vccl/data/Huang2020_Article_Perception-to-ImageReconstruct.html"
DESCRIPTION = Description(
    measured="Five people saw natural pictures of objects of five classes in fMRI: 2,250 trials to train on and 500 to test on "
    "for each, by a survey; responses at several times after the picture",
    available=f"On the authors' page, as a list of the field says: {PAGE}. It could not be opened here, so that names, "
    "formats and terms of its files are not known; bring them into the layout below",
    citation="Huang, W., Yan, H., Wang, C., Li, J., Yang, X., Li, L., Zuo, Z., Zhang, J. and Chen, H. (2020). Human Brain "
    "Mapping 41, 4442-4453. https://doi.org/10.1002/hbm.25136",
    licence="not known: no page of the authors could be read",
    pictures="photographs",
)
TIMES = ("each", "mean")
OVERLAP_S = 12.0
"""Trials that follow each other faster share a response: it takes about so long to fade."""


def subjects(path):
    """Names of the subjects found, sorted: ``sub-01``, ..."""
    return [file.stem for file in visible(Path(path), "sub-*.npz") if file.is_file()]


def load(path, subject=None, roi=None, window=WINDOW, times="each", test_runs=None, image_size=None, mask=None):
    """Load one subject.

    Parameters
    ----------
    path : pathlib.Path
        The folder of ``sub-01.npz`` and others.
    subject : str, optional
        ``sub-01``; by default the first that is there.
    roi : str, optional
        Regions of the file, times, and what joins them: ``HVC``, ``6s``, ``HVC & 6s``. By default all voxels at all times of the
        window.
    window : str or float
        Seconds after the picture, ``2-6`` by default; ``all``.
    times : {"each", "mean"}
        Values of all times beside each other, or averaged over them.
    test_runs : str, int or list of int, optional
        Runs that are tested, such as ``9,10``; all others are trained on. By default the file's own split.
    image_size : int, optional
        Cut and resize pictures to squares of so many pixels; needed only if they differ in size.
    mask : brainrecon.datasets.own_mask.OwnMask, optional
        The region ``mask``: a value for each voxel, or for each voxel at each time.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        What counts as a voxel is a voxel at a time: those of the first time, then those of the second, and so on. Stimuli are
        called after their files, and their categories are the classes.

    Raises
    ------
    InputError
        Files are absent, damaged or of another layout, or something is asked for that is not there.
    """
    path = Path(path)
    name = _subject(path, subject)
    if times not in TIMES:
        raise InputError(f"times is {times!r}; expected {' or '.join(TIMES)}.")
    check_image_size(image_size)
    trials = Trials(path / f"{name}.npz", window, times == "mean")
    labels = _labels(trials, test_runs)
    regions = _regions(trials)
    n_values = trials.values.shape[1]
    chosen, rois = chosen_voxels(path, regions, roi, n_values, ALL, _over_times(mask, trials))
    found, notes = {}, _notes(trials, labels, times)
    for split in dict.fromkeys(("train", "test", *sorted(set(labels)))):
        rows = np.flatnonzero(np.array(labels) == split)
        shown = [trials.stimuli[row] for row in rows]
        classes = dict(zip(shown, (trials.classes[row] for row in rows)))
        found[split] = Split(
            stored_responses(trials.values[rows][:, chosen], trials.path, standardized=trials.standardized),
            shown,
            runs=trials.runs[rows],
            categories=[[classes[one]] for one in first_presentation_order(shown)[0].tolist()],
        )
    notes += _add_pictures(path, found, trials.picture_of, image_size)
    return Subject(
        name=name,
        dataset="ocd",
        source=f"ocd:{path}",
        splits=found,
        roi=roi or (ALL if mask is None else "mask"),
        rois=rois,
        fingerprint=stimulus_fingerprint("ocd", found, classes=[split.categories for split in found.values()]),
        notes=notes,
        details={
            "window": str(window),
            "times_s": [float(f"{second:.6g}") for second in trials.times],
            "times": times,
            "voxels_at_each_time": trials.n_voxels,
        }
        | ({} if test_runs is None else {"test_runs": read_runs(test_runs)}),
    )


def read_runs(given):
    """Numbers of runs from what was asked for.

    >>> read_runs("9,10"), read_runs(3), read_runs([2, 1])
    ([9, 10], [3], [1, 2])

    Raises
    ------
    InputError
        These are no numbers from 1 on.
    """
    parts = given if isinstance(given, list | tuple) else str(given).split(",")
    numbers = [re.fullmatch(r"\s*0*([1-9]\d{0,8})\s*", str(part)) for part in parts]
    if not parts or not all(numbers):
        raise InputError(f"test_runs is {given!r}; expected numbers of runs: write test_runs=9,10.")
    return sorted({int(number[1]) for number in numbers})


def _labels(trials, test_runs):
    """The split of each trial."""
    if test_runs is not None:
        wanted, there = read_runs(test_runs), set(trials.runs.tolist())
        if unknown := [run for run in wanted if run not in there]:
            raise InputError(f"{trials.path} has no run {unknown[0]}; it has {', '.join(map(str, sorted(there)))}.")
        labels = np.where(np.isin(trials.runs, wanted), "test", "train").tolist()
    elif trials.splits is None:
        raise InputError(
            f"{trials.path} has no split; add it, or say which runs are tested, for example test_runs={trials.runs.max()}."
        )
    else:
        labels = trials.splits
    if lacking := [split for split in ("train", "test") if split not in labels]:
        told = ", ".join(sorted(set(labels)))
        raise InputError(
            f"No trial of {trials.path} is for {lacking[0]} but for {told}; expected trials of train and test."
        )
    return labels


def _regions(trials):
    """The regions of the file at every time, and the values of each time."""
    n_times = 1 if trials.mean else len(trials.times)
    regions = {name: np.tile(mask, n_times) for name, mask in trials.rois.items()}
    if n_times > 1:
        for number, second in enumerate(trials.times):
            if named(second) in regions:
                raise InputError(
                    f"{trials.path} has a region roi_{named(second)}, which is how a time is called; name it otherwise."
                )
            regions[named(second)] = np.repeat(np.arange(n_times) == number, trials.n_voxels)
    return regions


def _over_times(mask, trials):
    """A mask with a value for each voxel counts at every time."""
    if mask is None or trials.mean or mask.values.shape != (trials.n_voxels,):
        return mask
    return OwnMask(mask.name, np.tile(mask.values, len(trials.times)), mask.affine)


def _notes(trials, labels, times):
    seconds = ", ".join(map(named, trials.times))
    notes = [
        "the layout is this toolkit's own: no file of the authors was opened here",
        f"the mean of {seconds} after the picture"
        if times == "mean"
        else f"responses at {seconds} after the picture, beside each other",
    ]
    runs = {split: set(trials.runs[np.array(labels) == split].tolist()) for split in ("train", "test")}
    if both := runs["train"] & runs["test"]:
        notes.append(
            f"{len(both)} of {len(set(trials.runs.tolist()))} runs have trials of both train and test, whose responses may "
            "overlap; test_runs=... splits by run"
        )
    shortest = trials.shortest_interval()
    if shortest is None:
        notes.append("how close trials follow each other is not said (onset_s), so that responses may overlap")
    elif shortest < OVERLAP_S:
        notes.append(f"trials follow each other by {shortest:g} s at least, so that their responses overlap")
    if trials.standardized == "no":
        notes.append("whether responses were z-scored is for you to say: standardized='session' in the file")
    return notes


def _add_pictures(path, splits, picture_of, size):
    """Give the splits their pictures; notes."""
    folder = path / "stimuli"
    if not folder.is_dir():
        return [f"no pictures: put them into {folder}, by the names in stim_file"]
    shown = {}
    for split, part in splits.items():
        files = [folder / picture_of[name] for name in part.stimulus_ids.tolist()]
        if lacking := [file for file in files if not file.is_file()]:
            raise InputError(
                f"{folder} has no picture for {len(lacking):,} of {len(files):,} {split} stimuli, the first is "
                f"{lacking[0].relative_to(folder)}; add it and the others, or take the folder away."
            )
        shown[split] = files
    for split, pictures in pictures_of_splits(shown, size).items():
        splits[split].images = pictures
    return []


def files(path, subject=None):
    """The file of one subject, or of all that are there, and the first of the pictures."""
    path = Path(path)
    there = subjects(path)
    named_so = [_subject(path, subject)] if subject and there else there or [_plain(subject or "sub-01")]
    pictures = [file for file in visible(path / "stimuli", "**/*") if file.is_file()]
    return [
        *(ExpectedFile(path / f"{name}.npz", "trials, as docs/datasets/ocd.md describes them") for name in named_so),
        ExpectedFile((pictures or [path / "stimuli"])[0], "the pictures, the first of them", optional=True),
    ]


def _plain(subject):
    """sub-01 for subj01, Subject1 and 1."""
    return re.sub(r"^subj(?=\d)", "sub-", subject_name(subject))


def _subject(path, subject):
    nobody = "give the folder with a file sub-01.npz for each person, as docs/datasets/ocd.md describes"
    return chosen_subject(path, subjects(path), subject, nobody)


register(
    "ocd",
    DatasetOf(
        DESCRIPTION,
        subjects,
        load,
        files,
        (
            Option("window", "seconds after the picture, such as 2-6 (the default) or 6; all for all times"),
            Option(
                "times",
                "each or mean: values of all times of the window beside each other (the default), or their mean",
            ),
            Option("test_runs", "runs to test, such as 9,10, training on all others; by default the file's own split"),
            IMAGE_SIZE,
            OWN_MASK,
        ),
    ),
)
