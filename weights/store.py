"""Find the checkpoints and prove that they are whole.

Embedded checkpoints lie beside the manifest. Others lie in the user's stores: the folders that the environment
variable ``BRAINRECON_WEIGHTS`` names, or else ``brainrecon/weights`` in the platform's cache folder
(`weights.locations`). Checkpoints of one's own are named as `weights.own_checkpoints` says.
Nothing here reaches for the network or writes into a store.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from weights.examination import Status, examine, unconverted
from weights.hashes import hash_file
from weights.locations import user_store, user_stores
from weights.manifest import (
    MANIFEST,
    Checkpoint,
    CheckpointError,
    CheckpointFile,
    read_manifest,
    write_manifest,
)
from weights.own_checkpoints import (
    OWN_FOLDER,
    files_below,
    from_hub,
    hub_origin,
    is_own_folder,
    own_entries,
    own_folder,
)
from weights.records import read_record
from weights.suggestions import did_you_mean

__all__ = [
    "MANIFEST",
    "Checkpoint",
    "CheckpointError",
    "CheckpointFile",
    "Status",
    "checkpoints",
    "entry",
    "fingerprint",
    "folder",
    "hash_file",
    "path",
    "record",
    "user_store",
    "user_stores",
    "verify",
]


def checkpoints(manifest: Path | None = None) -> dict[str, Checkpoint]:
    """Every known checkpoint, present or not.

    >>> checkpoints()["tiny-clip"].licence
    'MIT'

    Parameters
    ----------
    manifest : Path, optional
        The TOML file to go by; by default the package's own, and those in the user's stores.

    Returns
    -------
    entries : dict of str to weights.manifest.Checkpoint
        By name.
    """
    return read_manifest(manifest or MANIFEST) | own_entries()


def folder(name: str, manifest: Path | None = None) -> Path:
    """Where a checkpoint lies or would lie, without looking whether it is there.

    Raises
    ------
    CheckpointError
        When the manifest has no checkpoint of that name.
    """
    manifest = manifest or MANIFEST
    return _location(entry(name, manifest), manifest)


def path(name: str, check: bool = True, manifest: Path | None = None) -> Path:
    """Folder of a present checkpoint.

    >>> sorted(file.name for file in path("tiny-vdvae").glob("*.json"))
    ['config.json']

    Parameters
    ----------
    name : str
        The checkpoint's name in the manifest.
    check : bool
        Compare size and sha256 of every file with the manifest, and with the record of its pull (the default);
        otherwise only look that the files are there.
    manifest : Path, optional
        The TOML file to go by; the package's own by default.

    Returns
    -------
    folder : Path
        Holds every listed file.

    Raises
    ------
    CheckpointError
        When the name is unknown, or the checkpoint is absent or damaged.
    """
    manifest = manifest or MANIFEST
    checkpoint = entry(name, manifest)
    status = _status(checkpoint, manifest, check)
    if status.state in ("absent", "damaged"):
        raise _refusal(checkpoint, manifest, status)
    return _location(checkpoint, manifest)


def fingerprint(name: str, manifest: Path | None = None) -> str:
    """Hex digest that names a checkpoint's content: over the paths and sha256 of its listed files.

    A file whose hash the manifest does not know is read and hashed, so that the digest describes content. It is the
    same whether or not a listed file has been converted, and after it has been removed.

    Raises
    ------
    CheckpointError
        When the name is unknown, no file is listed, or a file without a known hash is absent.
    """
    manifest = manifest or MANIFEST
    checkpoint = entry(name, manifest)
    if not all(file.sha256 for file in checkpoint.files) or not checkpoint.files:
        path(name, check=False, manifest=manifest)
    location = _location(checkpoint, manifest)
    record = read_record(location)
    digest = hashlib.sha256()
    for file in sorted(checkpoint.files, key=lambda file: file.path):
        there = (location / file.path).is_file()
        sha256 = file.sha256 or (hash_file(location / file.path) if there else record.files[file.path].sha256)
        digest.update(f"{file.path}\0{sha256}\n".encode())
    return digest.hexdigest()


def verify(
    names: Iterable[str] | None = None, check: bool = True, manifest: Path | None = None, anew: bool = False
) -> list[Status]:
    """Compare what is present with the manifest.

    >>> [status.state for status in verify(["tiny-vdvae", "tiny-clip"])]
    ['verified', 'verified']

    Parameters
    ----------
    names : iterable of str, optional
        The checkpoints to look at; all of them by default.
    check : bool
        Read and hash the files (the default); otherwise only look that they are there, and call what is
        there "unverified".
    manifest : Path, optional
        The TOML file to go by; the package's own by default.
    anew : bool
        Read large files again whose hash is remembered (`weights.hashes.hash_file`), to find what a disk has lost.

    Returns
    -------
    statuses : list of Status
        In the order of `names`, or of the manifest.

    Raises
    ------
    CheckpointError
        When a name is unknown.
    """
    manifest = manifest or MANIFEST
    known = checkpoints(manifest)
    chosen = list(known) if names is None else list(names)
    return [_status(entry(name, manifest), manifest, check, anew) for name in chosen]


def record(name: str, folder: Path, manifest: Path | None = None) -> Checkpoint:
    """Rewrite one entry's file list from what a folder holds, and keep every other entry.

    Parameters
    ----------
    name : str
        An embedded checkpoint of the manifest.
    folder : Path
        The checkpoint's folder, inside the manifest's own; its path is recorded too. Every file below it is
        listed with size and sha256, except the card and hidden files.
    manifest : Path, optional
        The TOML file to go by; the package's own by default.

    Returns
    -------
    checkpoint : Checkpoint
        The new entry.

    Raises
    ------
    CheckpointError
        When the name is unknown, the folder lies elsewhere, or it holds no file.
    """
    manifest = manifest or MANIFEST
    checkpoint = entry(name, manifest)
    root = Path(manifest).resolve().parent
    resolved = Path(folder).resolve()
    if not resolved.is_relative_to(root) or resolved == root:
        raise CheckpointError(f"Checkpoint {name} cannot be recorded from {folder}; its folder must lie below {root}.")
    paths = files_below(resolved)
    if not paths:
        raise CheckpointError(
            f"Checkpoint {name} cannot be recorded from {folder}: the folder holds no file; train it first."
        )
    files = tuple(CheckpointFile(each, (resolved / each).stat().st_size, hash_file(resolved / each)) for each in paths)
    recorded = replace(checkpoint, folder=resolved.relative_to(root).as_posix(), files=files)
    write_manifest({**read_manifest(manifest), name: recorded}, manifest)
    return recorded


def entry(name: str, manifest: Path | None = None) -> Checkpoint:
    """Entry of a checkpoint in the manifests, or that of one's own.

    >>> entry("tiny-vdvae").licence
    'MIT'

    Raises
    ------
    CheckpointError
        There is no such name, or no such folder. A repository of the hub is not asked for: it has no files until it is there.
    """
    known = checkpoints(manifest)
    if name in known:
        return known[name]
    if origin := hub_origin(name):
        return from_hub(name, origin)
    if is_own_folder(name):
        return own_folder(name)
    raise CheckpointError(
        f"There is no checkpoint {name!r}; known are {', '.join(known) or 'none'}{did_you_mean(name, known)}, a folder of "
        f"your own by its path, as ./{name}, and a repository of the hub by OWNER/REPOSITORY@REVISION."
    )


def _location(checkpoint: Checkpoint, manifest: Path) -> Path:
    """Folder of a checkpoint. Order of preference: converted and complete; complete; incomplete; the user's default store."""
    if checkpoint.embedded:
        return Path(manifest).parent / checkpoint.folder
    places = [store / checkpoint.folder for store in user_stores()]
    whole = [place for place in places if examine(checkpoint, place, check=False).state == "unverified"]
    ready = [place for place in whole if not unconverted(checkpoint, place)]
    there = [place for place in places if place.is_dir()]
    return next(iter((*ready, *whole, *there)), user_store() / checkpoint.folder)


def _status(checkpoint: Checkpoint, manifest: Path, check: bool = True, anew: bool = False) -> Status:
    return examine(checkpoint, _location(checkpoint, manifest), check, anew)


def _refusal(checkpoint: Checkpoint, manifest: Path, status: Status) -> CheckpointError:
    """The error for a checkpoint that cannot be used, with the way to mend it."""
    location = _location(checkpoint, manifest)
    if checkpoint.embedded and not checkpoint.files:
        remedy = f"train it with scripts/train_tiny.py, which writes {location}"
    elif checkpoint.origin == OWN_FOLDER:
        remedy = f"put its files into {location}, as its manifest lists them"
    elif checkpoint.embedded:
        remedy = f"restore {location} from the repository, or reinstall brainrecon"
    else:
        remedy = (
            f"fetch it with `brainrecon weights pull {checkpoint.name}` (from {checkpoint.origin}), "
            f"or set BRAINRECON_WEIGHTS to the folder that holds {checkpoint.folder}"
        )
    return CheckpointError(f"Checkpoint {checkpoint.name} is {status.state}: {status.detail}; {remedy}.")
