"""The files that make up one NSD subject, whether or not they are there."""

import numpy as np

from brainrecon.datasets import coco
from brainrecon.datasets.dataset import ExpectedFile
from brainrecon.datasets.download import AbsentError, Remote, check_room, fetch
from brainrecon.datasets.nsd import design as nsd_design
from brainrecon.datasets.nsd import layout as nsd_layout
from brainrecon.datasets.nsd import rois as nsd_rois
from brainrecon.datasets.nsd import sizes as nsd_sizes
from brainrecon.datasets.nsd.further.listing import further_listing
from brainrecon.datasets.nsd.sessions import PUBLISHED, read_sessions
from brainrecon.datasets.nsd.surface_regions import GLASSER
from brainrecon.datasets.spaces.surface_places import HEMISPHERES
from brainrecon.datasets.subject import subject_name
from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.progress import SILENT

BUCKET = "https://natural-scenes-dataset.s3.amazonaws.com/"
TERMS = (
    "NSD may be used by those who agreed to its Terms and Conditions and filled in its access form, both on "
    "naturalscenesdataset.org"
)


def files(path, subject=None, betas=None, space=None, betas_format=None, sessions=None, pictures=True, also=None):
    """List what one subject needs.

    Parameters
    ----------
    path : pathlib.Path
    subject : str, optional
        By default the first on disk, or subj01.
    betas, space, betas_format : str, optional
        As for `brainrecon.datasets.nsd.reader.load`; if nothing is on disk, b3, func1pt8mm and HDF5.
    sessions : str, int, list of int, optional
        As `brainrecon.datasets.nsd.sessions.read_sessions` takes them; by default those of ``responses.tsv`` if that is
        present, else all that were released.
    pictures : bool
        Whether the pictures are wanted.
    also : str or list of str, optional
        Further experiments, as for `brainrecon.datasets.nsd.reader.load`; by default those whose betas are on disk.

    Returns
    -------
    files : list of ExpectedFile
        With the size that each has at most, reckoned, and its address.

    Raises
    ------
    InputError
        An option is no name of NSD's.
    """
    check("pictures", pictures, OneOf(True, False), "--option {name}={example}")
    layout = nsd_layout.Layout(path)
    subject = subject_name(subject or (nsd_layout.subjects_on_disk(layout) or ["subj01"])[0])
    spaces = (*nsd_layout.SPACES, *nsd_layout.SURFACES, nsd_layout.STANDARD)
    space = _chosen("space", space, spaces, lambda name: (layout.betas_root / subject / name).is_dir())
    version = _chosen(
        "betas",
        nsd_layout.version_name(betas),
        tuple(nsd_layout.BETAS_VERSIONS) if space != nsd_layout.STANDARD else (nsd_layout.STANDARD_VERSION,),
        lambda name: layout.betas(subject, space, name).is_dir(),
    )
    file_format = _chosen(
        "format",
        betas_format,
        nsd_layout.formats_of(space),
        lambda name: nsd_layout.session_files(layout, subject, space, version, name),
    )
    listed = [
        _ours(layout, layout.design, "which picture on which trial"),
        _ours(layout, layout.stimulus_table, "COCO ids of the pictures"),
    ]
    if pictures:
        listed.append(_ours(layout, layout.stimuli, "pictures, of all subjects", largest=nsd_sizes.PICTURES))
    listed.append(_ours(layout, layout.responses(subject), "runs and behaviour", optional=True))
    of_space = _of_surface if space in nsd_layout.SURFACES else _of_volume
    of_space = _of_standard if space == nsd_layout.STANDARD else of_space
    there = nsd_layout.session_files(layout, subject, space, version, file_format)
    wanted = read_sessions(sessions) or sorted(_all_sessions(layout, subject) | set(there))
    listed += of_space(layout, subject, space, version, file_format, wanted)
    further = further_listing(layout, subject, space, version, file_format, also, pictures)
    listed += [_ours(layout, file.path, file.what, file.optional, file.largest) for file in further]
    return listed + [
        ExpectedFile(file, f"{what}, in COCO's archive", optional=True, address=coco.ANNOTATIONS)
        for file, what in _annotations(layout)
    ]


def _of_volume(layout, subject, space, version, file_format, sessions):
    """Regions, noise ceiling and betas of a volume."""
    labels, ceiling = (nsd_sizes.volume_bytes(subject, space, n_bytes) for n_bytes in (2, 4))
    for atlas in nsd_rois.LABELS:
        volume = layout.roi(subject, space, atlas)
        yield _ours(layout, volume, "regions", atlas != "nsdgeneral", labels)
        for side in HEMISPHERES:
            volume = layout.roi(subject, space, f"{side}.{atlas}")
            yield _ours(layout, volume, "regions of one hemisphere", True, labels)
        yield _ours(layout, layout.labels(subject, atlas), "names of regions", optional=True)
    yield _ours(layout, layout.ncsnr(subject, space, version), "noise ceiling", True, ceiling)
    for session in sessions:
        file = layout.betas_session(subject, space, version, session, file_format)
        yield _ours(layout, file, f"betas of session {session}", largest=nsd_sizes.session_bytes(subject, space))


def _of_standard(layout, subject, space, version, file_format, sessions):
    """Betas in MNI and which voxels they hold; regions and a noise ceiling only if somebody made them, as NSD has none."""
    own = {
        layout.roi(subject, space, atlas): "regions, made by you"
        for atlas in ("nsdgeneral", "prf-visualrois", "streams")
    }
    own |= {path: "regions, made by you" for path in visible(layout.rois(subject, space), "*.nii.gz")}
    own |= {
        layout.labels(subject, path.name.removesuffix(".nii.gz")): "names of regions"
        for path in own
        if path.name[2] != "."
    }
    own[layout.ncsnr(subject, space, version)] = "noise ceiling, made by you"
    yield from (ExpectedFile(path, f"{what}: NSD has none in {space}", True) for path, what in own.items())
    mask, betas = nsd_sizes.volume_bytes(subject, space, 4), nsd_sizes.session_bytes(subject, space)
    for session in sessions:
        yield _ours(layout, layout.valid(subject, version, session), f"which voxels session {session} has", True, mask)
        file = layout.betas_session(subject, space, version, session, file_format)
        yield _ours(layout, file, f"betas of session {session}", largest=betas)


def _of_surface(layout, subject, space, version, file_format, sessions):
    """Regions, noise ceiling and betas of both hemispheres."""
    owner = nsd_layout.label_owner(subject, space)
    # Of fsaverage there are only those that are not drawn on each subject.
    for atlas in (GLASSER, *(("nsdgeneral", "streams") if owner == "fsaverage" else nsd_rois.LABELS)):
        for side in HEMISPHERES:
            size = nsd_sizes.hemisphere_bytes(subject, space, side, 4)
            yield _ours(layout, layout.surface_atlas(owner, side, atlas), "regions", atlas != GLASSER, size)
        yield _ours(layout, layout.labels(owner, atlas), "names of regions", optional=True)
    for side in HEMISPHERES:
        yield _ours(layout, layout.surface_labels(owner) / f"{side}.cortex.label", "all but the medial wall", True)
    for side, file in zip(HEMISPHERES, layout.ncsnr(subject, space, version)):
        yield _ours(layout, file, "noise ceiling", True, nsd_sizes.hemisphere_bytes(subject, space, side, 4))
    per_vertex = nsd_sizes.TRIALS_PER_SESSION * (4 if file_format == "mgh" else 2)
    for session in sessions:
        files = layout.betas_session(subject, space, version, session, file_format)
        for side, file in zip(HEMISPHERES, files):
            size = nsd_sizes.hemisphere_bytes(subject, space, side, per_vertex)
            yield _ours(layout, file, f"betas of session {session}", largest=size)


def _ours(layout, file, what, optional=False, largest=None):
    """A file of NSD's own bucket."""
    return ExpectedFile(file, what, optional, largest, _address(layout, file))


def _address(layout, file):
    return BUCKET + file.relative_to(layout.root).as_posix()


def _all_sessions(layout, subject):
    """Numbers of all sessions of a subject: as its responses say, else as the design plans and NSD released."""
    if layout.responses(subject).is_file():
        return set(nsd_design.read_responses(layout.responses(subject))["SESSION"].tolist())
    n_sessions = PUBLISHED.get(subject, 1)
    if layout.design.is_file():
        planned = nsd_design.read_design(layout.design).trials_per_run
        n_sessions = n_sessions if planned is None else min(n_sessions, len(np.atleast_1d(planned)))
    return set(range(1, n_sessions + 1))


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


def download(
    path,
    subject=None,
    betas=None,
    space=None,
    betas_format=None,
    sessions=None,
    pictures=True,
    also=None,
    progress=SILENT,
):
    """Fetch the files of one subject that are missing, NSD's from its bucket and COCO's annotations from COCO.

    Parameters
    ----------
    path : pathlib.Path
    subject, betas, space, betas_format, sessions, pictures, also
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
    annotations, absent, known = [], [], set()
    expected_files = files(path, subject, betas, space, betas_format, sessions, pictures, also)
    check_room(path, expected_files, "--option sessions=1-10, or without the pictures, --option pictures=false")
    while expected_files:
        for expected in expected_files:
            if expected.path in from_coco:
                annotations.append(expected.path)
                continue
            if not expected.address:
                continue
            try:
                _fetch(layout, expected.path, progress)
            except AbsentError:
                if not expected.optional:
                    raise
                absent.append(expected.path)
        # What was fetched may name more files, such as the pictures of imagery's targets.
        known |= {expected.path for expected in expected_files}
        listed = files(path, subject, betas, space, betas_format, sessions, pictures, also)
        expected_files = [expected for expected in listed if expected.path not in known]
    coco.fetch_annotations(annotations, progress)
    return absent


def _fetch(layout, file, progress):
    fetch(Remote(_address(layout, file), file), progress)
