"""The files that make up one NSD subject, whether or not they are there."""

from brainrecon.datasets import nsd_design, nsd_layout, nsd_rois
from stages.errors import InputError

WHERE = "from the bucket natural-scenes-dataset, after its terms form"
COCO_WHERE = "from annotations_trainval2017.zip of cocodataset.org"


def files(path, subject=None, betas=None, space=None, format=None):
    """List what one subject needs.

    Parameters
    ----------
    path : pathlib.Path
    subject : str, optional
        By default the first on disk, or subj01.
    betas, space, format : str, optional
        As for `brainrecon.datasets.nsd.load`; where nothing is on disk, b3, func1pt8mm and HDF5.

    Returns
    -------
    files : list of (pathlib.Path, str)
        Each file and what it is. Sessions are those of ``responses.tsv`` where that is present, else those
        found, else the first alone.

    Raises
    ------
    InputError
        An option is no name of NSD's.
    """
    layout = nsd_layout.Layout(path)
    subject = nsd_layout.subject_name(subject or (nsd_layout.subjects_on_disk(layout) or ["subj01"])[0])
    space = _chosen("space", space, nsd_layout.SPACES, lambda name: (layout.betas_root / subject / name).is_dir())
    version = _chosen(
        "betas",
        nsd_layout.version_name(betas),
        tuple(nsd_layout.BETAS_VERSIONS),
        lambda name: layout.betas(subject, space, name).is_dir(),
    )
    file_format = _chosen(
        "format",
        format,
        tuple(nsd_layout.SUFFIXES),
        lambda name: nsd_layout.session_files(layout, subject, space, version, name),
    )
    responses = layout.responses(subject)
    listed = [
        (layout.design, f"which picture on which trial, {WHERE}"),
        (layout.stimulus_table, f"COCO ids of the pictures, {WHERE}"),
        (layout.stimuli, f"pictures, about 40 GB, {WHERE}"),
        (responses, f"runs and behaviour (optional), {WHERE}"),
    ]
    for atlas in nsd_rois.LABELS:
        needed = "" if atlas == "nsdgeneral" else " (optional)"
        listed.append((layout.roi(subject, space, atlas), f"regions{needed}, {WHERE}"))
        listed.append((layout.labels(subject, atlas), f"names of regions (optional), {WHERE}"))
    listed.append((layout.ncsnr(subject, space, version), f"noise ceiling (optional), {WHERE}"))
    sessions = set(nsd_layout.session_files(layout, subject, space, version, file_format))
    if responses.is_file():
        sessions |= set(nsd_design.read_responses(responses)["SESSION"])
    for session in sorted(sessions or {1}):
        path = layout.betas_session(subject, space, version, session, file_format)
        listed.append((path, f"betas of session {session}, {WHERE}"))
    for content, what in {"captions": "captions", "instances": "categories"}.items():
        for split in nsd_layout.COCO_SPLITS:
            listed.append((layout.annotations(content, split), f"{what} (optional), {COCO_WHERE}"))
    return listed


def _chosen(option, asked, allowed, is_there):
    """What was asked for, else the first that is there, else the first."""
    if asked is not None and asked not in allowed:
        raise InputError(f"'{asked}' is no {option} of NSD; allowed values are {', '.join(allowed)}.")
    return asked or next((name for name in allowed if is_there(name)), allowed[0])
