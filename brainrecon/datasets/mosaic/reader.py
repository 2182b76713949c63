"""MOSAIC: responses of eight studies, prepared alike and put on one surface, a file per subject.

FOLDER/                                         or one file
  sub-01_NSD.hdf5, ...                          responses, see `brainrecon.datasets.mosaic.recording`; in subfolders too
  train_naturalistic.json, ...                  lists of trials, see `brainrecon.datasets.mosaic.splits`     optional
  rois/*.dlabel.nii                             labels of an atlas over the same places, or as
                                                `brainrecon.datasets.grayordinate_regions` says     optional
  stimuli/<stimulus>.png, ...                   pictures, in subfolders too                         optional
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from brainrecon.datasets.arrays.bids_events import PICTURES
from brainrecon.datasets.dataset import DatasetOf, ExpectedFile, Option, register
from brainrecon.datasets.description import Description
from brainrecon.datasets.flat_maps import flat_map
from brainrecon.datasets.grayordinate_regions import chosen_places, label_files, names_beside, regions_of
from brainrecon.datasets.mosaic import fetching
from brainrecon.datasets.mosaic.recording import (
    ENDINGS,
    TrialRows,
    find_places,
    places_without_value,
    read_ceiling,
    read_trials,
)
from brainrecon.datasets.mosaic.splits import list_files, split_trials
from brainrecon.datasets.own_mask import OWN_MASK
from brainrecon.datasets.pictures_by_name import pictures_by_name
from brainrecon.datasets.responses import stored_responses
from brainrecon.datasets.spaces.grayordinates import Grayordinates
from brainrecon.datasets.split import Split
from brainrecon.datasets.stimulus_images import IMAGE_SIZE
from brainrecon.datasets.subject import Subject, stimulus_fingerprint, subject_name
from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.reading.cifti_files import open_cifti
from weights.suggestions import did_you_mean

DESCRIPTION = Description(
    measured="93 people of eight studies (NSD, BOLD Moments, BOLD5000, THINGS, GOD, DIR, HAD, NOD) saw pictures or short films; "
    "responses to single trials by fMRIPrep and GLMsingle, z-scored, on the fsLR 32k surface and in voxels below it.",
    available="The public bucket mosaicfmri and mosaic.csail.mit.edu: responses, noise ceilings and lists of trials; stimuli are "
    "to be had from each study's authors.",
    citation="Lahner, B., Deb, M., Ratan Murty, N. A. and Oliva, A. (2025). MOSAIC: A scalable framework for fMRI dataset "
    "aggregation and modeling of human vision. bioRxiv. https://doi.org/10.64898/2025.11.28.690060; and the paper of the study "
    "that is used",
    licence="not stated where it was read; the terms of each study hold",
    pictures="photographs",
)
WHOLE = "all"


def subjects(path):
    """Names of the subjects found, sorted: ``sub-01_GOD``, ``sub-01_NSD``, ..."""
    return list(find_places(Path(path)))


def load(
    path,
    subject=None,
    roi=None,
    dataset=None,
    split="own",
    places=None,
    flat=None,
    image_size=None,
    mask=None,
):
    """Load one subject.

    Parameters
    ----------
    path : pathlib.Path
        A file of one subject, or a folder of several.
    subject : str, optional
        ``sub-01_NSD``, or ``sub-01`` if there is one of that name; by default the first.
    roi : str, optional
        ``all`` (the default): every place with a value on each trial. ``cortex``, ``left``, ``right``, ``subcortex``, and labels
        of an atlas that is put beside, ``V1 + V2``, with Glasser's also ``visual``.
    dataset : str, optional
        Of several studies in a folder the one that is wanted, ``NSD``.
    split : {"own", "mosaic"}
        As of `brainrecon.datasets.mosaic.splits.split_trials`.
    places : path, optional
        A CIFTI file of as many places, which tells where they are; by default a file of labels beside the data.
    flat : path, optional
        A folder with a flat map of each hemisphere; needs to be told the places.
    image_size : int, optional
        Cut and resize pictures to squares of so many pixels; needed where they differ in size.
    mask : brainrecon.datasets.own_mask.OwnMask, optional
        The region ``mask``, a value for each place of the file, or for each that has values.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        Responses are z-scores within sessions, by the training trials of the study's own split. They are read from the file when
        they are asked for. Sessions and runs are not told.

    Raises
    ------
    InputError
        Files are absent, damaged or at odds with each other.
    """
    path = Path(path)
    place, folder = _choose(path, subject, dataset), _beside(path)
    trials, n_places = read_trials(place)
    with_value = ~places_without_value(place, trials, n_places)
    kept = np.flatnonzero(with_value)
    space = _space(folder, places, n_places, place.file)
    if flat is not None:
        space = _with_flat_map(space, flat, place.file)
    rois = {name: inside[kept] for name, inside in regions_of(label_files(folder / "rois"), space, n_places).items()}
    rois = {name: inside for name, inside in rois.items() if inside.any()}
    space = None if space is None else space.columns(kept)
    if mask is not None and mask.values.shape == (n_places,) != (len(kept),) and (space is None or mask.places is None):
        mask = replace(mask, values=mask.values[kept])
    chosen, inside = chosen_places(place.file, rois, roi, len(kept), WHOLE, mask, space=space)
    of_splits, notes = split_trials(place, trials, split, folder)
    names = {one: list(dict.fromkeys(trial.stimulus_id for trial in own)) for one, own in of_splits.items()}
    stimuli = folder / "stimuli"
    pictures, told = pictures_by_name(names, [stimuli], lambda _: stimuli, image_size)
    splits = {
        one: Split(
            stored_responses(TrialRows(place, own, n_places, kept[chosen]), place.file, standardized="session"),
            [trial.stimulus_id for trial in own],
            images=pictures.get(one),
        )
        for one, own in of_splits.items()
    }
    ceiling = read_ceiling(place, n_places)
    notes = [*_notes(place, len(kept), n_places, space, ceiling, split), *notes, *told]
    return Subject(
        name=place.name,
        dataset="mosaic",
        source=f"mosaic:{path}",
        splits=splits,
        roi=roi or WHOLE,
        rois=inside,
        noise_ceiling=None if ceiling is None else np.nan_to_num(ceiling[kept[chosen]]),
        fingerprint=stimulus_fingerprint("mosaic", splits),
        notes=notes,
        details={
            "study": place.dataset,
            "betas": "GLMsingle, one per trial",
            "space": space.mesh if space is not None else "grayordinates",
            "units": "z-scores within sessions",
            "split": split,
        },
        space=None if space is None else space.columns(np.flatnonzero(chosen)),
    )


def files(path, subject=None, dataset=None):
    """The files of one subject, or of all that are there."""
    path = Path(path)
    there = find_places(path) if path.exists() else {}
    if path.suffix in ENDINGS and not there:
        return [_missing(path)]
    try:
        wanted = [_choose(path, subject, dataset)] if subject or dataset else list(there.values())
    except InputError:
        # Of what is yet to be fetched.
        return [_missing(path / f"{fetching.asked_for(subject, dataset)}.hdf5")]
    if not wanted:
        return [_missing(path / "sub-01_NSD.hdf5")]
    folder = _beside(path)
    rows = [ExpectedFile(place.file, f"responses of {place.name}") for place in wanted]
    rows += [
        ExpectedFile(file, f"MOSAIC's list for {name}", optional=True) for name, file in list_files(folder).items()
    ]
    for file in label_files(folder / "rois"):
        rows += [ExpectedFile(one, "regions", optional=True) for one in (file, *names_beside(file))]
    pictures = (file for file in visible(folder / "stimuli", "**/*") if file.suffix.lower() in PICTURES)
    rows.append(
        ExpectedFile(next(pictures, folder / "stimuli"), "a picture per stimulus, the first of them", optional=True)
    )
    return list({row.path: row for row in rows}.values())


def _missing(file):
    return ExpectedFile(file, "responses of a subject", address=f"{fetching.BUCKET}/{fetching.FOLDER}")


def _beside(path):
    """The folder in which lists, labels and pictures lie."""
    return path if path.is_dir() else path.parent


def _choose(path, subject, dataset):
    there = find_places(path)
    if not there:
        raise InputError(
            f"{path} holds no file such as sub-01_NSD.hdf5; give the folder of MOSAIC's files, or one of them."
        )
    found = {
        name: place for name, place in there.items() if dataset is None or place.dataset.lower() == str(dataset).lower()
    }
    if not found:
        studies = list(dict.fromkeys(place.dataset for place in there.values()))
        raise InputError(
            f"{path} has nothing of {dataset}; it has {', '.join(studies)}{did_you_mean(str(dataset), studies)}."
        )
    if subject is None:
        return next(iter(found.values()))
    if subject in found:
        return found[subject]
    same = [name for name in found if subject_name(name.partition("_")[0]) == subject_name(subject)]
    if len(same) > 1:
        raise InputError(f"{path} has several called {subject}: {', '.join(same)}; name one of them, or pass dataset.")
    if not same:
        raise InputError(f"{path} has no subject {subject}; it has {', '.join(found)}{did_you_mean(subject, found)}.")
    return found[same[0]]


def _space(folder, places, n_places, file):
    """Where the values are as a CIFTI file tells; None if none does."""
    if places is not None:
        given = Path(places).expanduser()
        maps = open_cifti(given, "name another")
        if maps.shape[1] != n_places:
            raise InputError(
                f"{given} has {maps.shape[1]:,} places but {file} {n_places:,}; name a CIFTI file of as many."
            )
        return Grayordinates.of_axis(maps.places, given)
    for one in label_files(folder / "rois"):
        if one.suffix != ".mat":
            maps = open_cifti(one)
            if maps.shape[1] == n_places:
                return Grayordinates.of_axis(maps.places, one)
    return None


def _with_flat_map(space, flat, file):
    if space is None:
        raise InputError(
            f"{file} does not say which vertices its values are of, which flat needs; pass places=FILE too."
        )
    surface = space.columns(np.flatnonzero(space.parts().get("cortex", np.zeros(len(space), dtype=bool)))).surface
    return space.with_flat_map(flat_map(surface.n_vertices, flat))


def _notes(place, n_kept, n_places, space, ceiling, split):
    notes = ["z-scored within sessions by the training trials of the study's own split; sessions and runs are not told"]
    if n_kept < n_places:
        notes.append(f"{n_places - n_kept:,} of {n_places:,} places have no value on some trial and were left out")
    if space is None:
        notes.append(
            "which vertices and voxels these are is not in the file: put labels of the same places into rois/, or name a CIFTI "
            "file, --option places=FILE"
        )
    if ceiling is None:
        notes.append(f"no noise ceiling of {place.name} in its file")
    elif split == "mosaic":
        notes.append("the noise ceiling is that of the study's own test stimuli")
    return notes


register(
    "mosaic",
    DatasetOf(
        DESCRIPTION,
        subjects,
        load,
        files,
        (
            Option("dataset", "of several studies in a folder the one that is wanted, such as NSD", for_files=True),
            Option("split", "own or mosaic: the study's own phases, or MOSAIC's lists beside the data; by default own"),
            Option(
                "places",
                "a CIFTI file of as many places, which tells where they are; by default labels beside the data",
            ),
            Option("flat", "a folder with a flat map of each hemisphere of fsLR 32k"),
            IMAGE_SIZE,
            OWN_MASK,
        ),
        fetching.download,
        fetching.TERMS,
    ),
)
