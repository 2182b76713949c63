"""LAION-fMRI (Hebart laboratory, 2026): five people saw some 6,200 pictures each, most of them four times, in 7 T fMRI.

FOLDER/
  derivatives/glmsingle-tedana/sub-01/
    ses-01/func/*_desc-SingletrialBetas_statmap.nii.gz  (x, y, z, trials), GLMsingle's betas; unpacked (.nii) is read faster
    ses-01/func/*_desc-SingletrialBetas_trials.tsv      session, run, beta_index (from 0), label (the picture's file name)
    *_stat-rsquare_desc-R2mean_statmap.nii.gz           above 0 in voxels that a model was fitted in: the brain
    *_desc-Noiseceiling12rep_statmap.nii.gz             percent, of averages over 12 presentations; 4rep too    optional
  derivatives/rois/sub-01/face/
    sub-01_space-T1w_res-1pt8_label-FFA-1_mask.nii.gz   a region; its folder is its category                    optional
  splits/sub-01/tau.json, splits/shared/random_0.json   from the package laion_fmri, for split=tau and others   optional
  stimuli/task-images_stimuli.h5                        images: the bytes of each picture's file                optional
  stimuli/task-images_metadata.csv                      image_name, in the order of the pictures                optional
  stimuli/task-images_desc-captions.csv                 image_name, caption_idx, source, caption                optional
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from brainrecon.datasets.arrays.finite_voxels import FiniteVoxels
from brainrecon.datasets.dataset import DatasetOf, Option, register
from brainrecon.datasets.description import Description
from brainrecon.datasets.laion_fmri.layout import POOLED, Layout, choose_subject, sessions_there, subjects
from brainrecon.datasets.laion_fmri.listing import REPEATS, TERMS, download, files
from brainrecon.datasets.laion_fmri.regions import check_grid, choose, read_brain, read_regions
from brainrecon.datasets.laion_fmri.splits import check_choice, parts_of
from brainrecon.datasets.laion_fmri.stimuli import Stimuli
from brainrecon.datasets.laion_fmri.trials import kind_of, read_trials
from brainrecon.datasets.noise_ceiling import noise_ceiling
from brainrecon.datasets.nsd.betas import SessionBetas, SessionStore, read_session
from brainrecon.datasets.nsd.sessions import chosen_sessions, in_words
from brainrecon.datasets.own_mask import OWN_MASK
from brainrecon.datasets.spaces.voxel_grid import VoxelGrid
from brainrecon.datasets.split import Split, first_presentation_order
from brainrecon.datasets.subject import Subject, stimulus_fingerprint
from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError
from stages.ground.reading.nifti_files import open_nifti, read_nifti

DESCRIPTION = Description(
    measured="Five people saw 6,204 pictures each, 1,492 of them the same for all, 4 or 12 times over 30 sessions of 7 T fMRI",
    available="public bucket laion-fmri: responses, regions, captions; the pictures after an agreement at "
    "laion-fmri.hebartlab.com/request",
    citation="Zerbe, Roth, Mell, Herholz, Knapen and Hebart (2026), LAION-fMRI, talk at VSS, as a paper is in preparation; "
    "its betas: Prince et al. (2022), eLife 11:e77599, doi 10.7554/eLife.77599",
    licence="CC0 1.0; the pictures are under an agreement of their own: not to be passed on, not for commercial use, not for "
    "training general-purpose models",
    pictures="photographs",
)
FULL = 99.9
"""Percent that a noise ceiling counts at most: at 100 there would be no noise at all, and no way to other numbers of repeats."""


def load(
    path,
    subject=None,
    roi=None,
    split="shared",
    number=None,
    pool=None,
    sessions=None,
    zscore=False,
    image_size=None,
    mask=None,
):
    """Load one subject.

    Parameters
    ----------
    path : pathlib.Path
        The folder that holds ``derivatives`` and ``stimuli``.
    subject : str, optional
        ``sub-01``; by default the first that is there.
    roi : str, optional
        Regions, see `brainrecon.datasets.laion_fmri.regions`; by default ``laion-general``, or ``brain`` if there is none.
    split : {"shared", "ood", "tau", "random", "cluster"}
        What is trained on and tested, see `brainrecon.datasets.laion_fmri.splits`.
    number : int, optional
        Which of five parts of ``random`` and ``cluster`` is tested, 0 by default.
    pool : {"own", "shared"}, optional
        Pictures that the split is of: all of the subject's, the default, or those that everybody saw.
    sessions : str, int, list of int, optional
        As `brainrecon.datasets.nsd.sessions.read_sessions` takes them; by default all that are there.
    zscore : bool
        Z-score each voxel within each session, by mean and standard deviation over the session's training trials.
    image_size : int, optional
        Resize pictures to squares of so many pixels.
    mask : brainrecon.datasets.own_mask.OwnMask, optional
        The region ``mask``: (x, y, z), or a value for each voxel of ``brain``.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        Splits train, test and, unless it is tested or was not shown, ood: pictures out of the distribution of photographs, with
        their kind as category. Stimuli are named as their files. Voxels are in C order of the (x, y, z) volume. Betas are read
        session by session when asked for.

    Raises
    ------
    InputError
        Files are absent, damaged or at odds with each other.
    """
    check("zscore", zscore, OneOf(True, False), "--option {name}={example}")
    part = check_choice(split, number, pool)
    layout, pool = Layout(Path(path)), pool or "own"
    name = choose_subject(path, subject)
    there = sessions_there(layout, name)
    betas = chosen_sessions(there, sessions, layout.subject(name))
    brain, affine = read_brain(layout.r2(name))
    grid = VoxelGrid.of_mask(brain, affine)
    trials = []
    for session, file in betas.items():
        check_grid(file, grid, layout.r2(name), "betas")
        trials += read_trials(layout.trials(name, session), session, open_nifti(file).shape[3], file)
    labels = list(dict.fromkeys(trial.label for trial in trials))
    sides = parts_of(layout, name, labels, split, part, pool)
    parts = {side: [trial for trial in trials if sides.get(trial.label) == side] for side in ("train", "test", "ood")}
    if empty := next((side for side in ("train", "test") if not parts[side]), None):
        raise InputError(
            f"The sessions {in_words(betas)} of {name} below {path} have no {empty} trial of split={split}; add more of its "
            "sessions, or pass another split."
        )
    used = [one for side in parts.values() for one in side]
    regions, notes = read_regions(layout, name, grid)
    finite = FiniteVoxels(lambda: _as_stored(betas, brain, parts))
    roi, chosen, rois = choose(f"{name} below {path}", regions, roi, grid, finite, mask)
    voxels = brain.copy()
    voxels[brain] = chosen
    reference = _training_rows(parts["train"], betas, name) if zscore else None
    store, stimuli = SessionStore(betas, voxels, reference, scale=1), Stimuli(layout, image_size)
    splits = {side: _split(store, own, stimuli) for side, own in parts.items() if own}
    ceiling, told = _noise_ceiling(layout, name, grid, splits["test"].repeats)
    left_out = len(trials) - len(used)
    about = [f"sessions {in_words(betas)} are used" + ("" if sessions is None else ", as was asked")]
    if left_out:
        about.append(
            f"{left_out:,} of {len(trials):,} trials show pictures that are in no part of split={split}: left out"
        )
    details = {"split": split, "sessions": list(betas), "n_trials": len(used)}
    details |= {"number": part} if split in ("random", "cluster") else {}
    details |= {"pool": POOLED if pool == POOLED else name} if split != "shared" else {}
    details["units"] = "z-scores within sessions" if zscore else "betas of GLMsingle after ridge regression"
    return Subject(
        name=name,
        dataset="laion-fmri",
        source=f"laion-fmri:{path}",
        splits=splits,
        roi=roi,
        rois=rois,
        noise_ceiling=None if ceiling is None else ceiling[chosen],
        fingerprint=stimulus_fingerprint("laion-fmri", splits),
        notes=[*about, *notes, *told, *stimuli.notes, *finite.notes],
        pictures=DESCRIPTION.pictures,
        details=details,
        space=grid.columns(chosen),
    )


def _split(store, trials, stimuli):
    labels = [trial.label for trial in trials]
    shown = first_presentation_order(labels)[0].tolist()
    kinds = [kind_of(name) for name in shown]
    return Split(
        betas=SessionBetas(store, [trial.session for trial in trials], [trial.row for trial in trials]),
        trial_stimulus_ids=labels,
        sessions=[trial.session for trial in trials],
        runs=[trial.run for trial in trials],
        images=stimuli.images(shown),
        captions=stimuli.captions(shown),
        # Photographs were drawn from no categories.
        categories=[[kind] for kind in kinds] if all(kinds) else None,
    )


def _as_stored(betas, brain, parts):
    """Voxels of the brain on the trials that are used, session by session, as they are stored."""
    for session, file in betas.items():
        values = read_session(file, brain)
        for side, trials in parts.items():
            if rows := [trial.row for trial in trials if trial.session == session]:
                yield side, values[rows]


def _training_rows(trials, betas, subject):
    """Rows of each session's training trials; an InputError if there are fewer than two."""
    rows = {session: np.array(sorted(one.row for one in trials if one.session == session)) for session in betas}
    for session, own in rows.items():
        if len(own) < 2:
            raise InputError(
                f"Session {session} of {subject} has {len(own)} training trials; z-scoring within sessions needs 2 or more: "
                "leave zscore out, or the session."
            )
    return rows


def _noise_ceiling(layout, subject, grid, repeats):
    """Percent of each voxel of the brain that can be explained of the test patterns, or None; and notes."""
    there = next((count for count in REPEATS if layout.ceiling(subject, count).is_file()), None)
    if there is None:
        return None, [f"no noise ceiling: {layout.ceiling(subject, REPEATS[0]).name} is absent"]
    path = layout.ceiling(subject, there)
    check_grid(path, grid, layout.r2(subject))
    percent = np.asarray(read_nifti(path)[tuple(grid.indices.T)], dtype=np.float64)
    known = np.isfinite(percent)
    if ((percent < 0) | (percent > 100))[known].any():
        low, high = percent[known].min(), percent[known].max()
        raise InputError(f"{path} holds values from {low:g} to {high:g}; expected percent, 0 to 100: fetch it again.")
    share = np.where(known, np.minimum(percent, FULL), 0.0) / 100
    # NC = s² / (s² + 1/n), solved for the ratio s of signal to noise.
    ratio = np.sqrt(share / (1 - share) / there)
    told = f"the noise ceiling is that of {there} presentations, reckoned for as many as the test pictures have"
    return noise_ceiling(ratio, repeats), [told]


OPTIONS = (
    Option(
        "split", "shared, ood, tau, random or cluster; by default shared, what everybody saw is tested", for_files=True
    ),
    Option("number", "of split=random and cluster, which of five parts is tested: 0 to 4; by default 0"),
    Option(
        "pool",
        "own or shared: pictures that the split is of, all of the subject's or what everybody saw; by default own",
    ),
    Option("sessions", "such as 1-30 or 1,2,5-8; by default all that are there", for_files=True),
    Option("zscore", "true: z-score voxels within sessions, by training trials; by default false"),
    Option("image_size", "resize pictures to squares of so many pixels; they have 1,000"),
    OWN_MASK,
)
register("laion-fmri", DatasetOf(DESCRIPTION, subjects, load, files, OPTIONS, download, TERMS))
