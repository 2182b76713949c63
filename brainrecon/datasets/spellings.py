"""Ids that are looked for and not found, though they may be there in another spelling."""

import re
import unicodedata


def likely_same(name, there):
    """The id among those that are there which is likely the same as another, or None.

    >>> likely_same("7", ["00006", "00007"]), likely_same("Cat", ["cat.png"]), likely_same("7", ["70"])
    ('00007', 'cat.png', None)

    Parameters
    ----------
    name : str
    there : iterable of str
    """
    wanted = _plain(name)
    return next((other for other in there if _plain(other) == wanted), None)


def said_of(name, there):
    """What a message adds of an id that is not found: the same in another spelling, or the first that is there.

    >>> said_of("7", ["00006", "00007"])
    " ('00007' is there: write both in one way)"
    >>> said_of("cat", ["dog"]), said_of("cat", [])
    (" ('dog' is there)", '')
    """
    there = list(there)
    same = likely_same(name, there)
    if same is not None:
        return f" ('{same}' is there: write both in one way)"
    return f" ('{there[0]}' is there)" if there else ""


def _plain(name):
    """An id without what programs change in it: case, blanks, a file's suffix, zeros at either end of a number."""
    plain = unicodedata.normalize("NFC", str(name)).strip().casefold()
    plain = re.sub(r"\.(png|jpe?g|bmp|tiff?|gif|webp)$", "", plain)
    plain = re.sub(r"(?<=\d)\.0+$", "", plain)
    return re.sub(r"(?<!\d)0+(?=\d)", "", plain)
