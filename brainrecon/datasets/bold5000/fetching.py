"""What is fetched of BOLD5000: events and masks from OpenNeuro, responses and lists from figshare; no pictures."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

from brainrecon.datasets.bold5000.layout import MODELS, checked_model
from brainrecon.datasets.download import Remote, below, fetch_all
from brainrecon.datasets.nsd.sessions import read_sessions
from brainrecon.datasets.sources.bucket import openneuro_files
from brainrecon.datasets.sources.figshare import figshare_files
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from weights.whole_files import whole_file

ACCESSION = "ds001499"
FIRST_ARTICLE, SECOND_ARTICLE = 6459449, 14456124
"""Release 1 and release 2 at figshare, as public loaders name them."""
REGION_ARCHIVE, FIRST_ARCHIVE, STIMULI_ARCHIVE = (
    "BOLD5000_GLMsingle_ROI_betas.zip",
    "BOLD5000_ROIs.zip",
    "BOLD5000_Stimuli.zip",
)
MOST_MEMBERS = 100_000
TERMS = (
    "BOLD5000's fMRI data are CC0 (OpenNeuro ds001499, figshare 6459449 and 14456124); cite Chang et al. 2019. Its pictures are "
    "ImageNet's, COCO's and SUN's under their own terms and are not fetched: BOLD5000_Stimuli, from "
    "bold5000-dataset.github.io/website/download.html"
)


def wanted_sources(subject: str, betas: str, model: str, sessions) -> tuple[int, re.Pattern, re.Pattern | None]:
    """Article of figshare, which of its files, and which members of its archives hold a subject's responses."""
    if betas == "brain":
        numbers = read_sessions(sessions)
        session = r"\d+" if numbers is None else "0*(" + "|".join(map(str, numbers)) + ")"
        name = MODELS[checked_model(model)].replace("TYPEB", "TY[PB]EB")
        return SECOND_ARTICLE, re.compile(rf"{subject}_(GLMbetas-{name}_ses-{session}\.nii\.gz|imgnames\.txt)"), None
    if betas == "regions":
        return (
            SECOND_ARTICLE,
            re.compile(re.escape(REGION_ARCHIVE)),
            re.compile(rf"(.*/)?py/{subject}_GLMbetas-[\w-]+\.npy"),
        )
    members = re.compile(rf"(.*/)?({subject}/h5/{subject}_ROIs_{betas}\.h5|stim_lists/CSI\d+_stim_lists\.txt)")
    return FIRST_ARTICLE, re.compile(re.escape(FIRST_ARCHIVE)), members


def fetch_subject(path: Path, subject: str, betas: str, model: str, sessions, progress=SILENT) -> list[Path]:
    """Fetch what one subject needs; archives stay beside what is unpacked of them.

    Parameters
    ----------
    path : pathlib.Path
    subject : str
        Such as ``CSI1``.
    betas, model, sessions
        As `brainrecon.datasets.bold5000.reader.load` takes them.
    progress : callable, optional
        Called as ``progress(label, bytes_done, bytes_of_file)``.

    Returns
    -------
    absent : list of pathlib.Path
        Optional files that the sources do not have.

    Raises
    ------
    InputError
        A source does not answer, lacks what is needed, or an archive is damaged.
    """
    article, names, members = wanted_sources(subject, betas, model, sessions)
    listed = figshare_files(article, path)
    responses = [remote for remote in listed if names.fullmatch(remote.path.name)]
    if not responses:
        raise InputError(
            f"figshare article {article} lists {', '.join(remote.path.name for remote in listed[:8]) or 'nothing'} and so no "
            f"responses of {subject} (betas={betas}); fetch them by hand, from bold5000-dataset.github.io."
        )
    events = openneuro_files(ACCESSION, path, [f"sub-{subject}/ses-"], r".*_task-5000scenes_run-\d+_events\.tsv")
    masks = openneuro_files(ACCESSION, path, [f"derivatives/spm/sub-{subject}/"], r".*_mask-\w+\.nii\.gz")
    lists = [remote for remote in figshare_files(FIRST_ARTICLE, path) if remote.path.name == STIMULI_ARCHIVE]
    absent = fetch_all([*events, *masks, *lists, *responses], path, "one subject, --subject CSI1", progress)
    for remote in responses:
        if members is not None:
            _unpack(remote, members, path, needed=True)
    for remote in lists:
        # Names of pictures and of runs; its other files are pickled or MATLAB's.
        _unpack(remote, re.compile(r"(.*/)?(Stimuli_Presentation_Lists|Image_Labels|Scene_Stimuli)/[^\n]*\.txt"), path)
    return absent


def _unpack(remote: Remote, members: re.Pattern, path: Path, needed: bool = False) -> None:
    """Unpack those members of an archive that match and are not there yet."""
    try:
        with zipfile.ZipFile(remote.path) as archive:
            found = [one for one in archive.infolist()[:MOST_MEMBERS] if members.fullmatch(one.filename)]
            if needed and not found:
                raise InputError(
                    f"{remote.path} holds no responses of that subject; remove it and run the same command again."
                )
            for member in found:
                place = below(path, _in_place(member.filename), remote.path.name)
                if place.exists():
                    continue
                with archive.open(member) as source, whole_file(place) as partial, open(partial, "wb") as file:
                    shutil.copyfileobj(source, file)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(
            f"{remote.path} is no whole archive ({error}); remove it and run the same command again."
        ) from error


def _in_place(name: str) -> str:
    """A member's path below the folder, whatever folder an archive begins with.

    >>> _in_place("ROIs/CSI1/h5/CSI1_ROIs_TR34.h5"), _in_place("Image_Labels/imagenet_final_labels.txt")
    ('ROIs/CSI1/h5/CSI1_ROIs_TR34.h5', 'BOLD5000_Stimuli/Image_Labels/imagenet_final_labels.txt')
    """
    parts = name.split("/")
    for root, starts in (
        ("BOLD5000_GLMsingle_ROI_betas", ("py",)),
        ("BOLD5000_Stimuli", ("Stimuli_Presentation_Lists", "Image_Labels", "Scene_Stimuli")),
        ("ROIs", ("stim_lists",)),
    ):
        for start in starts:
            if start in parts:
                return "/".join([root, *parts[parts.index(start) :]])
    # Of release 1: a subject's own folder.
    return "/".join(["ROIs", *parts[-3:]])
