"""Faces that four people saw (VanRullen and Reddy 2019): OpenNeuro ds001761.

FOLDER/
  sub-01/ses-01/func/*_task-faces_*_events.tsv    what was shown when
  stimuli/sub01/run01/F0031.jpg, ...              the pictures, F or M by gender
  stimuli/ImageNames2Celeba.txt                   which picture of CelebA each of them is
  derivatives/sub-01/*.mat                        the authors' results, see `brainrecon.datasets.faces.derivatives`
  betas/sub-01/*_betas.nii.gz                     betas of your own, see `brainrecon.datasets.faces.own_betas`

Responses to single trials were not published. With the authors' results there are responses to the test faces and of imagery,
and an encoding model in place of responses to the training faces. With betas of your own all responses are those, the results
are not read, and there is no imagery: the events do not say what was imagined.
"""

from __future__ import annotations

from pathlib import Path

from brainrecon.datasets.chosen_subject import chosen_subject
from brainrecon.datasets.dataset import DatasetOf, ExpectedFile, Option, register
from brainrecon.datasets.description import Description
from brainrecon.datasets.faces import own_betas
from brainrecon.datasets.faces.derivatives import files_of, folder_of, read_results
from brainrecon.datasets.faces.fetching import TERMS, dashed, download, with_addresses
from brainrecon.datasets.faces.presentations import NAMES, events_files, read_presentations
from brainrecon.datasets.faces.shown import in_rows_of_results, shown_split
from brainrecon.datasets.own_mask import OWN_MASK, chosen_voxels
from brainrecon.datasets.responses import AbsentResponses, ResponsesOf
from brainrecon.datasets.subject import Subject, stimulus_fingerprint, subject_name
from stages.ground.errors import InputError
from stages.ground.listing import visible

DESCRIPTION = Description(
    measured="Four people saw some 8,000 faces of CelebA once each, saw 20 test faces often, and imagined faces, in 3 T fMRI",
    available="OpenNeuro ds001761: time series, events, pictures, the authors' encoding models and patterns of the test faces",
    citation="VanRullen, R. and Reddy, L. (2019). Reconstructing faces from fMRI patterns using deep generative neural networks. "
    "Communications Biology 2, 193. https://doi.org/10.1038/s42003-019-0438-y",
    licence="CC0; pictures of CelebA are not for commercial use (memory)",
    pictures="photographs",
)
WHOLE = "vaegan"
RESPONSES = ("own", "published")
TARGET = "face_latents"


def subjects(path):
    """Names of the subjects found, sorted: ``sub-01``, ..."""
    return [folder.name for folder in visible(Path(path), "sub-*") if folder.is_dir()]


def load(path, subject=None, roi=None, responses=None, order=None, mask=None):
    """Load one subject.

    Parameters
    ----------
    path : pathlib.Path
        The folder of ds001761.
    subject : str, optional
        ``sub-01``; by default the first that is there.
    roi : str, optional
        Of the authors' regions ``vaegan`` (the default), ``vaegan_occipital``, ``vaegan_temporal`` and
        ``vaegan_frontoparietal``; of betas of your own the masks beside them, and by default all voxels.
    responses : {"own", "published"}, optional
        Betas of your own, or the authors' results; by default the former if they are there.
    order : path, optional
        Of the authors' results: a text file with the name of a test face on each line, in the order of their patterns. By
        default men and then women, each by the names of their files, which is not established.
    mask : brainrecon.datasets.own_mask.OwnMask, optional
        The region ``mask``.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        Stimuli are named as in CelebA, and their categories are their genders. Faces that were shown again at once, which had
        to be told by a button, are left out.

    Raises
    ------
    InputError
        Files are absent, damaged or at odds with each other, or something is asked for that is not there.
    """
    path, name = Path(path), _subject(Path(path), subject)
    if responses not in (None, *RESPONSES):
        raise InputError(f"responses is {responses!r}; expected {' or '.join(RESPONSES)}, or leave it out.")
    presentations = read_presentations(path, name)
    has_own = own_betas.folder_of(path, name).is_dir()
    if responses == "own" and not has_own:
        raise InputError(
            f"{own_betas.folder_of(path, name)} is no folder; put betas of your own there, or leave responses=own out."
        )
    if has_own and responses != "published":
        if order is not None:
            raise InputError(
                f"order says which rows of the authors' patterns are which faces, but betas of {path} are your own; leave it "
                "out, or pass responses=published."
            )
        return own_betas.load(path, name, roi, presentations, mask)
    return _published(path, name, roi, [one for rows in presentations.values() for one in rows], order, mask)


def _published(path, name, roi, presentations, order, mask):
    results = read_results(path, name)
    n_voxels = results.weights.shape[1]
    chosen, rois = chosen_voxels(path, results.rois, roi, n_voxels, WHOLE, mask)
    train = [one for one in presentations if one.split == "train" and not one.is_repeat]
    tested = in_rows_of_results(path, presentations, len(results.test), order)
    why = (
        f"Responses of {name} to single training faces were not published; learn from the authors' encoding model, as "
        f"vanrullen2019-faces does, or put betas of your own into {path / 'betas' / name}."
    )
    splits = {
        "train": shown_split(path, AbsentResponses((len(train), int(chosen.sum())), why), train),
        "test": shown_split(path, ResponsesOf(results.test[:, chosen]), tested, runs=False),
    }
    notes = [
        "responses to training faces were not published: there is an encoding model in their place",
        "a response to each test face, estimated from all its presentations; no noise ceiling, no captions",
    ]
    if order is None:
        notes.append("that rows of patterns are men and then women, by the names of their files, is not established")
    if results.imagery is not None:
        imagined = [tested[row] for row in results.imagined]
        splits["imagery"] = shown_split(path, ResponsesOf(results.imagery[:, chosen]), imagined, runs=False)
    if results.n_absent:
        notes.append(f"{results.n_absent:,} of {n_voxels:,} voxels lack a response, which is taken for 0")
    return Subject(
        name=name,
        dataset="faces",
        source=f"faces:{path}",
        splits=splits,
        roi=roi or WHOLE,
        rois=rois,
        fingerprint=stimulus_fingerprint("faces", splits),
        notes=notes,
        details={"responses": "published"},
        encoding_models={TARGET: results.weights[:, chosen]},
    )


def files(path, subject=None):
    """The files of one subject, or of all that are there."""
    path = Path(path)
    rows = [ExpectedFile(path / "stimuli" / NAMES, "which picture of CelebA each file is")]
    for name in [_there_or_not(path, subject)] if subject else subjects(path) or ["sub-01"]:
        runs = events_files(path, name) or [
            path / name / "ses-01" / "func" / f"{name}_ses-01_task-faces_run-01_events.tsv"
        ]
        rows += [ExpectedFile(file, "what was shown when") for file in runs]
        has_own = own_betas.folder_of(path, name).is_dir()
        if has_own:
            rows += own_betas.files(path, name)
        if not has_own or folder_of(path, name).is_dir():
            rows += [ExpectedFile(file, what, optional or has_own) for file, what, optional in files_of(path, name)]
        pictures = visible(path / "stimuli", f"{name.replace('-', '')}/run*/*.jpg")
        missing = path / "stimuli" / name.replace("-", "") / "run01" / "F0001.jpg"
        rows.append(ExpectedFile((pictures or [missing])[0], "a picture per stimulus, the first of them"))
    return with_addresses(path, rows)


def _there_or_not(path, subject):
    """A subject's name, also of one that is still to be fetched."""
    return next((name for name in subjects(path) if subject_name(name) == subject_name(subject)), None) or dashed(
        subject
    )


def _subject(path, subject):
    return chosen_subject(
        path, subjects(path), subject, "give the folder of OpenNeuro ds001761, which has sub-01, sub-02, ..."
    )


register(
    "faces",
    DatasetOf(
        DESCRIPTION,
        subjects,
        load,
        files,
        (
            Option(
                "responses",
                "own or published: betas of your own, or the authors' results; by default the former if there",
            ),
            Option(
                "order",
                "a text file with the names of the test faces, a line each, in the order of the authors' patterns",
            ),
            OWN_MASK,
        ),
        download,
        TERMS,
    ),
)
