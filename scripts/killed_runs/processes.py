"""Work in a forked process, that may be killed at a moment."""

import faulthandler
import os
import random
import re
import select
import signal
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
# For the process to say where it is, before it is killed.
_SECONDS_TO_ANSWER = 0.05


class Ended(NamedTuple):
    """How a process ended.

    Attributes
    ----------
    code : int or None
        None if it was killed at its moment.
    seconds : float
        That it lived.
    said : str
        What it printed.
    place : str or None
        Where in the toolkit it was killed.
    n_calls : int
        That changed its folder, if they were counted and it was not killed.
    """

    code: int | None
    seconds: float
    said: str
    place: str | None
    n_calls: int = 0


def check_single():
    """Refuse to fork while other threads live: what they hold would be held for ever in the child."""
    if (n := len(os.listdir("/proc/self/task"))) > 1:
        raise SystemExit(f"{n} threads live in this process, of which a fork takes only one along.")


def in_child(work, folder, notes, *, moment=None, call=None, longest=600):
    """Do some work in a forked process, and kill it by SIGKILL at a moment, or before a call.

    Parameters
    ----------
    work : callable
        Called without arguments; returns an exit code.
    folder : path
        The working folder of the process.
    notes : path
        A folder for what it prints.
    moment : float, optional
        Seconds after its start; never by default.
    call : int, optional
        Of those that change its folder, from 0; -1 counts them and kills at none.
    longest : float
        Seconds after which it counts as hanging, and is killed with a code of -9.

    Returns
    -------
    Ended
    """
    check_single()
    # Before the child listens to it, this signal would end it.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    said, place = Path(notes) / f"said-{os.getpid()}", Path(notes) / f"place-{os.getpid()}"
    said.write_bytes(b"")
    place.write_bytes(b"")
    if call is not None:
        work = partial(_counted, work, Path(folder), place, call)
    began = time.monotonic()
    child = os.fork()
    if not child:
        _be_child(work, folder, said, place)
    watched = os.pidfd_open(child)
    try:
        is_over = _wait(watched, longest if moment is None else min(moment, longest))
        at, killed = None, moment is not None and not is_over
        if not is_over:
            if killed:
                at = _ask_for_place(child, watched, place)
            os.kill(child, signal.SIGKILL)
    finally:
        os.close(watched)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    seconds, text = time.monotonic() - began, said.read_text(encoding="utf-8", errors="replace")
    n_calls = 0
    if call is not None and is_over:
        written = place.read_text(encoding="utf-8")
        killed, at, n_calls = code == -signal.SIGKILL, written, 0 if code else int(written)
    if killed and code == -signal.SIGKILL:
        return Ended(None, seconds, text, at)
    return Ended(code, seconds, text, None, n_calls)


def _counted(work, folder, place, number):
    """Do the work, and end before a call that changes the folder; or write how many there were."""
    from faulty_disk import disk_calls, site

    n_calls = 0

    def before(kind):
        nonlocal n_calls
        if n_calls == number:
            place.write_text(f"{kind} {site()}", encoding="utf-8")
            os.kill(os.getpid(), signal.SIGKILL)
        n_calls += 1

    with disk_calls(folder, before):
        code = work()
    place.write_text(str(n_calls), encoding="utf-8")
    return code


def _wait(watched, seconds):
    """Whether a process ends within some seconds."""
    return bool(select.select([watched], [], [], max(0, seconds))[0])


def _ask_for_place(child, watched, place):
    """Innermost place of the toolkit at work, by what `faulthandler` writes; "" if nothing of the toolkit is."""
    os.kill(child, signal.SIGUSR1)
    deadline = time.monotonic() + _SECONDS_TO_ANSWER
    text = ""
    while time.monotonic() < deadline and not text.count("\n") > 1:
        if _wait(watched, 0.002):
            break
        text = place.read_text(encoding="utf-8", errors="replace")
    text = place.read_text(encoding="utf-8", errors="replace")
    found = re.search(rf'File "{re.escape(str(ROOT))}/((?:brainrecon|stages|weights)/[^"]+)", line (\d+)', text)
    return f"{found[1]}:{found[2]}" if found else ""


def _be_child(work, folder, said, place):
    """Do the work and end; never returns."""
    code = 70
    try:
        signals = open(place, "w")  # noqa: SIM115 - as long as the process lives
        faulthandler.register(signal.SIGUSR1, file=signals, all_threads=False)
        with open(said, "wb") as printed:
            os.dup2(printed.fileno(), 1)
            os.dup2(printed.fileno(), 2)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)
        # Each process has other random numbers, as if it had started by itself.
        random.seed()
        np.random.seed()
        if "torch" in sys.modules:
            sys.modules["torch"].seed()
        os.chdir(folder)
        code = work()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)
