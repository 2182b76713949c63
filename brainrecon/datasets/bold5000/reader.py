"""BOLD5000: scenes, COCO and ImageNet pictures that four people saw (Chang et al. 2019).

FOLDER/
  BOLD5000_GLMsingle_ROI_betas/py/                       release 2 in regions (figshare 14456124)
    CSI1_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_allses_LHEarlyVis.npy, ...
  CSI1_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-01.nii.gz, ...  release 2, whole brain (the same article)
  ROIs/CSI1/h5/CSI1_ROIs_TR34.h5                         release 1 in regions (figshare 6459449); or mat/
  BOLD5000_Stimuli/
    Stimuli_Presentation_Lists/CSI1/CSI1_sess01/*.txt    what was shown, a list for each run
    Scene_Stimuli/repeated_stimuli_113_list.txt          pictures that were repeated: they are tested
    Scene_Stimuli/Presented_Stimuli/{COCO,ImageNet,Scene}/   the pictures             optional
    Image_Labels/imagenet_final_labels.txt               words of ImageNet's classes  optional
  sub-CSI1/ses-01/func/*_task-5000scenes_run-01_events.tsv   what was shown, in place of lists (ds001499)
  CSI1_imgnames.txt, ROIs/stim_lists/CSI01_stim_lists.txt    or one list without runs
  derivatives/spm/sub-CSI1/sub-CSI1_mask-LHEarlyVis.nii.gz   where the regions are (ds001499)  optional
  annotations/captions_train2014.json, instances_train2014.json   COCO's                   optional
  captions.json                                          captions of your own: stimulus id -> list  optional

A row of the responses is a line of the lists: sessions in order, runs in order, lines in order.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from brainrecon.datasets.arrays.finite_voxels import FiniteVoxels
from brainrecon.datasets.arrays.parts import choose_voxels, rois_inside
from brainrecon.datasets.bold5000 import layout
from brainrecon.datasets.bold5000.choices import checked, named_subject
from brainrecon.datasets.bold5000.fetching import TERMS, fetch_subject
from brainrecon.datasets.bold5000.listing import files
from brainrecon.datasets.bold5000.presentations import read_shown
from brainrecon.datasets.bold5000.recording import Recording, record_brain, record_regions
from brainrecon.datasets.bold5000.region_responses import mean_and_spread
from brainrecon.datasets.bold5000.splits import betas_of, chosen_trials, make_splits, training_rows
from brainrecon.datasets.bold5000.tested import tested_pictures
from brainrecon.datasets.dataset import DatasetOf, Option, register
from brainrecon.datasets.description import Description
from brainrecon.datasets.own_mask import OWN_MASK
from brainrecon.datasets.responses import ResponsesOf, as_responses
from brainrecon.datasets.stimulus_images import IMAGE_SIZE
from brainrecon.datasets.subject import Subject, stimulus_fingerprint
from brainrecon.datasets.voxels import MASK
from stages.ground.errors import InputError
from stages.ground.lazy_rows import ConcatenatedRows, MappedRows
from stages.ground.progress import SILENT
from weights.suggestions import did_you_mean

DESCRIPTION = Description(
    measured="Four people saw up to 4,916 photographs of scenes, of COCO and of ImageNet, 113 of them several times, over 9 to "
    "15 sessions of 3 T fMRI",
    available="figshare 14456124 (release 2: betas) and 6459449 (release 1), OpenNeuro ds001499 (raw, events, masks); the "
    "pictures from bold5000-dataset.github.io",
    citation="Chang, N., Pyles, J. A., Marcus, A., Gupta, A., Tarr, M. J. and Aminoff, E. M. (2019). BOLD5000, a public fMRI "
    "dataset while viewing 5000 visual images. Scientific Data 6, 49. https://doi.org/10.1038/s41597-019-0052-3",
    licence="CC0; the pictures are ImageNet's, COCO's and SUN's, under their own terms",
    pictures="photographs",
)


def subjects(path):
    """Names of the subjects whose responses are there, sorted: ``CSI1``, ..."""
    return layout.subjects_on_disk(Path(path))


def load(
    path,
    subject=None,
    roi=None,
    betas=None,
    model="D",
    sessions=None,
    source=None,
    scaling=None,
    pictures=True,
    images=None,
    image_size=None,
    voxel_order=None,
    mask=None,
):
    """Load one subject.

    Parameters
    ----------
    path : pathlib.Path
    subject : str, optional
        ``CSI1``; by default the first that is there.
    roi : str, optional
        Regions of a hemisphere, ``LHPPA``, or of both, ``PPA``. By default all regions that are there; of the whole brain without
        masks ``all``.
    betas : str, optional
        ``regions`` or ``brain`` of release 2, or a volume of release 1: ``TR34``, ``TR1``, ... By default the first of these that
        is there.
    model : {"D", "A", "B", "C"}
        Of release 2: the betas' letter, ``D`` for TYPED-FITHRF-GLMDENOISE-RR.
    sessions : str, int or list of int, optional
        Such as ``1-9``; by default all.
    source : {"imagenet", "coco", "scenes"}, optional
        Only pictures from there.
    scaling : {"session", "global"}, optional
        ``session``: voxels are z-scored within sessions, by training trials. ``global``: one mean and standard deviation of all
        voxels and trials, tested ones too, as MinD-Vis does: it leaks. By default responses are as stored.
    pictures : bool
        Whether pictures are read.
    images, image_size : path, int, optional
        Folder of the pictures, and the side of the square that they are cut and resized to.
    voxel_order : {"C", "F"}, optional
        How a mask's voxels became the columns of a region; by default as betas of the whole brain show, else ``C``.
    mask : brainrecon.datasets.own_mask.OwnMask, optional
        The region ``mask``.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        Test holds the pictures that were repeated, train all others.

    Raises
    ------
    InputError
        Files are absent, damaged or at odds with each other, or something is asked for that is not there.
    """
    path, name = Path(path), _subject(Path(path), subject)
    betas, model = checked(path, name, betas, model, scaling, pictures, voxel_order)
    shown = read_shown(path, name)
    tested, notes = tested_pictures(path, name, shown)
    recording = (
        record_brain(path, name, model, shown, sessions)
        if betas == "brain"
        else record_regions(path, name, betas, model, shown, sessions, voxel_order)
    )
    trials = chosen_trials(shown, tested, recording.available, source)
    chosen, rois, finite = _voxels(path, recording, roi, mask, trials)
    reference = training_rows(trials["train"], recording.rows, shown.where) if scaling == "session" else None
    store = recording.store(chosen, reference)
    responses = {split: betas_of(store, recording.rows, own) for split, own in trials.items()}
    if scaling == "global":
        responses, told = _scaled_by_all(responses)
        notes.append(told)
    splits, more = make_splits(path, shown, recording, trials, responses, pictures, images, image_size)
    return Subject(
        name=name,
        dataset="bold5000",
        source=f"bold5000:{path}",
        splits=splits,
        roi=roi or recording.default_roi,
        rois=rois,
        fingerprint=stimulus_fingerprint("bold5000", splits),
        notes=[recording.what, *recording.notes, *notes, *more, *finite.notes],
        details={
            "betas": recording.what,
            "scaling": scaling or "as stored",
            "n_trials": sum(split.n_trials for split in splits.values()),
        }
        | ({"sessions": sorted(map(int, recording.rows))} if recording.knows_sessions else {})
        | ({"source": source} if source else {}),
        space=None if recording.space is None else recording.space.columns(chosen),
    )


def _voxels(path, recording: Recording, roi, mask, trials):
    """Chosen voxels, the regions within them, and the region ``finite``."""
    masks = recording.masks
    if mask is not None:
        masks = masks | {MASK: mask.in_columns(recording.n_voxels, space=recording.space)}
    finite = FiniteVoxels(lambda: recording.stored(trials))
    chosen = choose_voxels(path, masks, roi or recording.default_roi, recording.n_voxels, finite)
    rois = rois_inside(masks, chosen)
    return np.ones(recording.n_voxels, dtype=bool) if chosen is None else chosen, rois, finite


def _scaled_by_all(responses):
    """Responses less one mean, over one standard deviation, of all of them; and what must be said of it."""
    mean, spread = mean_and_spread(ConcatenatedRows(list(responses.values())))
    if not spread:
        raise InputError(
            "All responses are one and the same value, so that scaling=global has nothing to scale; leave it out."
        )
    scaled = {
        name: ResponsesOf(MappedRows(as_responses(own), lambda values: ((values - mean) / spread).astype(np.float32)))
        for name, own in responses.items()
    }
    return scaled, (
        f"scaling=global leaks: mean {mean:.4g} and standard deviation {spread:.4g} are those of all trials, test included"
    )


def download(path, subject=None, betas=None, model="D", sessions=None, progress=SILENT):
    """Fetch what a subject needs but pictures; see `brainrecon.datasets.bold5000.fetching.fetch_subject`."""
    path, name = Path(path), named_subject(subject or (subjects(path) or ["CSI1"])[0])
    kind, letter = checked(path, name, betas, model, None, True, None)
    return fetch_subject(path, name, kind, letter, sessions, progress)


def _subject(path, subject):
    names = subjects(path)
    if not names:
        raise InputError(
            f"{path} has no responses such as BOLD5000_GLMsingle_ROI_betas/py/CSI1_GLMbetas-..._LHEarlyVis.npy; fetch them with "
            f"brainrecon data download bold5000:{path}, or from figshare 14456124."
        )
    if subject is None:
        return names[0]
    number = re.fullmatch(r"\D*0*(\d+)", str(subject).strip())
    name = named_subject(subject) if number else str(subject)
    if name not in names:
        raise InputError(
            f"{path} has no subject {subject}; it has {', '.join(names)}{did_you_mean(str(subject), names)}."
        )
    return name


register(
    "bold5000",
    DatasetOf(
        DESCRIPTION,
        subjects,
        load,
        files,
        (
            Option(
                "betas",
                "regions or brain of release 2, or volumes of release 1, TR34, TR1 to TR5; by default the first that is there",
                for_files=True,
            ),
            Option("model", "A, B, C or D: the model of release 2's betas; by default D", for_files=True),
            Option("sessions", "such as 1-9 or 1,2,5; by default all", for_files=True),
            Option("source", "imagenet, coco or scenes: only pictures from there; by default all"),
            Option(
                "scaling",
                "session: z-score voxels within sessions, by training trials; global: one mean and spread of all trials, which "
                "leaks; by default as stored",
            ),
            Option("pictures", "false: without the pictures; by default true"),
            Option("images", "folder of the pictures; by default that of the archive"),
            IMAGE_SIZE,
            Option(
                "voxel_order",
                "C or F: how a mask's voxels became columns; by default as whole-brain betas show, else C",
            ),
            OWN_MASK,
        ),
        download,
        TERMS,
    ),
)
