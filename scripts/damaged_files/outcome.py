"""What becomes of one row: the valid line first, then the same line with the damaged file, and everything compared."""

import os
import re
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from damaged_files.places import VALID, where
from damaged_files.rows import MENDED, READ, REFUSED, TOLD, UNTOUCHED
from damaged_files.sandbox import Sandbox, changed, digest


class Valid:
    """Valid data of every kind, written once each, and what their lines give.

    Parameters
    ----------
    folder : pathlib.Path
    """

    def __init__(self, folder):
        self._folder, self._results = Path(folder), {}
        self._number = 0

    def data(self, kind):
        """Folder of one key of `VALID`."""
        made = self._folder / "valid" / kind
        if not made.exists():
            made.mkdir(parents=True)
            VALID[kind](made)
        return made

    def sandbox(self, place):
        """A sandbox with a copy of a place's data."""
        self._number += 1
        box = Sandbox(self._folder / f"box-{self._number}")
        box.fill(self.data(place.valid))
        if place.before:
            place.before(box.here)
        return box

    def result(self, place):
        """Seconds, digest, notes and remarks of the valid file."""
        if place not in self._results:
            box = self.sandbox(place)
            _own_copy(where(place, box.here))
            ended = box.run(place.line, 300)
            if ended.code:
                raise RuntimeError(f"The valid line failed with {ended.code}: {place.line}: {ended.told[-600:]}")
            self._results[place] = (ended.seconds, *digest(box.words(place.result) or os.devnull), ended.told)
            shutil.rmtree(box.root)
        return self._results[place]


def _own_copy(path):
    """Of a link to the valid file make a file, which may be changed."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def outcome(row, valid, source=None):
    """Do one row.

    Parameters
    ----------
    row : Row
    valid : Valid
    source : pathlib.Path, optional
        The damaged file; made where there is none.

    Returns
    -------
    seen : dict
        ``good``, ``found`` and what else was measured.
    """
    place = row.place
    seconds, expected, notes, remarks = valid.result(place)
    box = valid.sandbox(place)
    path = where(place, box.here)
    source = source if source is not None and source.is_file() else None
    if row.lay:
        row.lay(box, source)
    elif source:
        path.unlink()
        shutil.copyfile(source, path)
    else:
        _own_copy(path)
        row.make(path)
    before = box.state()
    ended = box.run(place.line, seconds + 20)
    outside = [str(one.relative_to(box.root)) for one in changed(before, box.state(), box.words(place.named))]
    found, found_notes = digest(box.words(place.result) or os.devnull)
    lines = [line for line in ended.told.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    told = [one for one in found_notes if one not in notes]
    # How far the work is says nothing about a file.
    lines = [line for line in lines if not re.search(r": \d+/\d+ \(", line)]
    told += [line for line in lines if _without_times(line) not in map(_without_times, remarks.splitlines())]
    named = any(word in last for word in (path.name, str(path), *row.named))
    if ended.code is None:
        state = "still running after its time"
    elif outside:
        state = f"wrote outside: {', '.join(outside[:3])}"
    elif box.marker.exists():
        state = "started gs"
    elif ended.code not in (0, 2) or "Traceback" in ended.told or "Unexpected" in ended.told:
        state = f"exit code {ended.code}: {last}"
    elif ended.code == 2:
        state = "refused" if named else f"refused in a sentence that does not name it: {last}"
    elif found == expected or (
        row.expected == READ and path.suffix == ".th" and _read_right(path, box.words(place.result))
    ):
        state = "the same result" + (", told" if told else "")
    else:
        state = "another result, told" if told else "another result, not told"
    good = (
        state
        in {
            REFUSED: ("refused",),
            TOLD: ("refused", "the same result", "the same result, told", "another result, told"),
            READ: ("refused", "the same result", "the same result, told"),
            MENDED: ("the same result", "the same result, told"),
            UNTOUCHED: ("refused", "the same result", "the same result, told"),
        }[row.expected]
    )
    shutil.rmtree(box.root)
    return {
        "good": good,
        "found": state,
        "sentence": last if ended.code else " | ".join(map(str, told))[:500],
        "code": ended.code,
        "seconds": round(ended.seconds, 2),
        "gigabytes": round(ended.gigabytes, 2),
    }


def _read_right(path, made):
    """Whether converted weights are what torch reads."""
    expected, found = torch.load(path, weights_only=True), load_file(made)
    # Bytes rather than values: a NaN is equal to itself here.
    return all(
        value.numpy().tobytes() == found[name.removeprefix("module.")].numpy().tobytes()
        for name, value in expected.items()
    )


def _without_times(line):
    return "".join(character for character in line if not character.isdigit())
