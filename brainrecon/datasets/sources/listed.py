"""Lists of public places as they come from outside: each name, size and address is checked before anything is fetched."""

import json
import unicodedata
from urllib.parse import urlsplit

from brainrecon.datasets.download import Remote, below
from stages.ground.errors import InputError


def listed_file(url, folder, name, what, *, source, md5=None, size=None):
    """One file of a list, checked.

    >>> from pathlib import Path
    >>> listed_file("https://x.org/1", Path("god"), "Subject1.h5", "article 7", source="https://x.org", size=3).size
    3

    Parameters
    ----------
    url : str
        Where the list says that it is.
    folder : pathlib.Path
    name : str
        Its path below the folder, parts separated by ``/``.
    what : str
        Whose list it is, for the message.
    source : str
        Address of the list.
    md5 : str, optional
    size : int, optional
        Its bytes.

    Returns
    -------
    remote : brainrecon.datasets.download.Remote

    Raises
    ------
    InputError
        The name leads out of the folder or cannot be a file's, the address is less secure than the list's, or the size is none.
    """
    if not isinstance(name, str):
        raise InputError(f"The list of {what} names a file {name!r:.200}, and that is no text; tell its owners.")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
        raise InputError(
            f"The list of {what} gives {name[:200]!r} the size {size!r:.60}; expected bytes: tell its owners."
        )
    if md5 and not isinstance(md5, str):
        raise InputError(
            f"The list of {what} gives {name[:200]!r} the MD5 sum {md5!r:.60}; expected text: tell its owners."
        )
    path = below(folder, name, what)
    return Remote(linked(url, source, what), path, md5 or None, size, exact=size is not None)


def linked(url, source, what):
    """An address that a list leads on to; an InputError if it is none, or leads from a secured one to an open one.

    >>> linked("https://files.osf.io/v1/1", "https://api.osf.io/v2", "OSF project abcde")
    'https://files.osf.io/v1/1'

    Parameters
    ----------
    url : str
    source : str
        Address of the list.
    what : str
        Whose list it is, for the message.
    """
    allowed = ("https", "http") if source.startswith("http:") else ("https",)
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        fits = (
            parts is not None
            and parts.scheme in allowed
            and bool(parts.hostname)
            and url.isascii()
            and url.isprintable()
            and " " not in url
        )
    except ValueError:
        fits = False
    if not fits:
        raise InputError(
            f"The list of {what} leads to {url!r:.200}, which is no address that begins with {' or '.join(allowed)}; nothing of "
            "it was fetched: tell its owners."
        )
    return url


def distinct(remotes, what):
    """Files of a list without those that it names twice; an InputError if two of them cannot lie beside each other.

    >>> from pathlib import Path
    >>> one = Remote("https://x.org/1", Path("god/Subject1.h5"))
    >>> len(distinct([one, one], "article 7"))
    1

    Two names that some disks take for one, such as ``A.csv`` and ``a.csv``, cannot: the second would never be fetched there.

    Parameters
    ----------
    remotes : sequence of brainrecon.datasets.download.Remote
    what : str
        Whose list it is, for the message.
    """
    kept = {}
    for remote in remotes:
        other = kept.setdefault(_on_any_disk(remote.path), remote)
        if other != remote:
            raise InputError(
                f"The list of {what} names both {other.path} and {remote.path}, which some disks take for one file and which "
                "differ; nothing of it was fetched: tell its owners."
            )
    for remote in kept.values():
        for folder in remote.path.parents:
            if (file := kept.get(_on_any_disk(folder))) is not None:
                raise InputError(
                    f"The list of {what} names {file.path} as a file, and {remote.path} below it; nothing of it was "
                    "fetched: tell its owners."
                )
    return list(kept.values())


def _on_any_disk(path):
    return unicodedata.normalize("NFC", path.as_posix()).casefold()


def json_of(content, what):
    """What a source's answer in JSON holds.

    >>> json_of(b'{"data": []}', "OSF project abcde")
    {'data': []}

    Parameters
    ----------
    content : bytes
    what : str
        Whose list it is, for the message.

    Raises
    ------
    InputError
        It is no JSON.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise no_list(what, error) from error


def no_list(what, error):
    """The error of an answer that is no list of files.

    >>> str(no_list("article 7", KeyError("name")))
    "The list of article 7 is none (KeyError: 'name'); try again later."
    """
    told = " ".join(str(error).split())[:200]
    return InputError(f"The list of {what} is none ({type(error).__name__}: {told}); try again later.")
