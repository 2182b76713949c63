"""What is in a folder, without what systems and programs leave there beside the user's files."""

from __future__ import annotations

from pathlib import Path

# Views and thumbnails of folders; all else that systems leave is hidden.
_OF_SYSTEMS = ("thumbs.db", "desktop.ini")


def visible(folder: str | Path, pattern: str = "*") -> list[Path]:
    r"""Return the files and folders that fit a pattern, sorted.

    >>> folder = getfixture("tmp_path")
    >>> for name in ("betas.npy", "._betas.npy", ".DS_Store"): (folder / name).touch()
    >>> [path.name for path in visible(folder)]
    ['betas.npy']

    Finder writes its own ``._betas.npy`` beside ``betas.npy`` on disks that keep no attributes, which fits every pattern that
    the file itself fits.

    Parameters
    ----------
    folder : path
    pattern : str
        As of `pathlib.Path.glob`, such as ``*/betas.npy`` or ``**/*.png``.

    Returns
    -------
    paths : list of pathlib.Path
        Empty if there is no such folder. What is hidden, or lies in a hidden folder below `folder`, is not among them.
    """
    folder = Path(folder)
    return sorted(path for path in folder.glob(pattern) if not _is_left_there(path.relative_to(folder)))


def _is_left_there(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts) or path.name.lower() in _OF_SYSTEMS
