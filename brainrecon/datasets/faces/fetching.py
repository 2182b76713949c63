"""Fetching what is read of ds001761: a subject's events, pictures and results, not the raw runs."""

from __future__ import annotations

import re
from pathlib import Path

from brainrecon.datasets.dataset import ExpectedFile
from brainrecon.datasets.download import fetch_all
from brainrecon.datasets.faces.presentations import NAMES
from brainrecon.datasets.sources import bucket
from brainrecon.datasets.subject import subject_name
from stages.ground.errors import InputError
from stages.ground.progress import SILENT, Progress

ACCESSION = "ds001761"
TERMS = (
    "OpenNeuro ds001761 is in the public domain (CC0); its pictures are of CelebA, which is for research that earns nothing "
    "(memory); cite the paper"
)
# W_VAEGAN.mat and others of the whole brain are large, and nobody here reads them.
RESULTS = r"(ROI_VAEGAN\w*|test_patterns|test_images|img_pattern|img_image)\.mat"
OPTIONAL = ("test_images.mat", "img_pattern.mat", "img_image.mat")


def address_of(path: Path, file: Path) -> str:
    """Where a file below the folder is fetched from."""
    return f"{bucket.OPENNEURO}/{ACCESSION}/{file.relative_to(path).as_posix()}"


def with_addresses(path: Path, files: list[ExpectedFile]) -> list[ExpectedFile]:
    """Files and where each is fetched from, but those that a user made."""
    own = Path(path) / "betas"
    return [
        file if file.path.is_relative_to(own) else file._replace(address=address_of(Path(path), file.path))
        for file in files
    ]


def dashed(subject: str) -> str:
    """``sub-01`` for "subj01", "sub-01", "1" or 1; an InputError for what is no number."""
    number = re.fullmatch(r"subj(\d+)", subject_name(subject))
    if number is None:
        raise InputError(f"'{subject}' is no subject of {ACCESSION}; write sub-01, for example.")
    return f"sub-{int(number[1]):02d}"


def download(path: Path, subject: str | None = None, progress: Progress = SILENT) -> list[Path]:
    """Fetch what is read of one subject.

    Parameters
    ----------
    path : pathlib.Path
    subject : str, optional
        By default ``sub-01``.
    progress : callable, optional
        Called as ``progress(label, bytes_done, bytes_of_file)``.

    Returns
    -------
    absent : list of pathlib.Path
        Optional files that the bucket does not list.

    Raises
    ------
    InputError
        The bucket does not answer, lists nothing of this subject, or a file cannot be fetched.
    """
    path, name = Path(path), dashed(subject or "sub-01")
    pictures = f"stimuli/{name.replace('-', '')}"
    wanted = {
        "events of faces": (f"{name}/", rf"{name}/.*task-faces.*_events\.tsv"),
        "names of pictures": (f"stimuli/{NAMES}", re.escape(f"stimuli/{NAMES}")),
        "pictures": (f"{pictures}/", rf"{pictures}/run\d+/[^/]+\.jpe?g"),
        "results": (f"derivatives/{name}/", rf"derivatives/{name}/{RESULTS}"),
    }
    remotes = []
    for what, (prefix, pattern) in wanted.items():
        found = bucket.openneuro_files(ACCESSION, path, [prefix], re.compile(pattern, re.IGNORECASE))
        if not found:
            raise InputError(
                f"{bucket.OPENNEURO} lists no {what} of {name} below {ACCESSION}/{prefix}; ask for a subject that is there, such "
                "as sub-01."
            )
        remotes += found
    fetch_all(remotes, path, "--subject sub-02 alone", progress)
    expected = [path / "derivatives" / name / file for file in OPTIONAL]
    return [file for file in expected if file not in {remote.path for remote in remotes}]
