"""What somebody may have meant by a name that there is not."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Ask in brackets whether the nearest known name was meant; nothing if none is near.

    >>> did_you_mean("nds", ["nsd", "god"])
    " (did you mean 'nsd'?)"
    """
    near = get_close_matches(str(given), list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
