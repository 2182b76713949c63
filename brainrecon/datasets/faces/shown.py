"""Splits of presentations: pictures, genders, and in which rows of the authors' patterns the test faces are."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from brainrecon.datasets.split import Split
from brainrecon.datasets.stimulus_images import PictureFiles
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean


def shown_split(path, responses, presentations, runs=True):
    """Make a split of responses and what was shown.

    Parameters
    ----------
    path : path
        The whole folder.
    responses : brainrecon.datasets.responses.Responses
        Of shape (n_trials, n_voxels).
    presentations : list of brainrecon.datasets.faces.presentations.Presentation
        One for each row.
    runs : bool
        Whether a row is of one run.

    Returns
    -------
    split : brainrecon.datasets.split.Split
    """
    first = {}
    for one in presentations:
        first.setdefault(one.stimulus_id, one)
    return Split(
        betas=responses,
        trial_stimulus_ids=[one.stimulus_id for one in presentations],
        sessions=[one.session for one in presentations] if runs else None,
        runs=[one.run for one in presentations] if runs else None,
        images=PictureFiles([Path(path) / "stimuli" / one.picture for one in first.values()]),
        categories=[[one.gender] for one in first.values()],
    )


def in_rows_of_results(path, presentations, n_rows, order=None):
    """A presentation of each test face, in the order of the authors' patterns.

    Parameters
    ----------
    path : path
        For messages.
    presentations : list of brainrecon.datasets.faces.presentations.Presentation
    n_rows : int
        Patterns that there are.
    order : path, optional
        A text file that names a face on each line: as CelebA does, or as its file is called. By default men and then women,
        each by the names of their files.

    Raises
    ------
    InputError
        There are other faces, or another number of them.
    """
    faces = {}
    for one in presentations:
        if one.split == "test":
            faces.setdefault(one.stimulus_id, one)
    if len(faces) != n_rows:
        raise InputError(f"{path} shows {len(faces)} test faces but has {n_rows} patterns; take both from one subject.")
    if order is None:
        return sorted(faces.values(), key=lambda one: (one.gender != "male", PurePosixPath(one.picture).name))
    named = {name: one for one in faces.values() for name in (one.stimulus_id, PurePosixPath(one.picture).stem)}
    lines = [PurePosixPath(line.strip()).stem for line in _lines(order) if line.strip()]
    if unknown := [line for line in lines if line not in named]:
        raise InputError(f"{order} names {unknown[0]}, which is no test face{did_you_mean(unknown[0], named)}.")
    rows = [named[line] for line in lines]
    if len({one.stimulus_id for one in rows}) != n_rows or len(rows) != n_rows:
        raise InputError(f"{order} has {len(rows)} names for {n_rows} test faces; name each of them once.")
    return rows


def _lines(path):
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text ({error}); give a file with a name on each line.") from None
