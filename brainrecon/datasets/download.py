"""Fetching files of public datasets: in parts that can be resumed, checked, whole or not at all."""

import hashlib
import http.client
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from brainrecon.datasets.dataset import ExpectedFile
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from stages.ground.reading.wall import one_line
from weights.download import FULL, TIMEOUT, Address, attempt, name_of_content, opened
from weights.names import trouble_with_part
from weights.sizes import in_words
from weights.whole_files import make_folder, put_in_place

LONGEST_LIST = 256 * 2**20
"""Bytes of one answer to a question for a list; the longest page that a public place gives has a few million."""


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
    size : int, optional
        Bytes, as the source says or at most.
    optional : bool
        Whether the data load without it.
    exact : bool
        Whether the file has so many bytes and not fewer, so that a page in its place is found even without a sum.
    """

    url: str
    path: Path
    md5: str | None = None
    size: int | None = None
    optional: bool = False
    exact: bool = field(default=False, compare=False)


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
        so far stays in a file that ends in ``.partial``. The next call goes on behind it if the source still has the same
        content, and begins anew if it has not, or does not say.
    AbsentError
        The source has no such file.
    """
    if remote.path.is_dir():
        raise InputError(f"{remote.path} is a folder where the file of {remote.url} belongs; move it away.")
    if remote.path.exists():
        return False
    make_folder(remote.path.parent)
    partial = _partial(remote.path)
    # What does not fit the source's sum is found at the end, so that any part may be gone on with.
    address = Address(remote.url, (remote.size or None) if remote.exact else None, constant=remote.md5 is not None)
    try:
        attempt(address, partial, progress, remote.path.name)
    # Addresses that a server leads on to may be none.
    except (OSError, ValueError, http.client.HTTPException) as error:
        if getattr(error, "errno", None) in FULL:
            raise InputError(
                f"There is no room for {remote.url} at {partial.parent} ({error.strerror}); free some, and run the same command "
                "again."
            ) from error
        reason = one_line(getattr(error, "reason", None) or error)
        # A bucket whose list is not public answers 403 for what it does not hold.
        if getattr(error, "code", None) in (403, 404, 410):
            raise AbsentError(
                f"{remote.url} could not be fetched ({reason}); the source does not have it, or does not give it to all: ask "
                "its owners."
            ) from error
        raise InputError(
            f"{remote.url} could not be fetched ({reason}); run the same command again to go on where it stopped."
        ) from error
    if trouble := _another_content(remote, partial):
        partial.unlink()
        name_of_content(partial).unlink(missing_ok=True)
        raise InputError(f"{remote.url} has {trouble}; the copy was removed: run the same command again.")
    put_in_place(partial, remote.path)
    name_of_content(partial).unlink(missing_ok=True)
    return True


def _another_content(remote, partial):
    """In what the copy differs from what its source says of it; None if in nothing."""
    size = partial.stat().st_size
    if remote.exact and remote.size is not None and size != remote.size:
        return f"{size:,} bytes but its source says {remote.size:,}"
    if remote.md5 and (found := _md5(partial)) != remote.md5.lower():
        return f"the MD5 sum {found} but its source says {remote.md5}"
    return None


def _md5(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def listing(url, what):
    """What a source answers to a question for its list of files, as bytes.

    Parameters
    ----------
    url : str
    what : str
        Whose list it is, for the message.

    Raises
    ------
    InputError
        It does not answer, breaks off, or does not come to an end.
    """
    try:
        with opened(url, TIMEOUT) as answer:
            content = answer.read(LONGEST_LIST + 1)
            # A length that was asked for hides that fewer bytes came than were promised.
            if getattr(answer, "length", None) and len(content) <= LONGEST_LIST:
                raise ConnectionError(f"it broke off after {len(content):,} bytes")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise InputError(
            f"The list of {what} at {url} could not be read ({one_line(error)}); try again later."
        ) from error
    if len(content) > LONGEST_LIST:
        raise InputError(
            f"The list of {what} at {url} is longer than {LONGEST_LIST:,} bytes and so none; tell its owners."
        )
    return content


def below(folder, name, what):
    """The path of a listed file below a folder; an InputError if its name leads out of it or cannot be a file's here.

    >>> from pathlib import Path
    >>> below(Path("data"), "sub-01/func/bold.nii.gz", "ds000001").as_posix()
    'data/sub-01/func/bold.nii.gz'

    Parameters
    ----------
    folder : pathlib.Path
    name : str
        Parts are separated by ``/``.
    what : str
        Whose list it is, for the message.
    """
    for part in name.split("/"):
        if trouble := trouble_with_part(part):
            raise InputError(
                f"The list of {what} names a file {name[:200]!r}, and {trouble}; nothing of it was fetched: tell its owners."
            )
    return folder.joinpath(*name.split("/"))


def fetch_all(remotes, folder, less, progress=SILENT):
    """Download files unless they are there, once the disk has the room for all.

    Parameters
    ----------
    remotes : sequence of Remote
    folder : pathlib.Path
        Whose disk is asked; it need not exist.
    less : str
        How to fetch less, for the message.
    progress : callable, optional
        Called as ``progress(label, bytes_done, bytes_of_file)``.

    Returns
    -------
    absent : list of pathlib.Path
        Optional files that the source does not have.

    Raises
    ------
    InputError
        There is no room, a file that is needed cannot be fetched, or the connection broke.
    """
    check_room(folder, [ExpectedFile(one.path, "", largest=one.size) for one in remotes], less)
    absent = []
    for remote in remotes:
        try:
            fetch(remote, progress)
        except AbsentError:
            if not remote.optional:
                raise
            absent.append(remote.path)
    return absent
