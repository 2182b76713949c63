"""Fetching THINGS-data: the archive of the tables, unpacked, and the brain masks; volumes are told of."""

from __future__ import annotations

from pathlib import Path

from brainrecon.datasets.archives import unpack
from brainrecon.datasets.download import check_room, fetch
from brainrecon.datasets.sources.figshare import figshare_files
from brainrecon.datasets.things_fmri.table import FOLDER, files_of
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from weights.suggestions import did_you_mean

TABLES, MASKS = 20492835, 20492757
"""figshare's articles of single-trial responses in tables, and of brain masks."""
VOLUMES = "https://plus.figshare.com/ndownloader/files/36806148"
REGIONS = "https://plus.figshare.com/ndownloader/files/38517326"
SUBJECTS = ("sub-01", "sub-02", "sub-03")
TERMS = (
    "CC0; cite the paper, and fetch the pictures from https://osf.io/jum2f under THINGS' own terms; the tables of all subjects come in "
    "one archive of 43 GB, which takes about 17 GB more for each subject that is unpacked"
)


def download(path, subject=None, form=None, progress=SILENT):
    """Fetch the tables of a subject, or of all, and the brain masks.

    The archive stays where it is until all that it holds is unpacked, so that another subject needs no second download.

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
    absent : list of pathlib.Path
        Brain masks that figshare does not have.

    Raises
    ------
    InputError
        Volumes are asked for; or a file cannot be fetched or unpacked.
    """
    if form not in (None, "table"):
        raise InputError(
            f"The form {form} is not fetched; fetch {VOLUMES} and {REGIONS} by hand and unpack them into {Path(path) / 'betas_vol'} and "
            f"{Path(path) / 'rois'}, or leave form out."
        )
    path = Path(path)
    if subject is not None and _name(subject) not in SUBJECTS:
        raise InputError(
            f"THINGS-data has no subject {subject}; it has {', '.join(SUBJECTS)}{did_you_mean(str(subject), SUBJECTS)}."
        )
    names = SUBJECTS if subject is None else (_name(subject),)
    tables = {file.name: file for name in names for file, _, optional in files_of(path, name) if not optional}
    masks = {file.name: file for name in names for file, _, optional in files_of(path, name) if optional}
    _fetch_and_unpack(TABLES, path, tables, progress)
    try:
        _fetch_and_unpack(MASKS, path, masks, progress)
    except AbsentArchiveError:
        return [file for file in masks.values() if not file.exists()]
    return []


class AbsentArchiveError(InputError):
    """An article lists no archive."""


def _fetch_and_unpack(article, path, wanted, progress):
    if all(file.exists() for file in wanted.values()):
        return
    remotes = [remote for remote in figshare_files(article, path) if remote.path.suffix.lower() == ".zip"]
    known = [remote for remote in remotes if remote.path.stem == FOLDER] or remotes
    if len(known) != 1:
        raise AbsentArchiveError(
            f"figshare article {article} lists {len(remotes)} archives where one was expected; fetch the files by hand, see "
            f"https://plus.figshare.com/articles/dataset/_/{article}."
        )
    archive = known[0]
    check_room(path, [_expected(archive)], "the tables by hand, onto a larger disk")
    fetch(archive, progress)
    if not unpack(archive.path, wanted, progress):
        archive.path.unlink()


def _expected(remote):
    from brainrecon.datasets.dataset import ExpectedFile

    return ExpectedFile(remote.path, "", largest=remote.size)


def _name(subject):
    number = str(subject).strip().lower().removeprefix("subj").removeprefix("sub-").removeprefix("sub")
    return f"sub-{int(number):02d}" if number.isdecimal() else str(subject)
