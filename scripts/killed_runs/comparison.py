"""What is different between the folder that a killed piece of work ended in, and that of the undisturbed one.

In reproducible mode all must be equal to the byte. In plain mode a picture may differ by one grey level, as it may with the
pictures that are drawn beside it in a batch; if one does, then what is computed from pictures (scores, reports, leaderboards)
has to be there and is not compared further. If none does, then all has to be equal to the byte in plain mode, too.

Not compared, in either mode: locks; times (of lines in manifests, and those that a page or a table has for its reader); the
order of the manifest's lines, and lines that are there twice. The working folder's own path counts as equal.
"""

import hashlib
import io
import json
import re
from pathlib import Path

import numpy as np
from PIL import Image

MANIFEST = "manifest.jsonl"
GREY_LEVELS = 1


def contents(folder):
    """Content of every file by path, None for a folder; without locks, and the folder's own path left out."""
    folder = Path(folder)
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() and not path.is_symlink():
            found[name] = None
        elif not name.endswith(".lock"):
            found[name] = path.read_bytes()
    return found


def differences(found, expected, here, there, exact):
    """What is wrong with a folder, by file.

    Parameters
    ----------
    found, expected : dict of str to bytes or None
        As `contents` gives them.
    here, there : path
        Where the folders were written, which some files tell.
    exact : bool
        Whether pictures have to be equal to the byte.

    Returns
    -------
    wrong : dict of str to str
        File name to a few words.
    n_other : int
        Pictures that differ by one grey level.
    """
    wrong, other = {}, set()
    for name in sorted(found.keys() | expected.keys()):
        if name not in expected:
            wrong[name] = "left"
        elif name not in found:
            wrong[name] = "missing"
        elif found[name] != expected[name] and name.endswith(".png") and not exact:
            levels = _grey_levels(found[name], expected[name])
            if levels > GREY_LEVELS:
                wrong[name] = f"differs by {levels:g} grey levels"
            elif levels:
                other.add(name)
    for name in sorted(found.keys() & expected.keys()):
        if name in other or name in wrong or found[name] is None:
            continue
        if Path(name).name == MANIFEST:
            if told := _wrong_in_manifest(name, found, expected):
                wrong[name] = told
        elif other and _is_computed_from_pictures(name):
            continue
        elif (a := _without_place(found[name], here)) != (b := _without_place(expected[name], there)):
            wrong[name] = f"other: {_first_difference(a, b)}"
    return wrong, len(other)


def _grey_levels(found, expected):
    pictures = [np.asarray(Image.open(io.BytesIO(one))).astype(int) for one in (found, expected)]
    if pictures[0].shape != pictures[1].shape:
        return np.inf
    return np.abs(pictures[0] - pictures[1]).max()


def _is_computed_from_pictures(name):
    return name.startswith("scores/") or "/scores/" in name or name.endswith((".html", ".md", "leaderboard.csv"))


def _without_place(content, folder):
    return content.replace(str(folder).encode(), b"FOLDER")


def _wrong_in_manifest(name, found, expected):
    """Each file that the undisturbed manifest lists has to be listed, with the hash of what is there."""
    lines, known = _lines(found[name]), _lines(expected[name])
    if absent := sorted(known.keys() - lines.keys()):
        return f"no line for {absent[0]}"
    if more := sorted(lines.keys() - known.keys()):
        return f"a line for {more[0]}"
    root = name.removesuffix(MANIFEST)
    for file, hashes in lines.items():
        content = found.get(root + file)
        if content is not None and hashes != {hashlib.sha256(content).hexdigest()}:
            return f"another hash for {file}"
    return ""


def _lines(manifest):
    """Hashes of each file, a set."""
    found = {}
    for line in manifest.splitlines():
        try:
            line = json.loads(line)
        except ValueError:
            continue
        found.setdefault(line["file"], set()).add(line["sha256"])
    return found


def _first_difference(a, b):
    """A few words of both around the first byte that differs."""
    at = next((place for place, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    few = [re.sub(r"[^ -~]", ".", part[max(0, at - 40) : at + 40].decode("latin-1")) for part in (a, b)]
    return f"byte {at} of {len(a)} and {len(b)}: {few[0]!r}, undisturbed {few[1]!r}"
