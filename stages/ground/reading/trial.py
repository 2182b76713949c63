"""Files are tried in a process of their own before this one reads them: a damaged one can crash a library, or hold it for ever.

The libraries of HDF5 and of MATLAB's files are written in C, and trust what they read. A process that is lost to them is
started again, and the file is refused in a sentence.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

START_SECONDS = 60.0
"""By the clock, for the process to say that it is there; it takes 0.05 s."""
# Of MATLAB's files, which are read whole.
_BYTES_A_SECOND = 10_000_000
_PROGRAM = Path(__file__).with_name("trial_process.py")
# Signals that come from outside, and say nothing about the file; 0 is a process that ended by itself.
_FROM_OUTSIDE = {0, *(-getattr(signal, name, 0) for name in ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT"))}


class LibraryLost(Exception):
    """A library crashed while it read a file, or came to no end."""


class Trial:
    """A process that tries files, started when the first one comes; `check` is what readers call.

    >>> path = getfixture("tmp_path") / "design.mat"
    >>> import scipy.io
    >>> scipy.io.savemat(path, {"sharedix": [1, 2]})
    >>> trial = Trial()
    >>> trial.check(path, "MATLAB")
    >>> trial.end()

    It takes about 0.3 s to start, 0.4 s more for the first of MATLAB's files, and some 0.2 ms for each object of an HDF5
    file, up to 1 s. Of large datasets only the index and the chunks at both ends are read. A file is tried once while its
    size and its time of change stay. If no process can be started, as where Python is part of another program, files are
    read without a trial. Windows has no clock that ends a process, so that only crashes are caught there.

    It ends with this process, also when that one is killed. A process that is forked from this one starts its own.

    Parameters
    ----------
    seconds : float
        Of the processor, that one object of an HDF5 file takes at most; for MATLAB's files more by their size.
    program : path
        What is run.

    Attributes
    ----------
    seconds : float
    n_tried : int
        How many files were tried.
    """

    def __init__(self, seconds: float = 5.0, program: str | Path = _PROGRAM) -> None:
        self.seconds, self.n_tried = seconds, 0
        self._program = Path(program)
        self._process: subprocess.Popen[bytes] | None = None
        self._cannot_start = False
        self._found: dict[tuple[object, ...], str] = {}
        self._lock = threading.Lock()
        atexit.register(self.end)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def check(self, path: str | Path, kind: Literal["HDF5", "MATLAB"]) -> None:
        """Raise unless a library comes to an end with a file, whatever it says of it.

        Parameters
        ----------
        path : path
        kind : str
            Whose reader tries it.

        Raises
        ------
        LibraryLost
            The library crashed or came to no end: within `reading` a sentence.
        OSError
            There is no such file.
        """
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):
            return
        key = (kind, about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)
        with self._lock:
            told = self._found.get(key)
            if told is None:
                more = about.st_size / _BYTES_A_SECOND if kind == "MATLAB" else 0
                told = self._told(path, kind, self.seconds + more)
                if told is not None:
                    self._found[key] = told
        if told:
            raise LibraryLost(told)

    def end(self) -> None:
        """End the process, if there is one. The next file starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def _told(self, path: str | Path, kind: str, seconds: float) -> str | None:
        """How the library was lost, nothing if it came to an end, None if it raised: next time it may not, as after a lock."""
        code = 0
        for _ in range(2):
            if not self._started():
                return ""
            self.n_tried += 1
            answer = self._tried(path, kind, seconds)
            if isinstance(answer, bytes):
                return "" if answer == b"read\n" else None
            code = answer
            if code not in _FROM_OUTSIDE:
                break
        library = f"the library for {kind} files"
        if code == -getattr(signal, "SIGPROF", 0):
            return f"{library} comes to no end with it"
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        if code in _FROM_OUTSIDE:
            return f"{library} was ended twice while it read it, by {how}, as happens when memory runs out"
        return f"{library} crashes on it, by {how}"

    def _started(self) -> bool:
        """Whether there is a process that answers."""
        # The executable of a frozen program is no interpreter.
        if self._process is None and not self._cannot_start and not getattr(sys, "frozen", False):
            # Only what this process was found with; no name of a folder that somebody can write to in between.
            places = [os.path.abspath(place) for place in sys.path if place]
            flags = ["-I", "-S", *(["-B"] if sys.dont_write_bytecode else [])]
            try:
                self._process = subprocess.Popen(
                    [sys.executable, *flags, str(self._program)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    bufsize=0,
                )
                timer = threading.Timer(START_SECONDS, self._process.kill)
                timer.start()
                try:
                    if self._asked(places) != b"ready\n":
                        raise OSError("it does not answer")
                finally:
                    timer.cancel()
            except (OSError, ValueError):
                self._cannot_start = True
                self.end()
            except BaseException:
                self.end()
                raise
        return self._process is not None

    def _tried(self, path: str | Path, kind: str, seconds: float) -> bytes | int:
        """The process's answer, or its exit code."""
        assert self._process is not None
        try:
            answer = self._asked([kind, seconds, os.fsencode(os.path.abspath(path)).decode("latin1")])
        except OSError:
            answer = b""
        except BaseException:
            # After Ctrl-C its answer would be taken for that to the next question.
            self.end()
            raise
        if answer:
            return answer
        code = self._process.wait()
        self.end()
        return code

    def _asked(self, question: Sequence[object]) -> bytes:
        """The answer, nothing if it has ended."""
        assert self._process is not None and self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        return self._process.stdout.readline()

    def _forget(self) -> None:
        """In a forked process: leave the parent's process alone, and no longer hold it by its pipes."""
        process, self._process = self._process, None
        self._lock = threading.Lock()
        if process is not None:
            # It is no child of this process, which is not to wait for it.
            process.returncode = 0
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


TRIAL = Trial()
"""That of this process."""
