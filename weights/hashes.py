"""Hashes of large files, read once: remembered in the user's cache folder for as long as a file stays as it is."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from weights.locations import cache_folder
from weights.whole_files import write_text

# Small files are hashed each time: that is fast, and two writes within one tick of the file system's clock look alike.
LARGE = 100_000_000


def hash_file(file: Path, anew: bool = False) -> str:
    """The sha256 of a file as 64 hex digits.

    >>> path = getfixture("tmp_path") / "a.txt"
    >>> _ = path.write_text("abc")
    >>> hash_file(path)[:8]
    'ba7816bf'

    A large file is read once, by one process for all, until its size or one of its times changes.

    Parameters
    ----------
    file : Path
    anew : bool
        Read it whatever is remembered.

    Returns
    -------
    sha256 : str
    """
    facts = os.stat(file)
    if facts.st_size < LARGE:
        return _read(file)
    path = str(Path(file).resolve())
    known = {"file": path, "size": facts.st_size, "modified": facts.st_mtime_ns, "changed": facts.st_ctime_ns}
    note = cache_folder() / "hashes" / f"{hashlib.sha256(path.encode()).hexdigest()[:32]}.json"
    if not anew:
        with suppress(OSError, ValueError, TypeError, AttributeError):
            remembered = json.loads(note.read_text(encoding="utf-8"))
            sha256 = remembered.pop("sha256", None)
            if remembered == known and isinstance(sha256, str):
                return sha256
    sha256 = _read(file)
    # Without a note it is read again the next time.
    with suppress(OSError):
        write_text(note, json.dumps(known | {"sha256": sha256}) + "\n")
    return sha256


def _read(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
