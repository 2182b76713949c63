"""What somebody may have meant by a name that there is not."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(given: object, known: Iterable[object], within: str = "") -> str:
    """Ask in brackets whether the nearest known name was meant, in capitals or not; nothing if none is near.

    >>> did_you_mean("nds", ["nsd", "god"]), did_you_mean("NSD", ["nsd", "god"])
    (" (did you mean 'nsd'?)", " (did you mean 'nsd'?)")
    >>> did_you_mean("strenght", ["strength", "eta"], within="generator")
    " (did you mean 'generator.strength'?)"

    Parameters
    ----------
    given : object
        As text it is compared with each known one.
    known : iterable of object
    within : str
        What stands before the known names, with a dot, where somebody writes them.

    Returns
    -------
    text : str
        What a message says behind the names that there are.
    """
    names = {str(name).casefold(): str(name) for name in known}
    near = get_close_matches(str(given).casefold(), names, n=1)
    return f" (did you mean {f'{within}.{names[near[0]]}'.lstrip('.')!r}?)" if near else ""
