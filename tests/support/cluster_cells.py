"""Cells for an executor without a cluster, and an executor that loses workers on the way."""

import os
from concurrent.futures import Future
from pathlib import Path

from stages.ground.errors import InputError


class LosingExecutor:
    """Does what it is given at once, in this process; of some submissions the worker is lost.

    Parameters
    ----------
    lost : collection of int
        Which submissions, counted from 0.
    half_done : callable, optional
        Called in place of the work of a lost one, with what was submitted.
    """

    def __init__(self, lost=(), half_done=None):
        self.lost, self.half_done, self.submitted = set(lost), half_done, []

    def submit(self, function, *arguments):
        future = Future()
        self.submitted.append(arguments[0])
        if len(self.submitted) - 1 in self.lost:
            if self.half_done:
                self.half_done(*arguments)
            future.set_exception(RuntimeError("the worker is gone\nand a long story"))
        else:
            future.set_result(function(*arguments))
        return future


class IdleExecutor:
    """Never begins what it is given, and is interrupted when it is asked."""

    def __init__(self, begins=()):
        self.begins, self.futures = set(begins), {}

    def submit(self, function, name, work, arguments, log, *rest):
        if name in self.begins:
            Path(log).parent.mkdir(parents=True, exist_ok=True)
            Path(log).write_text("=== begun by somebody\n")
        self.futures[name] = _Interrupting()
        return self.futures[name]


class _Interrupting(Future):
    def done(self):
        raise KeyboardInterrupt


def write(path, words, fails=""):
    """Write words into a file; or fail in one of two ways."""
    print(f"writing {words}")
    if fails == "mistake":
        raise InputError(f"{words!r} is no word; write another.")
    if fails == "once" and not os.path.exists(path + ".tried"):
        Path(path + ".tried").touch()
        raise OSError("the disk was away")
    if fails == "always":
        raise ZeroDivisionError("it cannot be")
    Path(path).write_text(words)
    return {"files": [path], "threads": _threads()}


def _threads():
    import torch

    return torch.get_num_threads()


def results(folder):
    """Everything in a folder but times and locks: tables, scores, pictures, fitted steps, features; bytes by name."""
    endings = (".md", ".csv", ".html", ".png", ".safetensors", ".json", ".toml", ".npy")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().replace(str(folder).encode(), b"FOLDER")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in endings and ".cluster" not in path.parts
    }
