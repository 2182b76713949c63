"""Fetching one file over HTTP: resumed where it stopped, tried again a limited number of times, whole at the end."""

import errno
import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from weights.manifest import CheckpointError

Progress = Callable[[str, int, int], None]

BLOCK = 2**20
TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as lost."""
ATTEMPTS = 5
"""Failures in a row, without a new byte between them, after which a file is given up for now."""
DELAY = 1.0
"""Seconds before the second attempt; doubled before each further one."""
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Address:
    """Where a file can be had.

    Attributes
    ----------
    url : str
    size : int or None
        Bytes, where the server says so beforehand.
    headers : mapping of str to str
        Sent to the address itself, and to no other that it leads on to.
    constant : bool
        Whether the address names content that cannot change, so that a part of it stays good.
    """

    url: str
    size: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    constant: bool = False


class RefusedError(CheckpointError):
    """The server answers, and not with the file; trying again does not help.

    Attributes
    ----------
    code : int
        HTTP status.
    """

    def __init__(self, message, code):
        super().__init__(message)
        self.code = code


def fetch(find: Callable[[], Address], partial: Path, progress: Progress | None = None, label: str = "") -> str | None:
    """Bring a partial file to its full length.

    Parameters
    ----------
    find : callable
        Gives the file's address; asked again before every attempt, because signed addresses expire.
    partial : Path
        What is there already is kept, and what is missing is appended. Another file beside it with the ending
        ``.etag`` keeps the server's name for the content, or its date, so that parts of two contents are never joined.
    progress : callable, optional
        Called as ``progress(label, bytes_done, bytes_of_file)``.
    label : str

    Returns
    -------
    etag : str or None
        The server's name for the content.

    Raises
    ------
    RefusedError
        The server has no such file, or gives it to nobody or not to this user.
    CheckpointError
        The server cannot be reached, keeps breaking off, or the disk is full. What came so far stays.
    """
    failures, furthest = 0, _size(partial)
    while True:
        url = ""
        try:
            address = find()
            url = address.url
            return attempt(address, partial, progress, label)
        except (OSError, http.client.HTTPException) as error:
            _refuse(error, url, partial)
            failures = 0 if _size(partial) > furthest else failures + 1
            furthest = max(furthest, _size(partial))
            if failures >= ATTEMPTS:
                raise CheckpointError(
                    f"{url or label} could not be fetched ({_reason(error)}); what came so far is kept, pull again to go "
                    "on there, or give files copied by hand with --from DIR."
                ) from error
            time.sleep(DELAY * 2 ** max(failures - 1, 0) if failures else 0)


class _NoWayBack(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but none from a secured connection to an open one, where anybody could change what comes."""

    def redirect_request(self, request, file, code, message, headers, new_url):
        if request.full_url.startswith("https:") and not new_url.startswith("https:"):
            raise urllib.error.HTTPError(
                request.full_url, code, f"it sends on to {new_url.split('?')[0]}, which is not secured", headers, file
            )
        return super().redirect_request(request, file, code, message, headers, new_url)


def opened(request, timeout):
    """Open an address as `urllib.request.urlopen` does, over https from beginning to end where it begins so.

    Parameters
    ----------
    request : urllib.request.Request or str
    timeout : float
        Seconds.
    """
    return urllib.request.build_opener(_NoWayBack).open(request, timeout=timeout)


def name_of_content(partial: Path) -> Path:
    """Return the file beside a partial file that keeps the server's name for the content, or its date."""
    return partial.with_name(partial.name + ".etag")


def attempt(address: Address, partial: Path, progress: Progress | None = None, label: str = "") -> str | None:
    """Ask once for what is missing of a partial file; as `fetch`, which asks again.

    Returns
    -------
    etag : str or None
        The server's name for the content; the partial file is whole then.

    Raises
    ------
    OSError, http.client.HTTPException
        It is still not whole. What came stays if it is a part of what the server has.
    """
    named = name_of_content(partial)
    before = named.read_text(encoding="utf-8") if named.is_file() else None
    done = _size(partial)
    if done and not (address.constant or before):
        # Nothing says that what is there is a part of what would come now.
        done = 0
    if address.size is not None and done >= address.size:
        if done == address.size:
            return before
        done = 0
    headers = {"Accept-Encoding": "identity", "User-Agent": "brainrecon"}
    if done:
        headers["Range"] = f"bytes={done}-"
        if not address.constant:
            headers["If-Range"] = before
    request = urllib.request.Request(address.url, headers=headers)
    for name, value in address.headers.items():
        request.add_unredirected_header(name, value)
    try:
        answer = opened(request, TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        # Nothing lies behind what is there: it is whole, or no part of this file.
        if (error.headers.get("Content-Range") or "").rpartition("/")[2] == str(done):
            return before
        _discard(partial, named)
        raise ConnectionError(f"the server has no bytes behind {done:,}") from None
    with answer:
        start = _first_byte(answer) if answer.status == 206 else 0
        if start not in (0, done):
            raise ConnectionError(f"the server sent the bytes from {start:,} where those from {done:,} were asked for")
        length = answer.headers.get("Content-Length")
        size = int(length) + start if length and length.isdigit() else address.size
        etag = answer.headers.get("ETag")
        # A weak name promises no equal bytes, so that it cannot be resumed by.
        version = etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified")
        _room(partial, size, start)
        if start == 0:
            _discard(partial, named)
            if version:
                named.write_text(version, encoding="utf-8")
        _write(answer, partial, start, size, progress, label)
    there = _size(partial)
    if size is not None and there != size:
        if there > size:
            _discard(partial, named)
        raise ConnectionError(f"it broke off after {there:,} of {size:,} bytes")
    return etag


def _write(answer, partial, start, size, progress, label):
    done = start
    with open(partial, "ab" if start else "wb") as file:
        if progress is not None and start:
            progress(label, done, size or done)
        # read1 gives what has come, so that a stalled connection loses nothing of it.
        while block := answer.read1(BLOCK):
            file.write(block)
            done += len(block)
            if progress is not None:
                progress(label, done, size or done)
        file.flush()
        os.fsync(file.fileno())


def _room(partial, size, start):
    free = shutil.disk_usage(partial.parent).free
    if size is not None and size - start > free:
        raise OSError(errno.ENOSPC, f"{size - start:,} bytes are to come and {free:,} are free")


def _first_byte(answer):
    """Where the answer to a range begins: 50 in ``bytes 50-99/100``."""
    first = (answer.headers.get("Content-Range") or "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdigit() else -1


def _refuse(error, url, partial):
    """Raise what trying again does not mend."""
    if getattr(error, "errno", None) in FULL:
        raise full_disk(partial, error) from error
    if isinstance(error, PermissionError | FileNotFoundError | IsADirectoryError | NotADirectoryError):
        raise CheckpointError(
            f"{partial} cannot be written ({_reason(error)}); choose another BRAINRECON_WEIGHTS."
        ) from error
    code = getattr(error, "code", None)
    if not isinstance(code, int) or code in (408, 425, 429) or code >= 500:
        return
    if code in (401, 403):
        message = (
            f"{url} is not given to you ({code}); accept its licence on its page if it has one, or fetch it by hand "
            "and give its folder with --from DIR."
        )
    elif code in (404, 410):
        message = f"{url} does not exist ({code}); fetch the file by hand and give its folder with --from DIR."
    else:
        message = f"{url} was refused ({code} {_reason(error)}); fetch it by hand and give its folder with --from DIR."
    raise RefusedError(message, code) from error


def full_disk(path, error) -> CheckpointError:
    """The error for a disk, or a quota, without room for a file."""
    return CheckpointError(
        f"There is no room for {path} ({_reason(error)}); free some space or choose another BRAINRECON_WEIGHTS, "
        "and pull again: what came so far is kept."
    )


def _reason(error):
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return " ".join(str(reason).split()) or type(error).__name__


def _size(path):
    return path.stat().st_size if path.exists() else 0


def _discard(partial, named):
    partial.unlink(missing_ok=True)
    named.unlink(missing_ok=True)
