"""Scores of a run: gather what has been drawn, condition by condition, over all folds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from brainrecon.evaluation.protocol import load_protocol
from brainrecon.evaluation.scoring import Condition
from brainrecon.evaluation.scoring import evaluate as score
from brainrecon.methods.conditions import CONDITIONS, METHOD_ITSELF
from brainrecon.runs.folder import read_image
from stages.errors import InputError

PROTOCOL = "brainrecon-1"


def evaluate(run, protocol=None, progress=None):
    """Score every condition that has pictures and write `scores/<protocol>.csv` and `.json`.

    Parameters
    ----------
    run : brainrecon.runs.folder.Run
        Where it has folds, their pictures are scored together.
    protocol : str, optional
        Name of a protocol, or a TOML file of one; "brainrecon-1" where it is not given.
    progress : callable, optional

    Returns
    -------
    brainrecon.evaluation.scores.Scores

    Raises
    ------
    InputError
        No picture of the method itself is there, or the dataset has no stimuli to compare with.
    """
    stimulus_ids, shown, categories = shown_pictures(run)
    conditions = {}
    for name in CONDITIONS:
        ids, images = drawn_pictures(run, name)
        if ids:
            conditions[name] = Condition(ids, np.stack(images))
    if METHOD_ITSELF not in conditions:
        raise InputError(
            f"{run.folder} holds no reconstructed pictures; run `brainrecon reconstruct {run.folder}` first."
        )
    protocol = load_protocol(protocol or PROTOCOL)
    scores = score(
        shown,
        conditions,
        stimulus_ids=stimulus_ids,
        categories=categories,
        protocol=protocol,
        seed=run.config.seed,
        progress=progress,
    )
    scores = replace(scores, data=tested_data(run))
    folder = run.folder / "scores"
    scores.to_csv(folder / f"{protocol.name}.csv")
    scores.to_json(folder / f"{protocol.name}.json")
    return scores


def tested_data(run):
    """What tells the data of a run from another vintage of them, in plain values."""
    subject = run.parts[0].subject
    stimuli = sum(part.subject.test.n_stimuli for part in run.parts)
    # Which fold it was is no property of the whole.
    details = {name: value for name, value in subject.details.items() if name != "fold"}
    return {"dataset": subject.dataset, "subject": subject.name, "roi": subject.roi, "test_stimuli": stimuli} | details


def shown_pictures(run):
    """All test stimuli of all parts: (list of ids, uint8 (n, height, width, 3), categories of each or None)."""
    ids, images, categories = [], [], []
    for part in run.parts:
        test = part.subject.test
        if test.images is None:
            raise InputError(
                f"{part.config.data.source} has no stimuli to compare with; put them where `brainrecon data files` says."
            )
        ids += [str(name) for name in test.stimulus_ids]
        images.append(np.asarray(test.images[:]))
        categories += test.categories or []
    return ids, np.concatenate(images), categories if len(categories) == len(ids) else None


def drawn_pictures(run, condition):
    """What has been drawn under one condition: (list of stimulus ids, list of uint8 pictures), samples in a row."""
    ids, images = [], []
    for part in run.parts:
        for name in part.subject.test.stimulus_ids:
            for sample in range(run.config.samples if condition == METHOD_ITSELF else 1):
                path = part.image_path(condition, name, sample)
                if path.exists():
                    ids.append(str(name))
                    images.append(read_image(path))
    return ids, images
