"""Who draws what, where several processes draw into one run folder: each takes a portion, and nothing is drawn twice.

Every process has two files in `.drawing/`: a lock that it holds as long as it lives, and the names of what it is drawing.
What a process had taken that was killed is free again, for its lock is.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from uuid import uuid4

from stages.ground.progress import SILENT
from weights.whole_files import locked, write_text

FOLDER = ".drawing"
_SECONDS_BETWEEN_LOOKS = 0.05
# A process that draws alone leaves enough for so many, since others may begin a moment later.
_EXPECTED = 4


class Claims:
    """What this process draws into a run folder, as a context; nothing is written where everything is there.

    >>> with Claims("runs/subj01") as claims:  # doctest: +SKIP
    ...     for portion in claims.portions(items, path_of, batch_size=8):
    ...         draw(portion)

    Parameters
    ----------
    folder : path
        The run's.
    progress : callable
        Called with (label, done, total) while another process has what is left.
    """

    def __init__(self, folder, progress=SILENT):
        self._folder, self._own, self._progress = Path(folder) / FOLDER, uuid4().hex[:12], progress
        self._alive, self._is_shown, self._has_taken = ExitStack(), False, True

    def __enter__(self):
        if any(self._folder.glob("[!.]*.json")):
            # Nothing may be left to draw, and yet something of a process that was killed; in a read-only folder it stays.
            with suppress(OSError), locked(self._folder):
                self._others()
        return self

    def __exit__(self, *error):
        self._alive.close()

    def portions(self, items, path_of, batch_size, batches=1, given_up=()):
        """Yield lists of items to draw now, until the file of every item is there, whoever drew it.

        Parameters
        ----------
        items : sequence
        path_of : callable
            ``path_of(item)`` is the file of an item. Those of a portion have to be there when the next one is asked for.
        batch_size : int
        batches : int
            At most so many batches make a portion, fewer where others draw too and little is left.
        given_up : collection of items
            Those that turned out, meanwhile, to have no file; looked at again for every portion.

        Yields
        ------
        portion : list
            Items in their order.
        """
        left = [item for item in items if not path_of(item).exists()]
        if left:
            self._live()
        while left:
            portion = self._take(left, path_of, batch_size, batches)
            if portion:
                yield portion
            else:
                self._progress("waiting for another process that draws here", 0, len(left))
                time.sleep(_SECONDS_BETWEEN_LOOKS)
            left = [item for item in left if item not in given_up and not path_of(item).exists()]

    def _take(self, left, path_of, batch_size, batches):
        """Claim the first items that nobody else draws."""
        with locked(self._folder):
            others = self._others()
            taken = {name for names in others for name in names}
            # What was there a moment ago may be done, and no longer anybody's.
            free = [item for item in left if self._name(path_of(item)) not in taken and not path_of(item).exists()]
            under_way = sum(not (self._folder.parent / name).exists() for name in taken)
            portion = free[: _size(len(free), under_way, len(others) + 1, batch_size, batches)]
            if portion or self._has_taken:
                write_text(self._names(self._own), json.dumps([self._name(path_of(item)) for item in portion]) + "\n")
            self._has_taken = bool(portion)
        return portion

    def _name(self, path):
        """A file as all processes call it, from whatever folder they were started."""
        return os.path.relpath(path, self._folder.parent)

    def _others(self):
        """What each other living process draws, lists of names; files of the dead are removed."""
        found = []
        for path in sorted(self._folder.glob("[!.]*.json")):
            if path.stem == self._own:
                continue
            with locked(self._folder, wait=False, name=_lock_name(path.stem)) as is_dead:
                if not is_dead:
                    # It may end just now, and take its names away.
                    with suppress(FileNotFoundError):
                        found.append(json.loads(path.read_text(encoding="utf-8")))
                    continue
                path.unlink(missing_ok=True)
            (self._folder / _lock_name(path.stem)).unlink(missing_ok=True)
        return found

    def _live(self):
        """Show the others that this process draws, until the context ends."""
        if self._is_shown:
            return
        self._is_shown = True
        self._alive.callback((self._folder / _lock_name(self._own)).unlink, missing_ok=True)
        self._alive.callback(self._names(self._own).unlink, missing_ok=True)
        # Nobody may take it for that of a dead process while it is made.
        with locked(self._folder):
            self._alive.enter_context(locked(self._folder, name=_lock_name(self._own)))

    def _names(self, own):
        return self._folder / f"{own}.json"


def _size(free, under_way, n_drawing, batch_size, batches):
    """How many of the items that are free make a portion, less and less, in whole batches as long as that keeps nobody waiting.

    >>> [_size(free, 0, 1, 8, 16) for free in (1000, 200, 8)], [_size(free, taken, 2, 8, 16) for free, taken in ((8, 0), (4, 4))]
    ([120, 24, 8], [4, 4])
    """
    share = free // (2 * batch_size * max(n_drawing, _EXPECTED))
    whole = batch_size * max(1, min(batches, share))
    if n_drawing == 1:
        return whole
    # Of the last batches each takes its part: what others have begun counts as theirs.
    return min(whole, -(-(free + under_way) // n_drawing))


def _lock_name(own):
    return f".{own}.lock"
