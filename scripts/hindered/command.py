"""A command in a process of its own, forked from one that has loaded everything, since a start costs seconds."""

import json
import os
import resource
import signal
import sys
import time
from dataclasses import dataclass

from brainrecon.cli.main import run_command

NOBODY = 65534


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes
    ----------
    code : int or str
        Exit code, or the name of the signal that ended it, or "hang".
    told : list of str
        Lines of standard error that say more than how far the work is.
    seconds : float
    """

    code: int | str
    told: list
    seconds: float


def typed(line, streams, become=None, seconds=300):
    """Type a line.

    Parameters
    ----------
    line : list of str
        Behind ``brainrecon``.
    streams : pathlib.Path
        A folder that only this process writes to.
    become : callable, optional
        Called in the process before the line is typed: what hinders it alone.
    seconds : float
        It is ended after so many.

    Returns
    -------
    Ended
    """
    begun, child = time.monotonic(), os.fork()
    paths = [streams / name for name in ("out", "err")]
    if not child:
        _be(line, paths, become)
    status = None
    while status is None:
        ended, status = os.waitpid(child, os.WNOHANG)
        status = status if ended else None
        if status is None and time.monotonic() - begun > seconds:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            break
        time.sleep(0.005)
    code = "hang" if status is None else os.waitstatus_to_exitcode(status)
    code = signal.Signals(-code).name if isinstance(code, int) and code < 0 else code
    lines = paths[1].read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
    return Ended(code, [one for one in lines if one.strip() and not _is_progress(one)], time.monotonic() - begun)


def _is_progress(line):
    head, _, tail = line.rpartition(": ")
    return bool(head) and tail[:1].isdigit() and "/" in tail


def _be(line, paths, become):
    """Be the command."""
    code = 70
    try:
        os.setpgid(0, 0)
        sys.stdout.flush()
        sys.stderr.flush()
        for number, path in enumerate(paths, start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
        os.chdir("/")
        if become is not None:
            become()
        code = run_command(line)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def as_nobody():
    """Be an ordinary user."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def with_memory(megabytes):
    """Have so much address space above what there is already."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(megabytes * 2**20),) * 2)


def written(path, found):
    """Write what was found as JSON."""
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
