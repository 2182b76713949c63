"""What a run has drawn: `manifest.jsonl`, a line with name, hash and time for each file written."""

from __future__ import annotations

import hashlib
import json
import os
import time

from weights.whole_files import named_errors


def note(layout, path):
    """Add a line for a file, and return its hash.

    Parameters
    ----------
    layout : brainrecon.runs.layout.Layout
    path : pathlib.Path
        Below the run's folder.
    """
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    line = {
        "file": path.relative_to(layout.folder).as_posix(),
        "sha256": sha256,
        "time": round(time.time(), 3),
    }
    with named_errors(layout.manifest), open(layout.manifest, "ab+") as manifest:
        # A process that was killed may have left half a line; what follows must not become part of it.
        start = b"\n" if _ends_within_a_line(manifest) else b""
        manifest.write(start + json.dumps(line).encode() + b"\n")
    return sha256


def noted(layout):
    """Hashes of the files that have a line, dict of name to str, the last line's; half lines count for nothing."""
    try:
        lines = layout.manifest.read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    found = {}
    for line in lines:
        try:
            line = json.loads(line)
            found[str(line["file"])] = str(line["sha256"])
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
    return found


def complete(layout, paths):
    """Add a line for those of some files that are there without one, as a process leaves them that is killed in between.

    Parameters
    ----------
    layout : brainrecon.runs.layout.Layout
    paths : iterable of pathlib.Path
    """
    known = noted(layout)
    for path in paths:
        if path.relative_to(layout.folder).as_posix() not in known and path.exists():
            note(layout, path)


def _ends_within_a_line(file):
    if not file.seek(0, os.SEEK_END):
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"
