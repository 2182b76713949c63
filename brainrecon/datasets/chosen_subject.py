"""Which of the subjects that are there is meant."""

from pathlib import Path

from brainrecon.datasets.subject import subject_name
from brainrecon.datasets.voxels import absent
from stages.ground.errors import InputError


def chosen_subject(where, names, subject, nobody):
    """The name of the subject that is asked for, as the data spell it.

    >>> chosen_subject("data", ["sub-01", "sub-02"], "subj02", "expected folders sub-01, ...")
    'sub-02'
    >>> chosen_subject("data", ["sub-01", "sub-02"], None, "expected folders sub-01, ...")
    'sub-01'

    Parameters
    ----------
    where : path
        The folder that holds the subjects.
    names : sequence of str
        Those that are there, in order.
    subject : str or None
        In any spelling that `brainrecon.datasets.subject.subject_name` knows; by default the first that is there.
    nobody : str
        What to say if there is none, behind what `where` is.

    Raises
    ------
    InputError
        There is no subject, or not this one.
    """
    if not names:
        place = Path(where)
        what = "holds no subject" if place.is_dir() else "is a file" if place.exists() else "is no folder"
        raise InputError(f"{where} {what}; {nobody}.")
    if subject is None:
        return names[0]
    found = [name for name in names if subject_name(name) == subject_name(subject)]
    if not found:
        raise absent(where, "subject", str(subject), names)
    return found[0]
