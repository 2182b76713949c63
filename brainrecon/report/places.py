"""Places on the machine that made a report, which others read: their last part alone, without whose home they lie in."""

import re
from pathlib import Path, PureWindowsPath

# The name of a kind of data or split may stand before.
_PLACE = re.compile(r"((?:[A-Za-z][\w-]+:)?)((?:[A-Za-z]:)?[\\/].+)", re.DOTALL)


def without_places(value):
    """Settings in which a path from the root on is its last part; numbers and other texts stay.

    >>> without_places({"source": "nsd:/home/somebody/nsd", "roi": "nsdgeneral", "seed": 0})
    {'source': 'nsd:…/nsd', 'roi': 'nsdgeneral', 'seed': 0}
    """
    if isinstance(value, dict):
        return {name: without_places(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_places(one) for one in value]
    found = _PLACE.fullmatch(value) if isinstance(value, str) else None
    # A name may end in a separator, and the names of Windows know both of them.
    return f"{found[1]}…/{PureWindowsPath(found[2]).name}" if found else value


def without_home(sentence):
    """A sentence in which the user's own folder is called ``~``."""
    home = str(Path.home())
    return sentence.replace(home, "~") if len(home) > 1 else sentence
