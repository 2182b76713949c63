"""Bringing a published checkpoint into the user's store: fetched or copied, proved, converted, and there all at once.

What comes goes into a hidden folder beside the checkpoint's own, ``.NAME.partial``, which stays when a pull is
interrupted and where the next one goes on. When every file is there and is what the manifest or the origin says,
pickles are converted, the record is written, and the folder takes its name.
"""

import errno
import json
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from weights import download
from weights.conversion import convert
from weights.copies import copy_file
from weights.download import Progress
from weights.examination import examine, unconverted
from weights.gathering import gather
from weights.hashes import hash_file
from weights.locations import user_store, user_stores, writable
from weights.manifest import MANIFEST, CheckpointError
from weights.own_checkpoints import OWN_FOLDER, hub_origin, to_pull
from weights.partial_files import sweep
from weights.records import RECORD, Content, read_record, write_record
from weights.store import checkpoints, entry
from weights.suggestions import did_you_mean
from weights.whole_files import locked, make_folder, put_in_place


@dataclass(frozen=True)
class Pulled:
    """What `pull` did.

    Attributes
    ----------
    name : str
    folder : Path
    action : {"present", "pulled", "copied", "converted"}
        "present": everything was there; "converted": the files were, and were only converted and written down.
    size : int
        Bytes in the folder.
    """

    name: str
    folder: Path
    action: str
    size: int


def choose(
    names: Iterable[str] = (), method: str | None = None, manifest: Path = MANIFEST, subject: str | None = None
) -> list[str]:
    """Names to pull: those given, and those that a method needs and that do not travel with the package.

    Parameters
    ----------
    names : iterable of str
    method : str, optional
        Something that entries of the manifest name in ``needed_by``.
    manifest : Path
    subject : str, optional
        Whose released decoders of the method are pulled, too.

    Returns
    -------
    names : list of str
        In the order given, then of the manifest; each once.

    Raises
    ------
    CheckpointError
        When a name, the method or its subject is unknown, or nothing was chosen.
    """
    known = checkpoints(manifest)
    chosen = [entry(name, manifest).name for name in names]
    if subject is not None and method is None:
        raise CheckpointError(
            f"A subject is given ({subject}) but no method; name that with --for, or leave --subject out."
        )
    if method is not None:
        needed = [entry for entry in known.values() if method in entry.needed_by]
        if not needed:
            methods = dict.fromkeys(each for entry in known.values() for each in entry.needed_by)
            raise CheckpointError(
                f"No checkpoint is needed by {method!r}; known are {', '.join(methods) or 'none'}{did_you_mean(method, methods)}."
            )
        subjects = list(dict.fromkeys(entry.subject for entry in needed if entry.subject is not None))
        if subject is not None and subject not in subjects:
            known_subjects = ", ".join(subjects) or "no subject"
            raise CheckpointError(
                f"No decoder of {method} is released for {subject!r}; there are some for {known_subjects}"
                f"{did_you_mean(subject, subjects)}."
            )
        chosen += [entry.name for entry in needed if not entry.embedded and entry.subject in (None, subject)]
        if not chosen:
            raise CheckpointError(f"All that {method} needs travels with the package; there is nothing to pull.")
    if not chosen:
        raise CheckpointError(
            "Name the checkpoints to pull, or a method with --for; `brainrecon weights list` has them."
        )
    return list(dict.fromkeys(chosen))


def pull(
    name: str,
    source: Path | None = None,
    remove_original: bool = False,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
    manifest: Path = MANIFEST,
) -> Pulled:
    """Bring a checkpoint into the user's store.

    >>> pull("clip-vit-l-14-quickgelu", source=Path("copied"))  # doctest: +SKIP
    >>> pull("tiny-vdvae")
    Traceback (most recent call last):
        ...
    weights.manifest.CheckpointError: Checkpoint tiny-vdvae travels with the package; there is nothing to pull.

    Parameters
    ----------
    name : str
        The checkpoint's name in the manifest, or a repository of the hub, see `weights.own_checkpoints`.
    source : Path, optional
        A folder with files copied by hand, in the checkpoint's layout or all in one folder; the network is not asked.
    remove_original : bool
        Remove a pickle once it is converted, also one that an earlier pull kept; the record keeps its hash.
    progress : callable, optional
        Called as ``progress(label, bytes_done, bytes_of_file)``.
    note : callable, optional
        Called with a sentence when another process is waited for.
    manifest : Path
        The TOML file to go by.

    Returns
    -------
    pulled : Pulled

    Raises
    ------
    CheckpointError
        The name is unknown or embedded; no store can be written to; a file cannot be had, is not what the manifest or
        the origin says, or would run something when it is loaded; the disk is full. The checkpoint's folder is as it
        was; what came so far stays in the partial folder.
    """
    origin = None if name in checkpoints(manifest) else hub_origin(name)
    checkpoint = entry(name, manifest) if origin is None else to_pull(name, origin, source)
    if checkpoint.embedded:
        raise CheckpointError(f"Checkpoint {name} travels with the package; there is nothing to pull.")
    if checkpoint.origin == OWN_FOLDER:
        raise CheckpointError(f"Checkpoint {name} is a folder of yours, {checkpoint.folder}; there is nothing to pull.")
    if not checkpoint.files:
        raise CheckpointError(f"The manifest lists no file for {name}; there is nothing to pull.")
    for store in user_stores():
        if _complete(checkpoint, store / checkpoint.folder):
            if remove_original:
                _remove_originals(checkpoint, store / checkpoint.folder)
            return _pulled(checkpoint, store / checkpoint.folder, "present")
    store = user_store()
    if not writable(store):
        raise CheckpointError(
            f"{store} cannot be written to; set BRAINRECON_WEIGHTS to a folder of your own before others."
        )
    destination = store / checkpoint.folder

    def waiting():
        if note is not None:
            note(f"Another process is pulling {destination.name}; waiting for it.")

    with _disk(destination), locked(destination.parent, name=f".{destination.name}.lock", waiting=waiting):
        # Another process may have pulled it in the meantime.
        if _complete(checkpoint, destination):
            if remove_original:
                _remove_originals(checkpoint, destination)
            return _pulled(checkpoint, destination, "present")
        sweep(destination.parent)
        partial = destination.with_name(f".{destination.name}.partial")
        partial.mkdir(exist_ok=True)
        action = gather(checkpoint, destination, partial, source, progress)
        _convert(checkpoint, partial, remove_original)
        _publish(checkpoint, partial, destination)
        return _pulled(checkpoint, destination, action)


def _convert(checkpoint, partial, remove_original):
    """Make what is read in place of pickles, and the JSON files beside it."""
    record = read_record(partial)
    for file in checkpoint.files:
        original = partial / file.path
        if file.converted is None or not original.is_file():
            continue
        made = partial / file.converted
        if file.converted not in record.made or not made.is_file():
            make_folder(made.parent)
            try:
                convert(original, made, file.member, file.keeps, file.entry)
            except CheckpointError:
                # It would be refused for ever; the next pull asks for it anew.
                original.unlink()
                record.files.pop(file.path, None)
                write_record(record, partial)
                raise
            record.made[file.converted] = Content(made.stat().st_size, hash_file(made), source=file.path)
            write_record(record, partial)
        if remove_original:
            original.unlink()
    for path, content in checkpoint.writes.items():
        written = partial / path
        make_folder(written.parent)
        written.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8", newline="")
        record.made[path] = Content(written.stat().st_size, hash_file(written))
    write_record(record, partial)


def _remove_originals(checkpoint, location):
    """Remove the pickles of a complete checkpoint, of which the record knows what was made of them."""
    record = read_record(location)
    with _disk(location):
        for file in checkpoint.files:
            if record is not None and record.replacements(file.path):
                (location / file.path).unlink(missing_ok=True)


def _publish(checkpoint, partial, destination):
    """Give the partial folder the checkpoint's name; of what lay there, files of the user's own are kept."""
    record = read_record(partial)
    wanted = {RECORD, *record.files, *record.made}
    for found in list(partial.rglob("*")):
        if found.is_file() and found.relative_to(partial).as_posix() not in wanted:
            found.unlink()
    known = {RECORD, *(file.path for file in checkpoint.files), *record.made}
    for found in list(destination.rglob("*")):
        path = found.relative_to(destination).as_posix()
        if found.is_file() and path not in known and not (partial / path).exists():
            copy_file(found, partial / path, partial)
    put_in_place(partial, destination)


def _complete(checkpoint, location):
    """Whether a folder needs nothing more: verified, converted, and written down where the manifest lacks a hash."""
    return examine(checkpoint, location).state == "verified" and not unconverted(checkpoint, location)


def _pulled(checkpoint, folder, action):
    size = sum(found.stat().st_size for found in folder.rglob("*") if found.is_file())
    return Pulled(checkpoint.name, folder, action, size)


@contextmanager
def _disk(destination):
    """Turn what the disk refuses into an error that says so."""
    try:
        yield
    except OSError as error:
        if error.errno in download.FULL:
            raise download.full_disk(destination, error) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise CheckpointError(
                f"{error.filename or destination} cannot be written ({error.strerror}); set BRAINRECON_WEIGHTS to a folder "
                "of your own before others."
            ) from error
        raise CheckpointError(
            f"Checkpoint {destination.name} could not be put into {destination.parent} ({error}); mend that and pull again."
        ) from error
