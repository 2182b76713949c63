"""NOD, the Natural Object Dataset (Gong et al. 2023): thirty people saw pictures of ImageNet, nine of them COCO too.

FOLDER/                                                     OpenNeuro ds004496
  derivatives/ciftify/sub-01/results/ses-*_task-*_run-*/    betas of each run, see `brainrecon.datasets.nod.runs`
  derivatives/ciftify/sub-01/**/*.dlabel.nii                regions of one's own faces, places, ...     optional
  rois/*.dlabel.nii                                         labels of an atlas, or as
                                                            `brainrecon.datasets.grayordinate_regions` says     optional
  sub-01/ses-*/func/*_events.tsv                            what was shown when, see `brainrecon.datasets.nod.events`     optional
  stimuli/imagenet/n03131574/n03131574_8247.JPEG, ...       pictures                                    optional
  stimuli/coco/000000124419.jpg, ...                        pictures that are to be had from COCO       optional
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from brainrecon.datasets.arrays.finite_voxels import LEFT_OUT, FiniteVoxels
from brainrecon.datasets.chosen_subject import chosen_subject
from brainrecon.datasets.cifti_rows import CiftiRows
from brainrecon.datasets.dataset import DatasetOf, ExpectedFile, Option, register
from brainrecon.datasets.description import Description
from brainrecon.datasets.flat_maps import flat_map
from brainrecon.datasets.grayordinate_regions import chosen_places, label_files, names_beside, regions_of
from brainrecon.datasets.nod import fetching
from brainrecon.datasets.nod.events import clock_notes, clocks_in_words
from brainrecon.datasets.nod.runs import CIFTIFY, TASKS, find_runs, read_run, results_of
from brainrecon.datasets.nod.splits import split_of_trials, synset_of
from brainrecon.datasets.own_mask import OWN_MASK
from brainrecon.datasets.pictures_by_name import pictures_by_name
from brainrecon.datasets.responses import stored_responses
from brainrecon.datasets.spaces.grayordinates import Grayordinates
from brainrecon.datasets.split import Split
from brainrecon.datasets.stimulus_images import IMAGE_SIZE
from brainrecon.datasets.subject import Subject, stimulus_fingerprint, subject_name
from brainrecon.datasets.within_runs import ZScoredWithinRuns
from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError
from stages.ground.lazy_rows import ConcatenatedRows
from stages.ground.listing import visible

DESCRIPTION = Description(
    measured="Thirty people saw 57,000 pictures of ImageNet once each, 1,000 or 4,000 a person, and nine of them 120 pictures of "
    "COCO ten or eleven times, in 3 T fMRI; a response of the cortex to each.",
    available="OpenNeuro ds004496: responses on the fsLR 32k surface, events, raw data and ImageNet's pictures; those of COCO "
    "are to be had from COCO.",
    citation="Gong, Z., Zhou, M., Dai, Y., Wen, Y., Liu, Y. and Zhen, Z. (2023). A large-scale fMRI dataset for the visual "
    "processing of naturalistic scenes. Scientific Data 10, 559. https://doi.org/10.1038/s41597-023-02471-x",
    licence="CC0; pictures are under their owners' copyright",
    pictures="photographs",
)
CORTEX = "cortex"
_OF_SPLIT = {
    "coco": "the authors published no split: ImageNet is trained on and the repeated pictures of COCO are tested, which were "
    "shown for half a second, on another day",
    "imagenet": "the authors published no split: one picture of ImageNet in ten is tested, which was shown once",
    "categories": "the authors published no split: one category of ImageNet in ten is tested, of which none is trained on",
}


def subjects(path):
    """Names of the subjects found, sorted: ``sub-01``, ..."""
    return [folder.name for folder in visible(Path(path) / CIFTIFY, "sub-*") if folder.is_dir()]


def load(
    path,
    subject=None,
    roi=None,
    split=None,
    clock="auto",
    zscore=False,
    flat=None,
    image_size=None,
    pictures=True,
    mask=None,
):
    """Load one subject.

    Parameters
    ----------
    path : pathlib.Path
        The folder of ds004496.
    subject : str, optional
        ``sub-01``; by default the first that is there.
    roi : str, optional
        ``cortex`` (the default), ``left``, ``right``, and labels of an atlas that is put beside, ``V1 + V2``, with Glasser's also
        ``visual``. ``finite`` leaves out places without a value.
    split : {"coco", "imagenet", "categories"}, optional
        As of `brainrecon.datasets.nod.splits.split_of_trials`.
    clock : {"auto", "zero", "sixteen"}
        Of the events, as of `brainrecon.datasets.nod.events.read_events`.
    zscore : bool
        Z-score each place within each run of a split, by the run's own trials.
    flat : path, optional
        A folder with a flat map of each hemisphere.
    image_size : int, optional
        Cut and resize pictures to squares of so many pixels; needed where they differ in size.
    pictures : bool
        False to do without pictures, though they may be there.
    mask : brainrecon.datasets.own_mask.OwnMask, optional
        The region ``mask``.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        Responses are read from the files when they are asked for. Categories are WordNet's ids, of ImageNet's pictures alone.

    Raises
    ------
    InputError
        Files are absent, damaged or at odds with each other.
    """
    path, name = Path(path), _subject(Path(path), subject)
    for option, value in {"zscore": zscore, "pictures": pictures}.items():
        check(option, value, OneOf(True, False), "--option {name}={example}")
    runs = find_runs(path, name)
    if not runs:
        raise InputError(
            f"{results_of(path, name)} has no run such as ses-imagenet01_task-imagenet_run-1; fetch the results of {name}."
        )
    read = [read_run(run, clock) for run in runs]
    places = _places(read)
    rois = regions_of(_labels(path, name), places, len(places))
    ids = [one for run in read for one in run.stimulus_ids]
    tasks = [run.run.task for run in read for _ in run.stimulus_ids]
    numbers = _session_numbers(runs)
    sessions = np.array([numbers[run.run.session] for run in read for _ in run.stimulus_ids])
    of_run = np.array([run.run.number for run in read for _ in run.stimulus_ids])
    of_trials, way = split_of_trials(ids, tasks, split, results_of(path, name))
    stored = ConcatenatedRows([CiftiRows(run.maps) for run in read])
    of_splits = list(dict.fromkeys(["train", "test", *sorted(of_trials)]))
    rows = {one: np.flatnonzero([own == one for own in of_trials]) for one in of_splits}
    finite = FiniteVoxels(lambda: [(one, stored.take(own)) for one, own in rows.items()])
    chosen, inside = chosen_places(path, rois, roi, len(places), CORTEX, mask, finite, places)
    space = places.columns(np.flatnonzero(chosen))
    if flat is not None:
        left, right = places.surface.n_vertices
        space = space.with_flat_map(flat_map((left, right), flat))
    columns = stored if chosen.all() else stored.columns(chosen)
    bare = {one: Split(columns.take(own), [ids[row] for row in own]) for one, own in rows.items()}
    shown, notes = {}, ["pictures were left out as asked"]
    if pictures:
        names = {one: own.stimulus_ids.tolist() for one, own in bare.items()}
        shown, notes = pictures_by_name(
            names, _stimuli(path), lambda name: _stimuli(path)[not synset_of(name)], image_size
        )
    splits = {}
    for one, own in rows.items():
        betas = stored_responses(columns.take(own), results_of(path, name), remedy=LEFT_OUT)
        if zscore:
            betas = ZScoredWithinRuns(betas, np.stack([sessions[own], of_run[own]], axis=1))
        categories = [
            [synset] if (synset := synset_of(stimulus)) else [] for stimulus in bare[one].stimulus_ids.tolist()
        ]
        splits[one] = Split(
            betas,
            bare[one].trial_stimulus_ids,
            sessions[own],
            of_run[own],
            shown.get(one),
            categories=categories if any(categories) else None,
        )
    notes += [note for run in read for note in run.notes] + _gaps(runs) + [_OF_SPLIT[way]]
    clocks = {run.session: set() for run in runs}
    for run in read:
        if run.events is not None and run.events.clock:
            clocks[run.run.session].add(run.events.clock)
    return Subject(
        name=name,
        dataset="nod",
        source=f"nod:{path}",
        splits=splits,
        roi=roi or CORTEX,
        rois=inside,
        fingerprint=stimulus_fingerprint("nod", splits),
        notes=[*notes, *clock_notes(name, clocks), *finite.notes, "no captions in this dataset"],
        details={
            "betas": "ridge regression with a regressor per trial",
            "space": space.mesh,
            "split": way,
            "sessions": ", ".join(f"{number} {session}" for session, number in numbers.items()),
            "clocks": clocks_in_words(clocks),
        }
        | ({"units": "z-scores within runs"} if zscore else {}),
        space=space,
    )


def files(path, subject=None, pictures=True):
    """The files of one subject, or of all that are there."""
    path, rows = Path(path), []
    there = subjects(path)
    asked = [name for name in there if subject_name(name) == subject_name(subject)] if subject else there
    for name in asked or [fetching.subject_folder(subject or "sub-01")]:
        runs = find_runs(path, name)
        if not runs:
            run = results_of(path, name) / "ses-imagenet01_task-imagenet_run-1"
            file = run / f"{run.name}_beta.dscalar.nii"
            rows.append(ExpectedFile(file, "betas of a run, the first", address=fetching.address(path, file)))
        for run in runs:
            rows.append(ExpectedFile(run.betas, "betas of a run", address=fetching.address(path, run.betas)))
            there = fetching.address(path, run.labels)
            rows.append(ExpectedFile(run.labels, "a picture per map", optional=True, address=there))
            if run.events is not None:
                rows.append(ExpectedFile(run.events, "what was shown when", optional=True))
        for file in _labels(path, name):
            rows += [ExpectedFile(one, "regions", optional=True) for one in (file, *names_beside(file))]
    if pictures:
        there = (one for folder in _stimuli(path) for one in visible(folder, "**/*") if one.is_file())
        first = next(there, _stimuli(path)[0] / "n01440764" / "n01440764_10026.JPEG")
        rows.append(ExpectedFile(first, "a picture per stimulus, one of them", optional=True))
    return list({row.path: row for row in rows}.values())


def _subject(path, subject):
    nobody = f"give the folder of OpenNeuro ds004496, which has {CIFTIFY}/sub-01 and others"
    return chosen_subject(path, subjects(path), subject, nobody)


def _stimuli(path):
    """Where pictures of ImageNet and of COCO lie."""
    return [path / "stimuli" / task for task in TASKS]


def _labels(path, name):
    return [*label_files(path / "rois"), *label_files(path / CIFTIFY / name, below=True)]


def _places(read):
    """The places of all runs, which have to be the same."""
    first = read[0].maps
    for run in read[1:]:
        if run.maps.shape[1] != first.shape[1] or run.maps.places != first.places:
            raise InputError(
                f"{run.maps.path} has {run.maps.shape[1]:,} places, and other ones than {first.path} with {first.shape[1]:,}; "
                "take the runs of one release."
            )
    places = Grayordinates.of_axis(first.places, first.path)
    if places.surface is None:
        raise InputError(f"{first.path} has places below the cortex; expected the cortex alone: fetch it again.")
    return places


def _session_numbers(runs):
    """Session -> number: of ImageNet its own, of COCO the next."""
    numbers = {}
    for session in dict.fromkeys(run.session for run in runs):
        own = session.removeprefix("imagenet").removeprefix("coco")
        numbers[session] = int(own) if session.startswith("imagenet") and own else max(numbers.values(), default=0) + 1
    return numbers


def _gaps(runs):
    counts, notes = {}, []
    for run in runs:
        counts.setdefault(run.session, []).append(run.number)
    for session, own in counts.items():
        missing = sorted(set(range(1, max(own) + 1)) - set(own))
        if missing:
            notes.append(f"{session}: no betas of run {', '.join(map(str, missing))}")
    return [f"runs found: {', '.join(f'{session} {len(own)}' for session, own in counts.items())}", *notes]


register(
    "nod",
    DatasetOf(
        DESCRIPTION,
        subjects,
        load,
        files,
        (
            Option(
                "split",
                "coco: train on ImageNet, test on COCO; imagenet or categories: test one picture or category of ImageNet in "
                "ten; by default coco if it was measured",
            ),
            Option(
                "clock", "of the events, auto, zero or sixteen: whether onsets count the blank before; by default auto"
            ),
            Option("zscore", "true: z-score within each run, by the run's own trials of the split; by default false"),
            Option("flat", "a folder with a flat map of each hemisphere of fsLR 32k"),
            IMAGE_SIZE,
            Option("pictures", "false: without the pictures; by default true", for_files=True),
            OWN_MASK,
        ),
        fetching.download,
        fetching.TERMS,
    ),
)
