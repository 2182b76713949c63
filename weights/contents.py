"""What a file is by its first bytes, whatever its name says: to tell a user why it cannot be read."""

from __future__ import annotations

import re
from pathlib import Path

# How files begin, and what they are then.
_BEGINNINGS = (
    (b"version https://git-lfs", "a pointer of Git LFS in place of the file, which `git lfs pull` fetches"),
    (b"/annex/objects/", "a pointer of git-annex in place of the file, which `git annex get` fetches"),
    (b"../.git/annex", "a pointer of git-annex in place of the file, which `git annex get` fetches"),
    (b"<!doctype html", "a web page, as a failed download leaves it"),
    (b"<html", "a web page, as a failed download leaves it"),
    (b"<?xml", "an XML document, as a failed download leaves it"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"PK\x03\x04", "a ZIP archive (such as .npz, or of torch)"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"MATLAB 5.0", "a MATLAB file of version 5"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"{", "JSON text"),
)


# A file that begins with some zeros may be whole.
_LOOKED_AT = 2**16


def what_it_is(path: str | Path) -> str | None:
    """Name what a file is, as far as its first bytes tell.

    >>> path = getfixture("tmp_path") / "model.bin"
    >>> _ = path.write_text("version https://git-lfs.github.com/spec/v1")
    >>> what_it_is(path)
    'a pointer of Git LFS in place of the file, which `git lfs pull` fetches'

    Returns
    -------
    str or None
        None for what is not known, or cannot be opened.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(_LOOKED_AT)
    except OSError:
        return None
    if not head:
        return "empty"
    if not head.strip(b"\0"):
        return "filled with zeros, as a power cut or a full disk leaves it"
    begin = head.lstrip()
    for beginning, name in _BEGINNINGS:
        if head.startswith(beginning) or begin.lower().startswith(beginning):
            return name
    return None


def stand_in(path: str | Path) -> str | None:
    """Name what lies in place of a file's content: nothing, zeros, a pointer, or a web page; None if it may be the content.

    >>> path = getfixture("tmp_path") / "model.safetensors"
    >>> _ = path.write_text("")
    >>> stand_in(path)
    'empty'
    """
    found = what_it_is(path)
    return found if found and re.search("^empty|^filled with zeros|in place of|failed download", found) else None


def first_stand_in(folder: str | Path) -> Path | None:
    """Return the first file of a folder that is a pointer, or a web page, in place of the file of that name."""
    if not Path(folder).is_dir():
        return None
    files = sorted(path for path in Path(folder).iterdir() if path.is_file())
    return next((path for path in files if re.search("in place of|failed download", stand_in(path) or "")), None)


# What torch reads by itself; anything else that has a name is the reason why it could not.
_OF_TORCH = ("a ZIP archive (such as .npz, or of torch)", "a pickle")


def why_no_tensors(path: str | Path, error: BaseException) -> str:
    """Say why a file of weights gave no tensors: what it is instead, or what was wrong with it.

    torch advises to load what it refuses without its safeguard, which runs whatever the file says; that is never repeated.

    >>> path = getfixture("tmp_path") / "model.pth"
    >>> _ = path.write_text("<!DOCTYPE html>")
    >>> why_no_tensors(path, ValueError("Weights only load failed. Set weights_only to False."))
    'it is a web page, as a failed download leaves it, 15 bytes'

    Parameters
    ----------
    path : path
        The file, or a folder of several.
    error : Exception
        What its reader raised.

    Returns
    -------
    why : str
        A part of a sentence, on one line.
    """
    path, told = Path(path), str(error)
    found = what_it_is(path)
    if found and found not in _OF_TORCH:
        size = path.stat().st_size
        return f"it is {found}" + (f", {size:,} bytes" if size else "")
    if asked := re.search(r"GLOBAL ([\w.]+)", told):
        return f"it asks to run {asked[1]}, where a file of tensors names none"
    if "weights_only" in told or "Weights only" in told:
        return "it is a pickle of something else than tensors"
    # Colours of a terminal have no place in a sentence.
    first = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", told).split()).partition(". ")[0].strip()
    return first[:200] if re.search("[A-Za-z]", first) else "its bytes are of no format that is known"
