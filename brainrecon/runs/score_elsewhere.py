"""Pictures and captions that were made elsewhere, scored as those of a run are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from brainrecon.assembly.condition import MEAN_PICTURE, RECONSTRUCTION
from brainrecon.evaluation.judges import check_judges
from brainrecon.evaluation.protocols.protocol import DEFAULT, load_protocol
from brainrecon.evaluation.scoring import evaluate as score
from brainrecon.evaluation.tasks.task import Outputs
from brainrecon.features.store import FeatureStore
from brainrecon.runs.captions_elsewhere import captions_elsewhere
from brainrecon.runs.encoding import brain
from brainrecon.runs.pictures_elsewhere import pictures_elsewhere
from brainrecon.runs.score import data_of, in_folds, shown_of, write_scores
from stages.ground.errors import InputError
from stages.ground.lazy_rows import as_rows
from stages.ground.pictures import moments, to_uint8
from stages.ground.progress import SILENT
from weights.whole_files import write_text

CAPTIONS_PROTOCOL = "brainhub-2024"


def evaluate_pictures(
    images,
    subject,
    folder,
    protocol=None,
    *,
    pattern=None,
    row_ids=None,
    features=None,
    seed=0,
    device="cpu",
    progress=SILENT,
):
    """Score pictures from elsewhere and write `scores/` and `external.json` into `folder`.

    Parameters
    ----------
    images : path
        Folder or array of pictures, see `brainrecon.runs.pictures_elsewhere.pictures_elsewhere`.
    subject : brainrecon.datasets.subject.Subject, or list of them
        The data the pictures were reconstructed from. Of a list, one of each fold, all stimuli are tested, each in its fold;
        brain correlation is left out, and the mean training picture of each fold says what chance is.
    folder : path
        Where scores go; `<benchmark>/<method>/<subject>/<roi>` puts them into that benchmark's table.
    protocol : str, optional
    pattern : str, optional
        How the files of a folder are called.
    row_ids : sequence of str, optional
        The stimulus of each row of an array, or of a pattern with rows.
    features : path, optional
        Folder of the feature store, where encoding models are kept too.
    seed : int
        Of the bootstrap.
    device : str
    progress : callable, optional

    Returns
    -------
    brainrecon.evaluation.scores.scores.Scores
        Its notes say by what order rows were taken, what was left out, and what is missing.
    """
    parts = subject if isinstance(subject, list) else [subject]
    protocol, folder, subject = load_protocol(protocol or DEFAULT), Path(folder), parts[0]
    test = subject.test if len(parts) == 1 else _tested(parts)
    check_judges(protocol)
    _check_place(folder)
    if test.images is None:
        raise InputError(
            f"{subject.source} has no stimuli to compare with; put them where `brainrecon data files` says."
        )
    ids, pictures, told = pictures_elsewhere(images, test.stimulus_ids, pattern, row_ids)
    drawn = set(ids)
    rows = np.array([row for row, one in enumerate(test.stimulus_ids) if str(one) in drawn])
    own = (
        brain(subject, protocol, FeatureStore(features).folder, device, progress=progress) if len(parts) == 1 else None
    )
    scores = score(
        as_rows(test.images).take(rows),
        {RECONSTRUCTION: (ids, pictures)} | (_mean_pictures(parts, drawn) if len(parts) > 1 else {}),
        stimulus_ids=[str(one) for one in test.stimulus_ids[rows]],
        categories=[test.categories[row] for row in rows] if test.categories else None,
        protocol=protocol,
        brain=None if own is None else own.of_rows(rows),
        data=data_of(subject, len(rows)) | (in_folds(len(parts), len(test.stimulus_ids)) if len(parts) > 1 else {}),
        seed=seed,
        device=device,
        progress=progress,
    ).with_notes(*told)
    _write(scores, folder, {"name": Path(images).resolve().name, "images": len(pictures), "stimuli": len(rows)})
    return scores


def evaluate_captions(path, subject, folder, protocol=None, *, row_ids=None, seed=0, progress=SILENT):
    """Score captions from elsewhere against the true ones and write `scores/` and `external.json` into `folder`.

    No picture is looked at, and none needs to be there.

    Parameters
    ----------
    path : path
        File of captions, see `brainrecon.runs.captions_elsewhere.captions_elsewhere`.
    subject : brainrecon.datasets.subject.Subject
        The data that they were read from, with true captions of its test stimuli.
    folder : path
        Where scores go; `<benchmark>/<method>/<subject>/<roi>` puts them into that benchmark's table.
    protocol : str, optional
        With a table of captions; by default brainhub-2024.
    row_ids : sequence of str, optional
        The stimulus of each row of a file without ids.
    seed : int
        Of the bootstrap.
    progress : callable, optional

    Returns
    -------
    brainrecon.evaluation.scores.scores.Scores

    Raises
    ------
    InputError
        The data have no true captions, the protocol scores none, or the file does not fit.
    """
    protocol, folder, test = load_protocol(protocol or CAPTIONS_PROTOCOL), Path(folder), subject.test
    _check_place(folder)
    if test.captions is None:
        raise InputError(
            f"{subject.source} has no true captions of its test stimuli; put them where `brainrecon data files` says."
        )
    if not protocol.captions:
        raise InputError(
            f"Protocol {protocol.name} scores no captions; pass --protocol {CAPTIONS_PROTOCOL}, for example."
        )
    ids, captions, told = captions_elsewhere(path, test.stimulus_ids, row_ids)
    said = set(ids)
    rows = [row for row, one in enumerate(test.stimulus_ids) if str(one) in said]
    scores = score(
        None,
        {},
        stimulus_ids=[str(test.stimulus_ids[row]) for row in rows],
        captions=[test.captions[row] for row in rows],
        predicted_captions={RECONSTRUCTION: Outputs(ids, captions)},
        protocol=protocol,
        data=data_of(subject, len(rows)),
        seed=seed,
        progress=progress,
    ).with_notes(*told)
    _write(scores, folder, {"name": Path(path).resolve().stem, "captions": len(captions), "stimuli": len(rows)})
    return scores


def _check_place(folder):
    """Refuse the folder of a run."""
    if (folder / "config.toml").exists():
        raise InputError(
            f"{folder} is a run of the toolkit; name another folder with --out for what was made elsewhere."
        )


def _write(scores, folder, described):
    """Write scores and what they are of."""
    write_text(folder / "external.json", json.dumps(described, indent=1) + "\n")
    write_scores(scores, folder)


class _Tested(NamedTuple):
    """The test stimuli of all folds."""

    stimulus_ids: np.ndarray
    images: Any
    categories: list | None


def _tested(subjects):
    ids, shown, categories = shown_of(subjects)
    return _Tested(np.array(ids), shown, categories)


def _mean_pictures(subjects, wanted):
    """The mean training picture of each fold for the stimuli that it tests, those that are wanted."""
    ids, pictures = [], []
    for subject in subjects:
        mean = to_uint8(moments(subject.train.images)[0])
        own = [str(name) for name in subject.test.stimulus_ids if str(name) in wanted]
        ids += own
        pictures += [mean] * len(own)
    return {MEAN_PICTURE: (ids, np.stack(pictures))}
