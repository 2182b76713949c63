"""The files that make up one NSD subject, whether or not they are there."""

from brainrecon.datasets import coco
from brainrecon.datasets.dataset import ExpectedFile
from brainrecon.datasets.download import AbsentError, Remote, fetch
from brainrecon.datasets.nsd import design as nsd_design
from brainrecon.datasets.nsd import layout as nsd_layout
from brainrecon.datasets.nsd import rois as nsd_rois
from brainrecon.datasets.subject import subject_name
from stages.ground.errors import InputError
from stages.ground.progress import SILENT

BUCKET = "https://natural-scenes-dataset.s3.amazonaws.com/"
TERMS = (
    "NSD may be used by those who agreed to its Terms and Conditions and filled in its access form, both on "
    "naturalscenesdataset.org"
)
WHERE = "from the bucket natural-scenes-dataset, after its terms form"
COCO_WHERE = "from annotations_trainval2017.zip of cocodataset.org"


def files(path, subject=None, betas=None, space=None, betas_format=None):
    """List what one subject needs.

    Parameters
    ----------
    path : pathlib.Path
    subject : str, optional
        By default the first on disk, or subj01.
    betas, space, betas_format : str, optional
        As for `brainrecon.datasets.nsd.reader.load`; if nothing is on disk, b3, func1pt8mm and HDF5.

    Returns
    -------
    files : list of ExpectedFile
        Sessions are those of ``responses.tsv`` where that is present, else those
        found, else the first alone.

    Raises
    ------
    InputError
        An option is no name of NSD's.
    """
    layout = nsd_layout.Layout(path)
    subject = subject_name(subject or (nsd_layout.subjects_on_disk(layout) or ["subj01"])[0])
    space = _chosen("space", space, nsd_layout.SPACES, lambda name: (layout.betas_root / subject / name).is_dir())
    version = _chosen(
        "betas",
        nsd_layout.version_name(betas),
        tuple(nsd_layout.BETAS_VERSIONS),
        lambda name: layout.betas(subject, space, name).is_dir(),
    )
    file_format = _chosen(
        "format",
        betas_format,
        tuple(nsd_layout.SUFFIXES),
        lambda name: nsd_layout.session_files(layout, subject, space, version, name),
    )
    responses = layout.responses(subject)
    listed = [
        ExpectedFile(layout.design, f"which picture on which trial, {WHERE}"),
        ExpectedFile(layout.stimulus_table, f"COCO ids of the pictures, {WHERE}"),
        ExpectedFile(layout.stimuli, f"pictures, about 40 GB, {WHERE}"),
        ExpectedFile(responses, f"runs and behaviour, {WHERE}", optional=True),
    ]
    for atlas in nsd_rois.LABELS:
        volume = layout.roi(subject, space, atlas)
        listed.append(ExpectedFile(volume, f"regions, {WHERE}", optional=atlas != "nsdgeneral"))
        for side in ("lh", "rh"):
            volume = layout.roi(subject, space, f"{side}.{atlas}")
            listed.append(ExpectedFile(volume, f"regions of one hemisphere, {WHERE}", optional=True))
        listed.append(ExpectedFile(layout.labels(subject, atlas), f"names of regions, {WHERE}", optional=True))
    listed.append(ExpectedFile(layout.ncsnr(subject, space, version), f"noise ceiling, {WHERE}", optional=True))
    sessions = set(nsd_layout.session_files(layout, subject, space, version, file_format))
    if responses.is_file():
        sessions |= set(nsd_design.read_responses(responses)["SESSION"])
    for session in sorted(sessions or {1}):
        path = layout.betas_session(subject, space, version, session, file_format)
        listed.append(ExpectedFile(path, f"betas of session {session}, {WHERE}"))
    return listed + [ExpectedFile(file, f"{what}, {COCO_WHERE}", optional=True) for file, what in _annotations(layout)]


def _annotations(layout):
    """COCO's files, which do not come from NSD's bucket, and what each holds."""
    return [
        (layout.annotations(content, split), what)
        for content, what in {"captions": "captions", "instances": "categories"}.items()
        for split in nsd_layout.COCO_SPLITS
    ]


def _chosen(option, asked, allowed, is_there):
    """What was asked for, else the first that is there, else the first."""
    if asked is not None and asked not in allowed:
        raise InputError(f"'{asked}' is no {option} of NSD; allowed values are {', '.join(allowed)}.")
    return asked or next((name for name in allowed if is_there(name)), allowed[0])


def download(path, subject=None, betas=None, space=None, betas_format=None, progress=SILENT):
    """Fetch the files of one subject that are missing, NSD's from its bucket and COCO's annotations from COCO.

    Parameters
    ----------
    path : pathlib.Path
    subject, betas, space, betas_format : str, optional
        As for `files`.
    progress : callable, optional
        Called as ``progress(label, bytes_done, bytes_of_file)``.

    Returns
    -------
    absent : list of pathlib.Path
        Optional files that the bucket does not have.

    Raises
    ------
    InputError
        A file that is needed cannot be fetched, or the connection broke.
    """
    layout = nsd_layout.Layout(path)
    subject = subject_name(subject or (nsd_layout.subjects_on_disk(layout) or ["subj01"])[0])
    try:
        # First, because it says which sessions there are.
        _fetch(layout, layout.responses(subject), progress)
    except AbsentError:
        pass
    from_coco = {file for file, _ in _annotations(layout)}
    annotations, absent = [], []
    for expected in files(path, subject, betas, space, betas_format):
        if expected.path in from_coco:
            annotations.append(expected.path)
            continue
        try:
            _fetch(layout, expected.path, progress)
        except AbsentError:
            if not expected.optional:
                raise
            absent.append(expected.path)
    coco.fetch_annotations(annotations, progress)
    return absent


def _fetch(layout, file, progress):
    fetch(Remote(BUCKET + file.relative_to(layout.root).as_posix(), file), progress)
