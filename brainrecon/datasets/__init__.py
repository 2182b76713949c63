"""A module per dataset; each returns a Subject."""

from importlib import import_module
from inspect import signature
from pathlib import Path

from stages.ground.errors import InputError

KINDS = {
    "nsd": "brainrecon.datasets.nsd.reader",
    "god": "brainrecon.datasets.kamitani.god",
    "dir": "brainrecon.datasets.kamitani.deep_image_reconstruction",
    "miyawaki": "brainrecon.datasets.miyawaki.reader",
    "packed": "brainrecon.datasets.packed.reader",
    "digits69": "brainrecon.datasets.digits69",
    "arrays": "brainrecon.datasets.arrays.reader",
}
"""Kind of data -> module. Each has load(path, subject, roi, ...), subjects(path) and files(path, subject)."""


def parse_source(data):
    """Split ``kind:path`` into its parts.

    Parameters
    ----------
    data : str
        For example ``nsd:/data/nsd``. A leading ``~`` of the path is the home folder.

    Returns
    -------
    kind : str
        One of `KINDS`.
    path : pathlib.Path
        Whether it exists is not checked here.

    Raises
    ------
    InputError
        No kind, an unknown kind, or an empty path.
    """
    kind, separator, path = str(data).partition(":")
    if not separator or not path:
        raise InputError(
            f"'{data}' does not say what kind of data it is; write kind:path with one of "
            f"{', '.join(KINDS)}, for example nsd:{data if not separator else 'PATH'}."
        )
    if kind not in KINDS:
        raise InputError(f"'{kind}' is no kind of data; write one of {', '.join(KINDS)} before the colon of '{data}'.")
    return kind, Path(path).expanduser()


def load(data, subject=None, roi=None, **options):
    """Load one subject of a dataset.

    Parameters
    ----------
    data : str
        ``kind:path``, see `KINDS`.
    subject : str, optional
        For example ``subj01``; by default the first that is there.
    roi : str, optional
        Which voxels; by default the dataset's own choice (NSD: ``nsdgeneral``).
    **options
        What the dataset's own ``load`` takes besides, for example ``betas="b2"`` for NSD. Every kind takes
        ``fold=(k, n)``: all stimuli of train and test are dealt to n parts, of which part k, counted from 0, is tested,
        see `brainrecon.datasets.folds`.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject

    Raises
    ------
    InputError
        The data are absent, damaged or at odds with each other, or an option is unknown.
    """
    kind, path = parse_source(data)
    module = import_module(KINDS[kind])
    known = [name for name in signature(module.load).parameters if name not in ("path", "subject", "roi")]
    # digits69 deals its stimuli itself; what any other kind loads is dealt afterwards.
    fold = None if "fold" in known else options.pop("fold", None)
    for name in options:
        if name not in known:
            raise InputError(
                f"'{name}' is no option of {kind} data; it takes {', '.join(dict.fromkeys([*known, 'fold']))}."
            )
    if fold is None:
        return module.load(path, subject=subject, roi=roi, **options)
    from brainrecon.datasets.folds import checked_fold, in_fold

    checked_fold(fold)
    return in_fold(module.load(path, subject=subject, roi=roi, **options), fold)


def subjects(data):
    """Names of the subjects found at ``kind:path``, sorted."""
    kind, path = parse_source(data)
    return import_module(KINDS[kind]).subjects(path)
