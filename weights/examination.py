"""Whether a folder holds what a checkpoint's entry in the manifest, and the record of its pull, say."""

from dataclasses import dataclass
from pathlib import Path

from weights.contents import stand_in
from weights.hashes import hash_file
from weights.manifest import Checkpoint, CheckpointError, CheckpointFile
from weights.records import Content, Record, read_record


@dataclass(frozen=True)
class Status:
    """What `verify` found for one checkpoint.

    Attributes
    ----------
    name : str
        The checkpoint.
    state : {"verified", "unverified", "absent", "damaged"}
        "unverified": every file is there, but for at least one of them neither the manifest nor the record of its
        pull has a hash.
    detail : str
        One line: what is missing or wrong, and for verified ones how much was read.
    """

    name: str
    state: str
    detail: str


def examine(checkpoint: Checkpoint, location: Path, check: bool = True, anew: bool = False) -> Status:
    """Compare what lies in one folder with a checkpoint's entry and with the record of its pull.

    Parameters
    ----------
    checkpoint : Checkpoint
    location : Path
    check, anew : bool
        Hash the files, and read all of them for it, as for `verify`.

    Returns
    -------
    status : Status
    """
    if not checkpoint.files:
        why = "it was not fetched" if checkpoint.origin.startswith("hub:") else "the manifest lists no file for it"
        return Status(checkpoint.name, "absent", why)
    if not location.is_dir():
        return Status(checkpoint.name, "absent", f"there is no folder {location}")
    try:
        record = None if checkpoint.embedded else read_record(location)
    except CheckpointError as error:
        return Status(checkpoint.name, "damaged", str(error).rstrip("."))
    missing = _missing(checkpoint, location, record)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        state = "damaged" if any((location / file.path).is_file() for file in checkpoint.files) or record else "absent"
        return Status(checkpoint.name, state, f"{location} does not hold {missing[0]}{more}")
    if not check:
        return Status(checkpoint.name, "unverified", "present, not compared with the manifest")
    known = record.files | record.made if record is not None else {}
    listed = {file.path: file for file in checkpoint.files}
    for path in (*listed, *(path for path in known if path not in listed)):
        trouble = _trouble(listed.get(path), location / path, path, known.get(path), anew)
        if trouble:
            return Status(checkpoint.name, "damaged", trouble)
    unknown = [file.path for file in checkpoint.files if file.sha256 is None and file.path not in known]
    if unknown:
        return Status(checkpoint.name, "unverified", f"present; no hash is known for {', '.join(unknown)}")
    present = [location / path for path in (listed.keys() | known.keys()) if (location / path).is_file()]
    size = sum(path.stat().st_size for path in present)
    trusted = [path for path in listed if listed[path].sha256 is None]
    since = f"; {len(trusted)} as when pulled, the publisher's hashes are not known" if trusted else ""
    return Status(checkpoint.name, "verified", f"{len(present)} files, {size:,} bytes{since}")


def unconverted(checkpoint: Checkpoint, location: Path) -> list[str]:
    """What is still to be made in a checkpoint's folder: converted pickles, and the files written beside them."""
    made = [file.converted for file in checkpoint.files if file.converted is not None]
    return [path for path in (*made, *checkpoint.writes) if not (location / path).is_file()]


def _missing(checkpoint: Checkpoint, location: Path, record: Record | None) -> list[str]:
    """The files that should be there and are not; an original that was removed after its conversion need not be."""
    missing = []
    for file in checkpoint.files:
        removed = record is not None and file.path in record.files and record.replacements(file.path)
        if not removed and not (location / file.path).is_file():
            missing.append(file.path)
    made = record.made if record is not None else ()
    return missing + [path for path in made if not (location / path).is_file()]


def _trouble(file: CheckpointFile | None, found: Path, path: str, recorded: Content | None, anew: bool) -> str | None:
    """What is wrong with a file, in words, or None: against the manifest's entry and against the record, if any."""
    if not found.is_file():
        # Removed after its conversion; what is left to look at is the hash that was written down.
        if file is not None and not fits(file, recorded.sha256):
            return f"{path} had sha256 {recorded.sha256} when it was pulled where the manifest says {expected(file)}"
        return None
    size = found.stat().st_size
    if file is not None and file.size is not None and size != file.size:
        return f"{path} has {size:,} bytes where the manifest says {file.size:,}"
    if recorded is not None and size != recorded.size:
        return f"{path} has {size:,} bytes where it had {recorded.size:,} when it was pulled"
    is_unknown = file is None or (file.sha256 is None and file.sha256_begins is None)
    # Where no hash is known, this much can be told, also of what was pulled so.
    if file is not None and is_unknown and (instead := stand_in(found)):
        return f"{path} is {instead}"
    if recorded is None and is_unknown:
        return None
    sha256 = hash_file(found, anew)
    if file is not None and not fits(file, sha256):
        return f"{path} has sha256 {sha256} where the manifest says {expected(file)}"
    if recorded is not None and sha256 != recorded.sha256:
        return f"{path} has sha256 {sha256} where it had {recorded.sha256} when it was pulled"
    return None


def fits(file: CheckpointFile, sha256: str) -> bool:
    """Whether a hash is the manifest's, as far as the manifest knows it."""
    return file.sha256 in (None, sha256) and sha256.startswith(file.sha256_begins or "")


def expected(file: CheckpointFile) -> str:
    """The manifest's hash in words."""
    return file.sha256 or f"{file.sha256_begins}..."
