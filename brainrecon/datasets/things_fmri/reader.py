"""THINGS-data (Hebart et al. 2023): 8,740 pictures of 720 kinds of objects, and three people in 3 T fMRI.

Single-trial responses are read as tables (`brainrecon.datasets.things_fmri.table`) or as volumes
(`brainrecon.datasets.things_fmri.volumes`). Pictures come from THINGS itself:

FOLDER/
  betas_csv/                 tables: sub-01_ResponseData.h5, sub-01_StimulusMetadata.csv, sub-01_VoxelMetadata.csv
  betas_vol/sub-01/          volumes, a file per run
  brainmasks/                sub-01_space-T1w_brainmask.nii.gz
  rois/                      masks of regions, for volumes        optional
  images/                    dog/dog_12s.jpg, ...                 optional

8,640 pictures, twelve of each of 720 concepts, are for training and were shown once; 100 others are for testing and were shown
once in each of twelve sessions. Concepts of test pictures are also trained on, unless `zero_shot` is asked for.
"""

from __future__ import annotations

import re
from pathlib import Path

from brainrecon.datasets.chosen_subject import chosen_subject
from brainrecon.datasets.dataset import DatasetOf, ExpectedFile, Option, register
from brainrecon.datasets.description import Description
from brainrecon.datasets.own_mask import OWN_MASK
from brainrecon.datasets.stimulus_images import IMAGE_SIZE
from brainrecon.datasets.subject import Subject, stimulus_fingerprint, subject_name
from brainrecon.datasets.things_fmri import table, volumes
from brainrecon.datasets.things_fmri.fetching import SUBJECTS, TERMS, address_of, download
from brainrecon.datasets.things_fmri.pictures import WHERE, first_picture, pictures_of
from brainrecon.datasets.things_fmri.trials import splits_of, without_test_concepts
from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError

KIND = "things-fmri"
DESCRIPTION = Description(
    measured="Three people saw 8,640 photographs of 720 kinds of objects once each and 100 others twelve times, over twelve "
    "sessions of 3 T fMRI",
    available="Single-trial responses: figshare+ 20492835; raw: OpenNeuro ds004192; pictures: THINGS, OSF jum2f",
    citation="Hebart, M. N., Contier, O., Teichmann, L., Rockter, A. H., Zheng, C. Y., Kidder, A., Corriveau, A., "
    "Vaziri-Pashkam, M. and Baker, C. I. (2023). THINGS-data, a multimodal collection of large-scale datasets for "
    "investigating object representations in human brain and behavior. eLife 12, e82580. "
    "https://doi.org/10.7554/eLife.82580",
    licence="CC0; pictures of THINGS are under terms of their own",
    pictures="photographs",
)
FORMS = {"table": table, "volume": volumes}
UNITS = "standard deviations of a voxel's time series in its run"


def subjects(path):
    """Names of the subjects found, sorted: ``sub-01``, ..."""
    return sorted({name for form in FORMS.values() for name in form.subjects(Path(path))})


def load(path, subject=None, roi=None, form=None, zero_shot=False, images=None, image_size=None, mask=None):
    """Load one subject.

    Parameters
    ----------
    path : pathlib.Path
        The folder of ``betas_csv`` or ``betas_vol``.
    subject : str, optional
        ``sub-01``; by default the first that is there.
    roi : str, optional
        Regions by name, see `brainrecon.datasets.things_fmri.regions`. By default ``visual``, all that the study found by
        retinotopy and localisers, or all voxels where the files mark no such region.
    form : {"table", "volume"}, optional
        What is read; by default tables if they are there.
    zero_shot : bool
        Leave out training pictures of concepts that are tested.
    images : path, optional
        Folder of the concepts' folders; by default ``images`` in `path`, where that is.
    image_size : int, optional
        Cut and resize pictures to squares of so many pixels; needed where they differ in size, as THINGS' own do.
    mask : brainrecon.datasets.own_mask.OwnMask, optional
        The region ``mask``.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        Stimuli are named as their pictures, ``dog_12s``, and their categories are the concepts.

    Raises
    ------
    InputError
        Files are absent, damaged or at odds with each other, or something is asked for that is not there.
    """
    path = Path(path)
    check("zero_shot", zero_shot, OneOf(True, False), "--option {name}={example}")
    name = _subject(path, subject)
    form = _form(path, name, form)
    number = int(re.sub(r"\D", "", name) or 0)
    trials, responses, facts = FORMS[form].read(path, name, number, roi, mask)
    notes, places = facts.pop("notes"), range(len(trials))
    if zero_shot:
        places, n_trials, n_concepts = without_test_concepts(trials, path)
        notes.append(
            f"zero_shot: {n_trials:,} training trials of {n_concepts:,} concepts that are tested too are left out"
        )
    used = [trials[place] for place in places]
    splits, shown = splits_of(used, lambda chosen: responses.take([places[place] for place in chosen]), path)
    pictures, told = pictures_of(shown, path, images, image_size)
    for split, files in pictures.items():
        splits[split].images = files
    return Subject(
        name=name,
        dataset=KIND,
        source=f"{KIND}:{path}",
        splits=splits,
        fingerprint=stimulus_fingerprint(KIND, splits),
        notes=[*notes, *told, *_counted(splits)],
        pictures=DESCRIPTION.pictures,
        details={"form": form, "units": UNITS, "zero_shot": zero_shot},
        **facts,
    )


def _counted(splits):
    """What the reader of scores should know of the splits."""
    shared = {one for (one,) in splits["train"].categories} & {one for (one,) in splits["test"].categories}
    tested = {one for (one,) in splits["test"].categories}
    if not shared:
        return []
    return [
        f"{len(shared):,} of {len(tested):,} tested concepts have training pictures too; zero_shot=true leaves these out"
    ]


def files(path, subject=None, form=None):
    """The files of one subject, or of all that are there."""
    path, rows = Path(path), []
    _check_form(form)
    for name in _listed(path, subject):
        reading = FORMS[_form(path, name, form) if name in subjects(path) else form or "table"]
        rows += [
            ExpectedFile(file, what, optional, address=address_of(file))
            for file, what, optional in reading.files_of(path, name)
        ]
    picture = ExpectedFile(first_picture(path), f"pictures of THINGS, {WHERE}, the first of them", optional=True)
    return [*rows, picture]


def _listed(path, subject):
    """Names of the subjects whose files are asked for, there or to be fetched."""
    if subject is None:
        return subjects(path) or list(SUBJECTS[:1])
    known = [name for name in (*subjects(path), *SUBJECTS) if subject_name(name) == subject_name(subject)]
    return known[:1] or [_subject(path, subject)]


def _check_form(form):
    if form not in (None, *FORMS):
        raise InputError(f"form is {form!r}; expected {' or '.join(FORMS)}, or leave it out.")


def _form(path, name, form):
    _check_form(form)
    there = [key for key, one in FORMS.items() if name in one.subjects(path)]
    if form is not None and form not in there:
        raise InputError(f"{path} has {name} as {' and '.join(there)}, not as {form}; leave form={form} out.")
    return form or there[0]


def _subject(path, subject):
    if not path.is_dir():
        raise InputError(f"There is no folder {path}; give the folder that holds betas_csv or betas_vol.")
    nobody = (
        "expected betas_csv/sub-01_ResponseData.h5 or betas_vol/sub-01: give the folder that holds these, or fetch them with "
        f"brainrecon data download {KIND}:{path}"
    )
    return chosen_subject(path, subjects(path), subject, nobody)


register(
    KIND,
    DatasetOf(
        DESCRIPTION,
        subjects,
        load,
        files,
        (
            Option(
                "form",
                "table or volume: which form of the responses is read; by default tables if there",
                for_files=True,
            ),
            Option("zero_shot", "true: train on no concept that is tested; by default false"),
            Option("images", "folder of the pictures, with a folder for each concept; by default images in the path"),
            IMAGE_SIZE,
            OWN_MASK,
        ),
        download,
        TERMS,
    ),
)
