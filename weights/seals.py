"""Files of the toolkit's own that must stay as they were written: their hashes lie beside them, and are compared on opening.

What a disk loses, a power cut leaves half and a copy breaks off is then found before it changes a result in silence.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from weights.hashes import hash_file
from weights.names import trouble_with_path
from weights.whole_files import write_text

SEAL = ".sealed.json"


def seal(folder: Path) -> None:
    """Write down the hash of every file below a folder; hidden and unfinished ones are left out.

    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "model.safetensors").write_text("weights")
    >>> seal(folder)
    >>> broken(folder)
    >>> _ = (folder / "model.safetensors").write_text("weighs")
    >>> broken(folder)
    'model.safetensors is not what was written'

    Parameters
    ----------
    folder : Path
        Everything in it is written.
    """
    _write(Path(folder), {})


def complete_seal(folder: Path, name: str) -> None:
    """Seal a file that a process was killed after writing and before sealing, and what else lies there unsealed.

    >>> complete_seal(getfixture("tmp_path"), "model.safetensors")

    Parameters
    ----------
    folder : Path
        If it cannot be written to, or its seal cannot be read, it stays as it is.
    name : str
        Path below `folder` of the file that is written last. Nothing is done if it is not there, or is sealed already.
    """
    folder = Path(folder)
    if not (folder / name).is_file():
        return
    with suppress(OSError, ValueError, RecursionError):
        known = _read(folder) if (folder / SEAL).exists() else {}
        if name not in known:
            _write(folder, known)


def _write(folder, known):
    """Write down all hashes; those that are known already as they are."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in below.parts) and not _is_unfinished(path):
            hashes[below.as_posix()] = known.get(below.as_posix()) or hash_file(path)
    write_text(folder / SEAL, json.dumps(hashes, indent=1) + "\n")


def _is_unfinished(path):
    """Whether a file is what work goes on from, which is removed at its end, and may not yet be."""
    return path.name.endswith((".partial", ".partial.json"))


def _read(folder):
    hashes = json.loads((folder / SEAL).read_text(encoding="utf-8"))
    if not isinstance(hashes, dict):
        raise ValueError("it holds no table")
    return {str(name): str(sha256) for name, sha256 in hashes.items()}


def broken(folder: Path, names: Iterable[str] | None = None) -> str | None:
    """Say in a few words which sealed file is missing or has changed; None if there is none, or nothing is sealed.

    Parameters
    ----------
    folder : Path
    names : iterable of str, optional
        Paths below `folder` to look at; all that are sealed by default. Large files are read once (`weights.hashes`).
    """
    folder = Path(folder)
    try:
        hashes = _read(folder)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        return f"{SEAL} cannot be read ({str(error).splitlines()[0][:100]})"
    for name in hashes if names is None else names:
        if name not in hashes:
            continue
        if trouble := trouble_with_path(name):
            return f"{SEAL} names {name[:80]!r}, but {trouble}"
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if hash_file(path) != hashes[name]:
            return f"{name} is not what was written"
    return None
