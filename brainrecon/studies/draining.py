"""Cells that an executor works off: handed out, done again if their worker was lost, and told of in one table.

`drain` runs where the command was typed, `attempt` in a worker. Between them go strings, numbers and dicts.
"""

from __future__ import annotations

import os
import platform
import re
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brainrecon.assembly.targets import part
from brainrecon.studies.presence import present
from stages.ground.errors import InputError
from stages.ground.progress import SILENT, Progress
from weights.manifest import CheckpointError
from weights.remark import Remark
from weights.whole_files import make_folder

DONE, FAILED, LOST = "done", "failed", "lost"
SECONDS_BETWEEN_LOOKS = 0.5
# How long a network file system may hide what another machine wrote.
_SECONDS_UNSEEN = 90.0
_BEGIN = "=== begun"
# Settings of torch and streams are the process's own; a worker with several threads takes its cells one by one.
_ALONE = threading.Lock()


@dataclass(frozen=True)
class Cell:
    """A piece of work for one worker.

    Attributes
    ----------
    name : str
        Parts with slashes between, as those of a path; of all cells its own.
    work : str
        ``module:function``. It returns None, or a dict of plain values, of which `files` are paths that it has written.
    arguments : dict
        Plain values, by name.
    """

    name: str
    work: str
    arguments: dict[str, Any]


@dataclass
class Outcome:
    """What became of a cell.

    Attributes
    ----------
    cell : Cell
    state : {"done", "failed", "lost"}
        Failed by an error of its own, or lost with its workers, as often as it was tried.
    attempts : int
        How often a worker began it.
    seconds : float or None
        Of the attempt that ended.
    log : str
        Path of what its workers printed, or of what the engine says of a job that never began.
    message : str
        Why it failed, a sentence.
    value : dict
        What it gave.
    is_worth_another : bool
        Whether another attempt may end otherwise.
    """

    cell: Cell
    state: str
    attempts: int
    seconds: float | None
    log: str
    message: str = ""
    value: dict[str, Any] = field(default_factory=dict)
    is_worth_another: bool = False

    @property
    def is_done(self) -> bool:
        """Whether it is."""
        return self.state == DONE


def drain(
    executor: Any,
    cells: Sequence[Cell],
    folder: str | Path,
    *,
    threads: int = 1,
    retries: int = 3,
    at_once: int = 0,
    finished: Callable[[Outcome], None] | None = None,
    progress: Progress = SILENT,
) -> list[Outcome]:
    """Have every cell done by a worker of an executor.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor() as executor:
    ...     outcomes = drain(executor, [Cell("where", "platform:node", {})], "state")
    >>> outcomes[0].state
    'done'

    A cell that fails with an `InputError` or a `CheckpointError` fails alone, and is not tried again, for the next time it
    would fail likewise. One that ends in any other way is handed out again: it goes on where it was.

    Parameters
    ----------
    executor : concurrent.futures.Executor, or one of submitit
    cells : sequence of Cell
    folder : path
        Shared with the workers: logs lie in its `logs`, and notes on who is at work in its `at_work`.
    threads : int
        That compute in a worker.
    retries : int
        How often a cell is handed out again.
    at_once : int
        Cells that are handed out at a time, 0 for all.
    finished : callable, optional
        ``finished(outcome)`` after each cell, here.
    progress : callable, optional
        Called with (label, done, total).

    Returns
    -------
    outcomes : list of Outcome
        In the order of `cells`.

    Raises
    ------
    KeyboardInterrupt
        As it came; cells that had not begun are cancelled.
    """
    folder = Path(folder).absolute()
    logs = {cell.name: folder / "logs" / f"{_file_name(cell.name)}.log" for cell in cells}
    before = {name: _times_begun(log) for name, log in logs.items()}
    outcomes: dict[str, Outcome] = {}
    waiting, again = list(cells), dict.fromkeys(logs, 0)
    under_way: dict[str, tuple[Cell, Any]] = {}

    def submit():
        room = len(waiting) if not at_once else max(0, at_once - len(under_way))
        chosen, waiting[:] = waiting[:room], waiting[room:]
        if not chosen:
            return
        # What is handed to SLURM together becomes one array of jobs.
        with getattr(executor, "batch", nullcontext)():
            handed = [executor.submit(attempt, *_sent(cell, folder, logs[cell.name], threads)) for cell in chosen]
        under_way.update({cell.name: (cell, future) for cell, future in zip(chosen, handed, strict=True)})

    progress("cells", 0, len(cells))
    try:
        while waiting or under_way:
            submit()
            ended = [one for one in under_way.values() if one[1].done()]
            for cell, future in ended:
                del under_way[cell.name]
                outcome = _outcome(cell, future, logs[cell.name], before[cell.name])
                if outcome.is_worth_another and again[cell.name] < retries:
                    again[cell.name] += 1
                    waiting.append(cell)
                    continue
                outcomes[cell.name] = outcome
                if finished is not None:
                    finished(outcome)
                progress("cells", len(outcomes), len(cells))
            if not ended:
                time.sleep(SECONDS_BETWEEN_LOOKS)
    except KeyboardInterrupt:
        idle = [one for cell, one in under_way.values() if _times_begun(logs[cell.name]) == before[cell.name]]
        for future in idle:
            future.cancel()
        warnings.warn(
            f"{len(outcomes)} of {len(cells)} cells are done; {len(waiting) + len(idle)} that had not begun are cancelled, "
            f"{len(under_way) - len(idle)} that had are left to their workers.",
            Remark,
            stacklevel=2,
        )
        raise
    return [outcomes[cell.name] for cell in cells]


def attempt(name: str, work: str, arguments: dict[str, Any], log: str, note: str, threads: int) -> dict[str, Any]:
    """Do a cell, in a worker; what it prints goes into its log.

    Parameters
    ----------
    name, work, arguments
        As of `Cell`.
    log : str
        The file to write to, at its end.
    note : str
        File that says that a worker is at the cell, see `brainrecon.studies.presence.present`. It waits for another one: a
        worker may have been given up that only could not be reached.
    threads : int

    Returns
    -------
    dict
        `seconds`, and `value`, or `error`, a sentence, with `again`, whether another attempt may end otherwise.
    """
    with _ALONE, _printed_into(log):
        where = f"{platform.node()}, process {os.getpid()}, {threads} threads"
        print(f"{_BEGIN} {name} on {where}, {time.strftime('%Y-%m-%d %H:%M:%S')}", flush=True)
        began = time.monotonic()
        try:
            with _on_threads(threads), present(note, waiting=_say_who):
                value = part(work)(**arguments)
        except (InputError, CheckpointError) as error:
            print(error)
            return {"seconds": time.monotonic() - began, "error": str(error), "again": False}
        except Exception as error:
            # A disk that was away, or the engine's word that time is up. The log has where it was.
            traceback.print_exc()
            return {"seconds": time.monotonic() - began, "error": f"{type(error).__name__}: {error}", "again": True}
        print("=== done")
        return {"seconds": time.monotonic() - began, "value": value if isinstance(value, dict) else {}}


def _sent(cell, folder, log, threads):
    note = folder / "at_work" / f"{_file_name(cell.name)}.json"
    return cell.name, cell.work, cell.arguments, str(log), str(note), threads


def _outcome(cell, future, log, before):
    def told(state, seconds=None, message="", value=None, again=False):
        attempts = _times_begun(log) - before
        own = getattr(getattr(future, "paths", None), "stderr", None)
        where = log if attempts or own is None else own
        return Outcome(cell, state, attempts, seconds, str(where), message, value or {}, again)

    try:
        gave = future.result()
    except Exception as error:
        # Whatever the engine calls it: nobody knows how far the worker came.
        return told(LOST, message=next(iter(str(error).splitlines()), "") or type(error).__name__, again=True)
    if "error" in gave:
        return told(FAILED, gave["seconds"], gave["error"], again=gave["again"])
    _wait_until_seen(gave["value"].get("files", ()))
    return told(DONE, gave["seconds"], value=gave["value"])


def _say_who(other):
    print(f"waiting for {other}, which is at it", flush=True)


def _wait_until_seen(files):
    """Wait for files that a worker has written until this machine sees them."""
    deadline = time.monotonic() + _SECONDS_UNSEEN
    while not all(Path(file).exists() for file in files) and time.monotonic() < deadline:
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _times_begun(log):
    try:
        return sum(line.startswith(_BEGIN) for line in log.read_text(encoding="utf-8", errors="replace").splitlines())
    except FileNotFoundError:
        return 0


def _file_name(name):
    """A cell's name as a path of plain names.

    >>> _file_name("ridge-to-pixels/subj01/V1 + V2, drawing 0 of 4")
    'ridge-to-pixels/subj01/V1_+_V2_drawing_0_of_4'
    """
    return "/".join(re.sub(r"[^\w.+-]+", "_", one) for one in name.split("/"))


@contextmanager
def _printed_into(log: str) -> Iterator[None]:
    make_folder(Path(log).parent)
    with open(log, "a", encoding="utf-8", buffering=1, errors="replace") as file:
        with redirect_stdout(file), redirect_stderr(file):
            yield


@contextmanager
def _on_threads(n: int) -> Iterator[None]:
    """Within, compute on so many threads: the order of sums, and so the last digits, depend on it."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    with threadpool_limits(n):
        torch.set_num_threads(n)
        try:
            yield
        finally:
            torch.set_num_threads(before)
