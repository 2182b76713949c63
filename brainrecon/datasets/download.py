"""Fetching files of public datasets: in parts that can be resumed, checked, whole or not at all."""

import hashlib
import http.client
import json
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from weights.names import trouble_with_part
from weights.sizes import in_words
from weights.whole_files import make_folder, put_in_place

BLOCK = 2**20
TIMEOUT = 60
"""Seconds without a byte after which the connection counts as lost."""


@dataclass(frozen=True)
class Remote:
    """A file somewhere else.

    Attributes
    ----------
    url : str
    path : pathlib.Path
        Where it goes.
    md5 : str, optional
        What the source says of its content.
    """

    url: str
    path: Path
    md5: str | None = None


class AbsentError(InputError):
    """The source answers, and says that it has no such file."""


def check_room(folder, files, less):
    """Raise an InputError if the disk has not the room that missing files take at most.

    Parameters
    ----------
    folder : pathlib.Path
        Where they go; it need not exist.
    files : sequence of brainrecon.datasets.dataset.ExpectedFile
    less : str
        How to fetch less, for the message.
    """
    wanted = sum(file.largest or 0 for file in files if not file.path.exists())
    # What is fetched already lies beside it.
    wanted -= sum(partial.stat().st_size for file in files if (partial := _partial(file.path)).exists())
    free = free_bytes(folder)
    if wanted > free:
        raise InputError(
            f"Up to {in_words(wanted)} are to come and {in_words(free)} are free at {folder}; free some, or fetch less, for "
            f"example {less}."
        )


def free_bytes(folder):
    """Bytes that are free where a folder is, or would be."""
    folder = Path(folder).resolve()
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free


def _partial(path):
    return path.with_name(path.name + ".partial")


def fetch(remote, progress=SILENT):
    """Download one file unless it is there.

    Parameters
    ----------
    remote : Remote
    progress : callable, optional
        Called as ``progress(label, bytes_done, bytes_of_file)``.

    Returns
    -------
    fetched : bool
        False where the file was there already.

    Raises
    ------
    InputError
        The source refuses, the connection breaks, or the content is not what the source said it would be. What came
        so far stays in a file that ends in ``.partial``, and the next call goes on behind it.
    AbsentError
        The source has no such file.
    """
    if remote.path.exists():
        return False
    make_folder(remote.path.parent)
    partial = _partial(remote.path)
    try:
        size = _transfer(remote, partial, progress)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        # A bucket whose list is not public answers 403 for what it does not hold.
        kind = AbsentError if getattr(error, "code", None) in (403, 404) else InputError
        raise kind(
            f"{remote.url} could not be fetched ({reason}); run the same command again to go on where it stopped."
        ) from error
    there = partial.stat().st_size
    if size is not None and there > size:
        partial.unlink()
        raise InputError(
            f"{partial} held {there:,} bytes, more than the {size:,} of {remote.url}; it was removed: try again."
        )
    if size is not None and there < size:
        raise InputError(
            f"{remote.url} broke off after {there:,} of {size:,} bytes; run the same command again to go on where it "
            "stopped."
        )
    if remote.md5 and (found := _md5(partial)) != remote.md5:
        partial.unlink()
        raise InputError(
            f"{remote.url} has the MD5 sum {found} but its source says {remote.md5}; the copy was removed: "
            "run the same command again."
        )
    put_in_place(partial, remote.path)
    return True


def _transfer(remote, partial, progress):
    """Append what is missing to the partial file; the size of the whole, or None if the source does not say."""
    done = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(remote.url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        # Nothing lies behind what is there: it is whole, or longer than the source's.
        whole = (error.headers.get("Content-Range") or "").rpartition("/")[2]
        return int(whole) if whole.isdigit() else done
    with answer:
        resumed = answer.status == 206
        length = answer.headers.get("Content-Length")
        size = None if length is None else int(length) + (done if resumed else 0)
        if length is not None and int(length) > (free := free_bytes(partial.parent)):
            raise InputError(
                f"{remote.url} brings {in_words(int(length))} and {in_words(free)} are free at {partial.parent}; free some, "
                "and run the same command again."
            )
        # A source that cannot resume sends everything again.
        with open(partial, "ab" if resumed else "wb") as file:
            done = done if resumed else 0
            while block := answer.read(BLOCK):
                file.write(block)
                done += len(block)
                progress(remote.path.name, done, size or done)
    return size


def _md5(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def figshare_files(article, folder):
    """What a figshare article holds, as `Remote` files below a folder.

    Parameters
    ----------
    article : int
        Its number, the last part of its address.
    folder : pathlib.Path
    """
    url = f"https://api.figshare.com/v2/articles/{article}/files?page_size=1000"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            listed = json.load(answer)
        for entry in listed:
            if trouble := trouble_with_part(entry["name"]):
                raise ValueError(f"it lists a file {entry['name']!r}, and {trouble}")
        return [Remote(entry["download_url"], folder / entry["name"], entry["computed_md5"]) for entry in listed]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"figshare's list of article {article} could not be read ({error}); try again later."
        ) from error
