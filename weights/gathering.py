"""The first half of a pull: every file of a checkpoint in the partial folder, proved and written down."""

import shutil
from pathlib import Path

from weights import download
from weights.contents import stand_in
from weights.copies import copy_file, find_copies
from weights.download import Address
from weights.examination import examine, expected, fits
from weights.hashes import hash_file
from weights.hub import HubFile
from weights.locations import user_stores
from weights.manifest import CheckpointError, CheckpointFile
from weights.origins import parse_origin
from weights.records import Content, Record, read_record, write_record
from weights.whole_files import make_folder, put_in_place


def gather(checkpoint, destination, partial, source=None, progress=None):
    """Bring every file of a checkpoint into its partial folder, proved and written down in the record there.

    Parameters
    ----------
    checkpoint : Checkpoint
    destination : Path
        The checkpoint's folder, whose sound files are taken over where it is damaged.
    partial : Path
        What an earlier, interrupted pull left there is gone on with.
    source : Path, optional
        A folder to take the files from instead of the network.
    progress : callable, optional

    Returns
    -------
    action : {"pulled", "copied", "converted"}
        "converted": all files were in a store already.

    Raises
    ------
    CheckpointError
        A file cannot be had or is not what it should be; a wrong one is removed.
    OSError
        The disk refuses.
    """
    record = _start(checkpoint, partial)
    places = [source] if source is not None else _present(checkpoint)
    if source is not None and not Path(source).is_dir():
        raise CheckpointError(f"There is no folder {source}; give the one that holds the files of {checkpoint.name}.")
    if source is None and not places and destination.is_dir():
        _reuse(checkpoint, destination, partial, record)
    if places:
        kept = read_record(places[0])
        copies = find_copies(checkpoint, Path(places[0]), kept)
        for path, copy in copies.items():
            listed = next((file for file in checkpoint.files if file.path == path), CheckpointFile(path))
            copy_file(copy, partial / path, partial)
            _prove(listed, partial, record, places[0], kept=_kept(kept, path))
        if kept is not None:
            _adopt(kept, copies, record, checkpoint)
            write_record(record, partial)
        return "copied" if source is not None else "converted"
    for file in checkpoint.files:
        if not _came(file, partial, record):
            _fetch(checkpoint, file, partial, record, progress)
    return "pulled"


def _start(checkpoint, partial):
    """The record of an earlier, interrupted pull from the same origin, or a new one."""
    try:
        record = read_record(partial)
    except CheckpointError:
        record = None
    if record is None or record.origin != checkpoint.origin:
        # Parts from elsewhere are parts of something else.
        shutil.rmtree(partial)
        partial.mkdir()
        record = Record(checkpoint.origin)
    listed = {file.path for file in checkpoint.files}
    record.files = {path: content for path, content in record.files.items() if path in listed}
    record.made = {}
    write_record(record, partial)
    return record


def _present(checkpoint):
    """The folder where all files already are but not yet converted or written down, as a list of at most one."""
    places = [store / checkpoint.folder for store in user_stores()]
    return [place for place in places if examine(checkpoint, place).state in ("verified", "unverified")][:1]


def _reuse(checkpoint, destination, partial, record):
    """Take over the sound files of a damaged checkpoint."""
    try:
        earlier = read_record(destination)
    except CheckpointError:
        earlier = None
    for file in checkpoint.files:
        found, known = destination / file.path, _kept(earlier, file.path)
        sound = found.is_file() and (file.sha256 or known) and not (partial / file.path).exists()
        if sound and fits(file, sha256 := hash_file(found)) and (known is None or known.sha256 == sha256):
            copy_file(found, partial / file.path, partial)
            record.files[file.path] = known or Content(found.stat().st_size, sha256)
    if earlier is not None and earlier.origin == record.origin and record.commit is None:
        record.commit = earlier.commit
    write_record(record, partial)


def _came(file, partial, record):
    """Whether a file came whole in an interrupted pull and still is what it was."""
    there, known = partial / file.path, record.files.get(file.path)
    if (
        there.is_file()
        and known is not None
        and there.stat().st_size == known.size
        and hash_file(there) == known.sha256
    ):
        return True
    there.unlink(missing_ok=True)
    return False


def _fetch(checkpoint, file, partial, record, progress):
    """Fetch one file into the partial folder and prove it."""
    origin = parse_origin(checkpoint.origin)
    part = partial / f"{file.path}.part"
    make_folder(part.parent)
    label = f"{checkpoint.name}/{file.path}"
    if origin.kind == "hub":
        # All files are of the commit at which the first one was found, also when the pull goes on another day.
        described = HubFile(origin, file.path, record.commit or origin.revision)

        def find():
            address = described.find()
            if record.commit is None:
                record.commit = described.commit
                write_record(record, partial)
            return address

        download.fetch(find, part, progress, label)
        etag = described.etag
    else:
        described = None
        address = Address(origin.url(file.path), file.size, constant=file.sha256 is not None)
        etag = download.fetch(lambda: address, part, progress, label)
    put_in_place(part, partial / file.path)
    part.with_name(part.name + ".etag").unlink(missing_ok=True)
    _prove(file, partial, record, checkpoint.origin, etag=etag, described=described)


def _prove(file, partial, record, where, etag=None, described=None, kept=None):
    """Compare a file with all that is known of it, and write its hash down; what does not fit is removed."""
    found = partial / file.path
    size, sha256 = found.stat().st_size, hash_file(found)
    trouble = None
    if file.size is not None and size != file.size:
        trouble = f"has {size:,} bytes where the manifest says {file.size:,}"
    elif not fits(file, sha256):
        trouble = f"has sha256 {sha256} where the manifest says {expected(file)}"
    elif kept is not None and kept.sha256 != sha256:
        trouble = f"has sha256 {sha256} where it had {kept.sha256} when it was pulled"
    elif described is not None:
        trouble = described.check(found, sha256)
    # Where no hash is known, this much can be told.
    if trouble is None and not (file.sha256 or file.sha256_begins) and (instead := stand_in(found)):
        trouble = f"is {instead}"
    if trouble is not None:
        found.unlink()
        record.files.pop(file.path, None)
        write_record(record, partial)
        raise CheckpointError(
            f"{file.path} from {where} {trouble}; the copy was removed: pull again, or give the right file with "
            "--from DIR."
        )
    record.files[file.path] = Content(size, sha256, etag)
    write_record(record, partial)


def _kept(record, path):
    return None if record is None else record.files.get(path) or record.made.get(path)


def _adopt(kept, copies, record, checkpoint):
    """Take over what another record says of files that were copied together with it."""
    if kept.origin == record.origin:
        record.commit = kept.commit
    for path in copies:
        if path in kept.made:
            record.made[path] = kept.made[path]
            record.files.pop(path, None)
    for file in checkpoint.files:
        if file.path not in copies and file.path in kept.files:
            record.files[file.path] = kept.files[file.path]
