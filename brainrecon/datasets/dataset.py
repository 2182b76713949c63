"""What a kind of data is, and the kinds there are: the toolkit's own and those of other people's packages.

A package adds a kind by an entry point, whose name is what stands before the colon of ``kind:path``:

    [project.entry-points."brainrecon.datasets"]
    flicker = "my_package.flicker:Flicker"

`Flicker` is a class without arguments, or an object, that does what `Dataset` says. In a notebook `register` does the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from brainrecon.datasets.description import Description
from brainrecon.datasets.subject import Subject
from brainrecon.datasets.voxels import absent
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

MODULES = {
    "nsd": "brainrecon.datasets.nsd.reader",
    "god": "brainrecon.datasets.kamitani.god",
    "dir": "brainrecon.datasets.kamitani.deep_image_reconstruction",
    "miyawaki": "brainrecon.datasets.miyawaki.reader",
    "packed": "brainrecon.datasets.packed.reader",
    "algonauts2023": "brainrecon.datasets.algonauts2023.reader",
    "bold5000": "brainrecon.datasets.bold5000.reader",
    "things-fmri": "brainrecon.datasets.things_fmri.reader",
    "nod": "brainrecon.datasets.nod.reader",
    "laion-fmri": "brainrecon.datasets.laion_fmri.reader",
    "mosaic": "brainrecon.datasets.mosaic.reader",
    "vim1": "brainrecon.datasets.vim1.reader",
    "ocd": "brainrecon.datasets.ocd.reader",
    "digits69": "brainrecon.datasets.digits69",
    "faces": "brainrecon.datasets.faces.reader",
    "things-eeg2": "brainrecon.datasets.eeg.things_eeg2",
    "eeg-voa": "brainrecon.datasets.eeg.voa",
    "arrays": "brainrecon.datasets.arrays.reader",
    "bdata": "brainrecon.datasets.kamitani.own",
}
"""The toolkit's own kinds and the module of each, which registers it: a module is loaded when its kind is asked for."""

GROUP = "brainrecon.datasets"
"""The entry points by which other packages add kinds."""

_registered: dict[str, Dataset] = {}


class ExpectedFile(NamedTuple):
    """A file that a dataset consists of, there or not.

    >>> from pathlib import Path
    >>> file = ExpectedFile(Path("flicker.npz"), "betas, shown and pictures")
    >>> file.what, file.optional
    ('betas, shown and pictures', False)

    Attributes
    ----------
    path : pathlib.Path
    what : str
        What it holds and where it is to be had, as a phrase.
    optional : bool
        Whether the data load without it.
    largest : int, optional
        How many bytes it has at most, reckoned, for those who do not have it yet.
    address : str
        Where it is fetched from, "" if nobody knows.
    """

    path: Path
    what: str
    optional: bool = False
    largest: int | None = None
    address: str = ""


@dataclass(frozen=True)
class Option:
    """Something that loading one kind of data can be told besides path, subject and roi.

    >>> option = Option("session", "number of the session, such as 2; by default all")
    >>> option.name
    'session'

    Attributes
    ----------
    name : str
        As it is typed, ``--option NAME=VALUE``, and given to `brainrecon.datasets.load`.
    explanation : str
        What it decides, its values, and what happens without it.
    for_files : bool
        Whether `Dataset.files` and a download take it too.
    keyword : str
        What `Dataset.load` calls it, if that is not its name.
    """

    name: str
    explanation: str
    for_files: bool = False
    keyword: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "keyword", self.keyword or self.name)


@runtime_checkable
class Dataset(Protocol):
    """A reader of one kind of data.

    >>> isinstance(dataset_of("nsd"), Dataset)
    True
    >>> dataset_of("arrays").description.licence
    'yours to state'

    A dataset that can fetch its files also has ``terms``, the sentence on which terms, and
    ``download(path, subject=None, progress=SILENT, **options)``, which returns the optional files that are not to be had.

    Attributes
    ----------
    description : brainrecon.datasets.description.Description
    options : tuple of Option
        The options of `load`, those with `for_files` also of `files`.
    """

    description: Description
    options: tuple[Option, ...]

    def subjects(self, path: Path) -> list[str]:
        """Names of the subjects found at a path, sorted."""

    def load(self, path: Path, subject: str | None = None, roi: str | None = None, **options: Any) -> Subject:
        """One subject; by default the first, in the dataset's own roi."""

    def files(self, path: Path, subject: str | None = None, **options: Any) -> list[ExpectedFile]:
        """The files that loading a subject reads or may read, there or not."""


@dataclass(frozen=True)
class DatasetOf:
    """A `Dataset` made of functions, for a module that reads one kind of data."""

    description: Description
    subjects: Callable
    load: Callable
    files: Callable
    options: tuple[Option, ...] = ()
    download: Callable | None = None
    terms: str = ""


def register(kind: str, dataset: Any) -> Dataset:
    """Add a kind of data, or put another reader in the place of one.

    >>> class Nothing:
    ...     description = Description("Nobody saw anything.", "nowhere", "Nobody (2026)", "MIT")
    ...     options = ()
    ...     def subjects(self, path): return []
    ...     def load(self, path, subject=None, roi=None): ...
    ...     def files(self, path, subject=None): return []
    >>> nothing = register("nothing", Nothing())
    >>> dataset_of("nothing") is nothing, kinds()[-1]
    (True, 'nothing')

    Parameters
    ----------
    kind : str
        What stands before the colon of ``kind:path``.
    dataset : Dataset

    Returns
    -------
    dataset : Dataset
        The same.

    Raises
    ------
    InputError
        Something that `Dataset` asks for is missing.
    """
    missing = [name for name in ("description", "options", "subjects", "load", "files") if not hasattr(dataset, name)]
    if missing:
        raise InputError(
            f"What is to read {kind} data has no {', '.join(missing)}; add what brainrecon.datasets.dataset.Dataset asks for."
        )
    _registered[kind] = dataset
    return dataset


def dataset_of(kind: str) -> Dataset:
    """The reader of a kind of data.

    >>> dataset_of("digits69").description.citation
    'van Gerven, de Lange & Heskes 2010, Neural Computation 22:3127-3142, doi 10.1162/NECO_a_00047'

    Parameters
    ----------
    kind : str

    Returns
    -------
    dataset : Dataset

    Raises
    ------
    InputError
        There is no such kind, or the package that adds it cannot be loaded.
    """
    if kind in _registered:
        return _registered[kind]
    if kind in MODULES:
        import_module(MODULES[kind])
        return _registered[kind]
    added = {point.name: point for point in entry_points(group=GROUP)}
    if kind not in added:
        raise absent("The toolkit", "kind of data", kind, kinds())
    return register(kind, _load(added[kind]))


def kinds() -> tuple[str, ...]:
    """Names of all kinds of data, as they stand before the colon of ``kind:path``.

    >>> kinds()[:3]
    ('nsd', 'god', 'dir')

    Returns
    -------
    names : tuple of str
        The toolkit's own first, then those that were registered, then those that other installed packages add.
    """
    return tuple(dict.fromkeys([*MODULES, *_registered, *sorted(point.name for point in entry_points(group=GROUP))]))


def _load(point: EntryPoint) -> Any:
    """The dataset of an entry point; an InputError that names it if it does not load, whatever goes wrong in it."""
    try:
        loaded = point.load()
        return loaded() if isinstance(loaded, type) else loaded
    except Exception as error:
        package = f" of the package {point.dist.name}" if point.dist else ""
        raise InputError(
            f"The kind of data '{point.name}'{package} cannot be loaded from {point.value} "
            f"({type(error).__name__}: {' '.join(str(error).split())}); mend or uninstall that package."
        ) from error


def loaded_options(kind: str, options: dict[str, Any], for_files: bool = False) -> dict[str, Any]:
    """The options of a kind under the keywords of its `load`, or of its `files`.

    Parameters
    ----------
    kind : str
    options : dict
        By name.
    for_files : bool
        Whether only those that matter for files may be given.

    Returns
    -------
    keywords : dict

    Raises
    ------
    InputError
        The kind does not take one of them.
    """
    known = {option.name: option for option in dataset_of(kind).options}
    for name in options:
        if for_files and not (name in known and known[name].for_files):
            raise InputError(f"'{name}' does not matter for the files of {kind} data; leave it out.")
        if name not in known:
            taken = list(dict.fromkeys([*known, "mask", "fold"]))
            raise InputError(
                f"'{name}' is no option of {kind} data; it takes {', '.join(taken)}{did_you_mean(name, taken)}."
            )
    return {known[name].keyword: value for name, value in options.items()}
