"""Find the checkpoints and prove that they are whole.

Embedded checkpoints lie beside the manifest. Others lie in the user's store: the folder that the
environment variable ``BRAINRECON_WEIGHTS`` names, or else ``brainrecon/weights`` in the platform's cache
folder. Nothing here reaches for the network.
"""

import hashlib
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from weights.manifest import (
    MANIFEST,
    Checkpoint,
    CheckpointError,
    CheckpointFile,
    read_manifest,
    write_manifest,
)

__all__ = [
    "MANIFEST",
    "Checkpoint",
    "CheckpointError",
    "CheckpointFile",
    "Status",
    "checkpoints",
    "fingerprint",
    "folder",
    "path",
    "record",
    "user_store",
    "verify",
]

# The card is prose about the checkpoint: a better sentence in it must not make feature stores stale.
CARD = "card.md"

# Large files are hashed once per process, as long as size and modification time stay the same. Small ones are
# hashed each time: that is fast, and two writes within one tick of the file system's clock look alike.
LARGE = 100_000_000
_hashes: dict[tuple[str, int, int], str] = {}


@dataclass(frozen=True)
class Status:
    """What `verify` found for one checkpoint.

    Attributes
    ----------
    name : str
        The checkpoint.
    state : {"verified", "unverified", "absent", "damaged"}
        "unverified": every file is there, but the manifest knows no hash for at least one of them.
    detail : str
        One line: what is missing or wrong, and for verified ones how much was read.
    """

    name: str
    state: str
    detail: str


def checkpoints(manifest: Path = MANIFEST) -> dict[str, Checkpoint]:
    """Every checkpoint the manifest knows, present or not, by name."""
    return read_manifest(manifest)


def user_store() -> Path:
    """The folder for checkpoints that do not travel with the package; it need not exist."""
    chosen = os.environ.get("BRAINRECON_WEIGHTS")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "brainrecon" / "weights"


def folder(name: str, manifest: Path = MANIFEST) -> Path:
    """Where a checkpoint lies or would lie, without looking whether it is there.

    Raises
    ------
    CheckpointError
        When the manifest has no checkpoint of that name.
    """
    return _location(_find(name, manifest), manifest)


def path(name: str, check: bool = True, manifest: Path = MANIFEST) -> Path:
    """Folder of a present checkpoint.

    Parameters
    ----------
    name : str
        The checkpoint's name in the manifest.
    check : bool
        Compare size and sha256 of every listed file with the manifest (the default); otherwise only look that
        the files are there.
    manifest : Path
        The TOML file to go by.

    Returns
    -------
    folder : Path
        Holds every listed file.

    Raises
    ------
    CheckpointError
        When the name is unknown, or the checkpoint is absent or damaged.
    """
    checkpoint = _find(name, manifest)
    status = _status(checkpoint, manifest, check)
    if status.state in ("absent", "damaged"):
        raise _refusal(checkpoint, manifest, status)
    return _location(checkpoint, manifest)


def fingerprint(name: str, manifest: Path = MANIFEST) -> str:
    """Hex digest that names a checkpoint's content: over the paths and sha256 of its listed files.

    A file whose hash the manifest does not know is read and hashed, so that the digest describes content.

    Raises
    ------
    CheckpointError
        When the name is unknown, no file is listed, or a file without a known hash is absent.
    """
    checkpoint = _find(name, manifest)
    if not all(file.sha256 for file in checkpoint.files) or not checkpoint.files:
        path(name, check=False, manifest=manifest)
    digest = hashlib.sha256()
    for file in sorted(checkpoint.files, key=lambda file: file.path):
        sha256 = file.sha256 or hash_file(_location(checkpoint, manifest) / file.path)
        digest.update(f"{file.path}\0{sha256}\n".encode())
    return digest.hexdigest()


def verify(names: Iterable[str] | None = None, check: bool = True, manifest: Path = MANIFEST) -> list[Status]:
    """Compare what is present with the manifest.

    Parameters
    ----------
    names : iterable of str, optional
        The checkpoints to look at; all of them by default.
    check : bool
        Read and hash the files (the default); otherwise only look that they are there, and call what is
        there "unverified".
    manifest : Path
        The TOML file to go by.

    Returns
    -------
    statuses : list of Status
        In the order of `names`, or of the manifest.

    Raises
    ------
    CheckpointError
        When a name is unknown.
    """
    known = checkpoints(manifest)
    chosen = list(known) if names is None else list(names)
    return [_status(_find(name, manifest), manifest, check) for name in chosen]


def record(name: str, folder: Path, manifest: Path = MANIFEST) -> Checkpoint:
    """Rewrite one entry's file list from what a folder holds, and keep every other entry.

    Parameters
    ----------
    name : str
        An embedded checkpoint of the manifest.
    folder : Path
        The checkpoint's folder, inside the manifest's own; its path is recorded too. Every file below it is
        listed with size and sha256, except the card and hidden files.
    manifest : Path
        The TOML file to go by.

    Returns
    -------
    checkpoint : Checkpoint
        The new entry.

    Raises
    ------
    CheckpointError
        When the name is unknown, the folder lies elsewhere, or it holds no file.
    """
    checkpoint = _find(name, manifest)
    root = Path(manifest).resolve().parent
    resolved = Path(folder).resolve()
    if not resolved.is_relative_to(root) or resolved == root:
        raise CheckpointError(f"Checkpoint {name} cannot be recorded from {folder}; its folder must lie below {root}.")
    paths = sorted(
        found.relative_to(resolved).as_posix()
        for found in resolved.rglob("*")
        if found.is_file()
        and found.name != CARD
        and not any(part.startswith(".") for part in found.relative_to(resolved).parts)
    )
    if not paths:
        raise CheckpointError(
            f"Checkpoint {name} cannot be recorded from {folder}: the folder holds no file; train it first."
        )
    files = tuple(CheckpointFile(each, (resolved / each).stat().st_size, hash_file(resolved / each)) for each in paths)
    recorded = replace(checkpoint, folder=resolved.relative_to(root).as_posix(), files=files)
    write_manifest({**checkpoints(manifest), name: recorded}, manifest)
    return recorded


def hash_file(file: Path) -> str:
    """The sha256 of a file as 64 hex digits."""
    facts = file.stat()
    key = (str(file.resolve()), facts.st_size, facts.st_mtime_ns)
    if key in _hashes:
        return _hashes[key]
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    if facts.st_size >= LARGE:
        _hashes[key] = sha256
    return sha256


def _find(name: str, manifest: Path) -> Checkpoint:
    known = checkpoints(manifest)
    if name not in known:
        raise CheckpointError(f"There is no checkpoint {name!r}; known are {', '.join(known) or 'none'}.")
    return known[name]


def _location(checkpoint: Checkpoint, manifest: Path) -> Path:
    root = Path(manifest).parent if checkpoint.embedded else user_store()
    return root / checkpoint.folder


def _missing(checkpoint: Checkpoint, location: Path) -> list[str]:
    return [file.path for file in checkpoint.files if not (location / file.path).is_file()]


def _status(checkpoint: Checkpoint, manifest: Path, check: bool = True) -> Status:
    location = _location(checkpoint, manifest)
    missing = _missing(checkpoint, location)
    if not checkpoint.files:
        return Status(checkpoint.name, "absent", "the manifest lists no file for it")
    if not location.is_dir():
        return Status(checkpoint.name, "absent", f"there is no folder {location}")
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        state = "absent" if len(missing) == len(checkpoint.files) else "damaged"
        return Status(checkpoint.name, state, f"{location} does not hold {missing[0]}{more}")
    if not check:
        return Status(checkpoint.name, "unverified", "present, not compared with the manifest")
    for file in checkpoint.files:
        trouble = _trouble(file, location)
        if trouble:
            return Status(checkpoint.name, "damaged", trouble)
    unknown = [file.path for file in checkpoint.files if file.sha256 is None]
    if unknown:
        return Status(checkpoint.name, "unverified", f"present; no hash is known for {', '.join(unknown)}")
    size = sum((location / file.path).stat().st_size for file in checkpoint.files)
    return Status(checkpoint.name, "verified", f"{len(checkpoint.files)} files, {size:,} bytes")


def _trouble(file: CheckpointFile, location: Path) -> str | None:
    """What is wrong with a present file, in words, or None."""
    found = location / file.path
    size = found.stat().st_size
    if file.size is not None and size != file.size:
        return f"{file.path} has {size:,} bytes where the manifest says {file.size:,}"
    if file.sha256 is not None:
        sha256 = hash_file(found)
        if sha256 != file.sha256:
            return f"{file.path} has sha256 {sha256} where the manifest says {file.sha256}"
    return None


def _refusal(checkpoint: Checkpoint, manifest: Path, status: Status) -> CheckpointError:
    """The error for a checkpoint that cannot be used, with the way to mend it."""
    location = _location(checkpoint, manifest)
    if checkpoint.embedded and not checkpoint.files:
        remedy = f"train it with scripts/train_tiny.py, which writes {location}"
    elif checkpoint.embedded:
        remedy = f"restore {location} from the repository, or reinstall brainrecon"
    else:
        remedy = (
            f"fetch it from {checkpoint.origin} into {location}, "
            f"or set BRAINRECON_WEIGHTS to the folder that holds {checkpoint.folder}"
        )
    return CheckpointError(f"Checkpoint {checkpoint.name} is {status.state}: {status.detail}; {remedy}.")
