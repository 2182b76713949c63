"""The splits that NSD's further experiments add to a subject."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from brainrecon.datasets.nsd import betas as nsd_betas
from brainrecon.datasets.nsd.further import imagery, synthetic
from brainrecon.datasets.nsd.further.middle_pictures import LUMINANCES, digest
from brainrecon.datasets.nsd.further.responses import SCALES, SESSION, FurtherStore, further_responses
from brainrecon.datasets.split import Split
from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError

SPLITS = {"synthetic": ("synthetic",), "imagery": ("imagery", "imagery_vision", "imagery_concepts")}
"""Experiment -> the splits that it adds."""


@dataclass
class Further:
    """What the further experiments of a subject are.

    Attributes
    ----------
    splits : dict of str to brainrecon.datasets.split.Split
    notes : list of str
    facts : dict
        What identifies the stimuli beside their ids.
    """

    splits: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)
    facts: dict = field(default_factory=dict)


def check_options(scale, luminance):
    """Raise an InputError if an option has no such value."""
    check("also_scale", scale, OneOf(*SCALES), "--option {name}={example}")
    check("luminance", luminance, OneOf(*LUMINANCES), "--option {name}={example}")


def read_further(layout, subject, files, core, images, wanted, zscore, scale, luminance):
    """Read the further experiments of a subject.

    Parameters
    ----------
    layout : brainrecon.datasets.nsd.layout.Layout
    subject : str
    files : dict of str to path or HemisphereFiles
        Experiment to its betas.
    core : brainrecon.datasets.nsd.betas.SessionStore
        Of the core's sessions, with their training trials as reference rows wherever statistics are needed.
    images : array of shape (n, height, width, 3), or None
        The core's training pictures.
    wanted : bool
        Whether pictures are wanted.
    zscore : bool
    scale : {"training", "session", "run"}
    luminance : {"matched", "stored"}

    Returns
    -------
    further : Further

    Raises
    ------
    InputError
        Files are absent, damaged or at odds with each other.
    """
    further = Further()
    for name, betas in files.items():
        n_betas, shape = nsd_betas.session_shape(betas)
        if tuple(shape) != core.mask.shape:
            raise InputError(
                f"{betas} has volumes or vertices {tuple(shape)} but the regions have {core.mask.shape}; take both from the same "
                "subject and space."
            )
        own = nsd_betas.SessionStore({SESSION: betas}, core.mask, scale=core.scale)
        size = None if images is None or not wanted else images.shape[1:3]
        if wanted and size is None:
            further.notes.append(f"no pictures of {name}, as their size is that of the core's, which are absent")
        read = {"synthetic": _read_synthetic, "imagery": _read_imagery}[name]
        read(further, layout, subject, betas, n_betas, (own, core, zscore, scale), size, luminance)
    if files and scale != "training":
        over = "session" if scale == "session" else "run"
        further.notes.append(
            f"{', '.join(files)}: each voxel has the mean and spread of the training trials by its own over the {over}, which is "
            "transductive: all that is tested decides how each response is read"
        )
    return further


def _read_synthetic(further, layout, subject, betas, n_betas, stores, size, luminance):
    trials = synthetic.read_trials(layout, betas, n_betas)
    if trials.runs is None and stores[-1] == "run":
        raise InputError(
            "also_scale is 'run' but the design of synthetic does not say which trial is of which run; write session or training."
        )
    store = FurtherStore(*stores, np.ones(n_betas) if trials.runs is None else trials.runs)
    first = np.sort(np.unique(trials.pictures, return_index=True)[1])
    shown, found = trials.pictures[first], None
    if size is not None:
        found, note = synthetic.read_pictures(layout, subject, shown, size, luminance)
        further.notes += [note] if note else []
    further.splits["synthetic"] = Split(
        betas=further_responses(store, np.arange(n_betas)),
        trial_stimulus_ids=[synthetic.stimulus_id(picture) for picture in trials.pictures.tolist()],
        sessions=np.full(n_betas, SESSION),
        runs=trials.runs,
        images=found,
        categories=synthetic.read_classes(layout, shown),
    )
    further.facts |= {"synthetic": digest(found), "luminance": luminance if found is not None else ""}
    further.notes.append(f"synthetic: {n_betas:,} trials of {len(shown):,} pictures, one further session")


def _read_imagery(further, layout, subject, betas, n_betas, stores, size, luminance):
    del luminance  # The pictures are photographs of the core and drawings shown on its screen.
    trials = imagery.with_targets(layout, imagery.read_trials(layout, subject, betas, n_betas))
    store = FurtherStore(*stores, imagery.runs_of_rows(trials, n_betas))
    wanted = {
        "imagery": (trials["task"] == "img") & trials["is_picture"],
        "imagery_vision": (trials["task"] == "vis") & trials["is_picture"],
        "imagery_concepts": (trials["task"] == "img") & ~trials["is_picture"],
    }
    told, used = [], 0
    for name, chosen in wanted.items():
        rows = trials[chosen]
        if not len(rows):
            continue
        stimuli = rows.drop_duplicates("stimulus")
        words, found = name == "imagery_concepts", None
        if size is not None and not words:
            found, note = imagery.read_pictures(layout, stimuli, size)
            further.notes += [note] if note and note not in further.notes else []
            further.facts[name] = digest(found)
        said = [[target] for target in stimuli["target"]] if words else None
        further.splits[name] = Split(
            betas=further_responses(store, rows["row"].to_numpy(dtype=int)),
            trial_stimulus_ids=rows["stimulus"].tolist(),
            sessions=np.full(len(rows), SESSION),
            runs=rows["run"].to_numpy(dtype=int),
            images=found,
            captions=said,
            categories=said,
        )
        told.append(f"{len(rows):,} trials of {len(stimuli):,} targets in {name}")
        used += len(rows)
    if not told:
        raise InputError(f"The runs of imagery of {subject} hold no trial of vision or imagery; add their tables.")
    further.notes.append(
        f"imagery: {', '.join(told)}; the other {n_betas - used:,} betas, of attention and of seen examples of words, are left "
        "out"
    )
