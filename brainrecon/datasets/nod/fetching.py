"""Fetching a subject of NOD from OpenNeuro's bucket: betas, labels, events, and the pictures that its labels name."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from brainrecon.datasets.download import Remote, fetch_all
from brainrecon.datasets.nod.runs import find_runs
from brainrecon.datasets.sources import bucket
from brainrecon.datasets.subject import subject_name
from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError
from stages.ground.progress import SILENT

ACCESSION = "ds004496"
TERMS = "NOD is CC0 at OpenNeuro; cite the paper; pictures of ImageNet are not for commercial use (memory)"
LESS = "--option pictures=false"
_PICTURE = re.compile(r"(n\d{8})_\d+\.\w+?(?=n\d{8}_|\s|$)")


def download(path, subject=None, progress=SILENT, pictures=True):
    """Fetch what is missing of one subject.

    Parameters
    ----------
    path : pathlib.Path
    subject : str, optional
        By default ``sub-01``.
    progress : callable, optional
        Called as ``progress(label, bytes_done, bytes_of_file)``.
    pictures : bool
        False to do without ImageNet's pictures.

    Returns
    -------
    absent : list of pathlib.Path
        Pictures that the bucket does not have.

    Raises
    ------
    InputError
        The bucket does not answer, has no such subject, or the connection broke.
    """
    check("pictures", pictures, OneOf(True, False), "--option {name}={example}")
    path, name = Path(path), subject_folder(subject or "sub-01")
    results, raw = f"derivatives/ciftify/{name}/", f"{name}/ses-"
    session = r"ses-(imagenet\d*|coco)"
    wanted = (
        rf"{results}results/{session}_task-\w+_run-\d+/[^/]+_(beta\.dscalar\.nii|label\.txt)"
        rf"|{results}.+\.dlabel\.nii|{raw[:-4]}{session}/func/[^/]+_events\.tsv"
    )
    remotes = bucket.openneuro_files(ACCESSION, path, [results, raw], re.compile(wanted, re.IGNORECASE))
    if not any(remote.path.name.endswith("_beta.dscalar.nii") for remote in remotes):
        raise InputError(f"{ACCESSION} lists no betas of {name}; name one of its subjects, sub-01 to sub-30.")
    absent = fetch_all(remotes, path, LESS, progress)
    if not pictures:
        return absent
    return absent + fetch_all(picture_files(path, name), path, LESS, progress)


def address(path: Path, file: Path) -> str:
    """Where a file of the dataset is fetched from.

    >>> address(Path("nod"), Path("nod/sub-01/ses-coco/func/a_events.tsv"))
    'https://s3.amazonaws.com/openneuro.org/ds004496/sub-01/ses-coco/func/a_events.tsv'
    """
    return f"{bucket.OPENNEURO}/{ACCESSION}/{quote(file.relative_to(path).as_posix())}"


def subject_folder(subject: str) -> str:
    """How the release calls a subject.

    >>> subject_folder("subj01"), subject_folder("7"), subject_folder("sub-30")
    ('sub-01', 'sub-07', 'sub-30')
    """
    found = re.fullmatch(r"subj(\d+)", subject_name(subject))
    if not found:
        raise InputError(f"'{subject}' is no subject of NOD; write sub-01, for example.")
    return f"sub-{int(found[1]):02d}"


def picture_files(path: Path, subject: str) -> list[Remote]:
    """The pictures of ImageNet that a subject's labels name, where the bucket has them."""
    remotes = {}
    for run in find_runs(path, subject):
        if run.task == "imagenet" and run.labels.is_file():
            for found in _PICTURE.finditer(run.labels.read_text(encoding="utf-8", errors="replace")):
                place = f"stimuli/imagenet/{found[1]}/{found[0]}"
                file = path.joinpath(*place.split("/"))
                remotes[place] = Remote(address(path, file), file, optional=True)
    return list(remotes.values())
