"""A safetensors file that grows block by block, survives an interruption, and takes its name when it is whole."""

from __future__ import annotations

import json
import os
from pathlib import Path

from stages.checkpoints.mapped_tensors import create_tensors, reopen_tensors
from weights.whole_files import make_folder, put_in_place, write_text


class PartialTensors:
    """A file in the making, and a note beside it that says what it is for and how far it is.

    Parameters
    ----------
    path : path
        The file's name once it is whole.
    identity : str
        Of everything its contents depend on: what another identity left behind is thrown away.

    Attributes
    ----------
    state : dict
        What `save` noted last; empty where there is nothing to go on with.
    tensors : dict of str to numpy.memmap
        Writable; empty before `create` or `reopen`.
    """

    def __init__(self, path, identity):
        self.path, self.identity, self.tensors = Path(path), identity, {}
        self._partial = self.path.with_name(f".{self.path.stem}.partial{self.path.suffix}")
        self._note = self._partial.with_suffix(".json")
        self.state = self._read_state()

    def create(self, layout, metadata=None):
        """Begin anew: dict of name to (shape, dtype); every value is zero."""
        make_folder(self.path.parent)
        self._note.unlink(missing_ok=True)
        self.tensors = create_tensors(self._partial, layout, metadata or {})
        return self.tensors

    def reopen(self):
        """Go on with what an interrupted process left."""
        self.tensors = reopen_tensors(self._partial)
        return self.tensors

    def save(self, **state):
        """Bring everything written so far to disk, then note `state`."""
        self._flush()
        self.state = state
        write_text(self._note, json.dumps({"identity": self.identity, "state": state}) + "\n")

    def finish(self):
        """Give the file its name."""
        put_in_place(self._partial, self.path)
        self._note.unlink(missing_ok=True)

    def _flush(self):
        # Brings the pages of the map to disk as well, and lets other threads go on meanwhile.
        with open(self._partial, "rb") as file:
            os.fsync(file.fileno())

    def _read_state(self):
        try:
            known = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known["state"] if known.get("identity") == self.identity and self._partial.exists() else {}
