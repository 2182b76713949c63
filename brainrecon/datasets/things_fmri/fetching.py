"""Fetching THINGS-data: the archive of the tables, unpacked, and the brain masks; volumes are told of."""

from __future__ import annotations

from pathlib import Path

from brainrecon.datasets.archives import unpack
from brainrecon.datasets.download import fetch_all
from brainrecon.datasets.sources.figshare import figshare_files
from brainrecon.datasets.subject import subject_name
from brainrecon.datasets.things_fmri.table import FOLDER, MASKS, files_of
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from weights.suggestions import did_you_mean

ARTICLES = {FOLDER: 20492835, MASKS[0]: 20492757}
"""figshare's article of single-trial responses in tables, and that of brain masks, by the name of the folder in the archive."""
ADDRESS = "https://doi.org/10.25452/figshare.plus."
VOLUMES = "https://plus.figshare.com/ndownloader/files/36806148"
REGIONS = "https://plus.figshare.com/ndownloader/files/38517326"
SUBJECTS = ("sub-01", "sub-02", "sub-03")
TERMS = (
    "CC0; cite the paper, and fetch the pictures from https://osf.io/jum2f under THINGS' own terms; the tables of all subjects "
    "are one archive of 43 GB, and each subject that is unpacked takes some 17 GB more"
)


def address_of(file):
    """Where a file is to be had, "" if it is not known of which article it is.

    >>> address_of(Path("betas_csv/sub-01_VoxelMetadata.csv"))
    'https://doi.org/10.25452/figshare.plus.20492835'

    Parameters
    ----------
    file : pathlib.Path
    """
    article = ARTICLES.get(file.parent.name)
    return f"{ADDRESS}{article}" if article else ""


def download(path, subject=None, form=None, progress=SILENT):
    """Fetch the tables of a subject, or of all, and the brain masks.

    An archive stays where it is until all that it holds is unpacked, so that another subject needs no second download.

    Parameters
    ----------
    path : pathlib.Path
    subject : str, optional
        ``sub-01``; everyone's otherwise.
    form : {"table"}, optional
    progress : callable, optional
        Called as ``progress(label, bytes_done, bytes_of_file)``.

    Returns
    -------
    absent : list
        Always empty.

    Raises
    ------
    InputError
        Volumes are asked for, there is no such subject, or a file cannot be fetched or unpacked.
    """
    path = Path(path)
    if form not in (None, "table"):
        raise InputError(
            f"The form {form} is not fetched; fetch {VOLUMES} and {REGIONS} by hand and unpack them into {path / 'betas_vol'} "
            f"and {path / 'rois'}, or leave form out."
        )
    names = [name for name in SUBJECTS if subject is None or subject_name(name) == subject_name(subject)]
    if not names:
        raise InputError(
            f"THINGS-data has no subject {subject}; it has {', '.join(SUBJECTS)}{did_you_mean(str(subject), SUBJECTS)}."
        )
    # The brain masks, which are small, first.
    for folder, article in reversed(ARTICLES.items()):
        listed = [
            file for name in names for file, _, optional in files_of(path, name) if optional is (folder != FOLDER)
        ]
        _fetch_and_unpack(article, folder, path, {file.name: file for file in listed}, progress)
    return []


def _fetch_and_unpack(article, folder, path, wanted, progress):
    if all(file.exists() for file in wanted.values()):
        return
    listed = figshare_files(article, path)
    archives = [remote for remote in listed if remote.path.name == f"{folder}.zip"] or [
        remote for remote in listed if remote.path.suffix.lower() == ".zip"
    ]
    if len(archives) != 1:
        raise InputError(
            f"figshare article {article} lists {', '.join(remote.path.name for remote in listed) or 'nothing'} where "
            f"{folder}.zip was expected; fetch the files by hand."
        )
    fetch_all(archives, path, "onto another disk", progress)
    if not unpack(archives[0].path, wanted, progress):
        archives[0].path.unlink()
