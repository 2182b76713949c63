"""Progress of long work: bars with the time left on a terminal, a plain line now and then when piped."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from brainrecon.cli.console import one_line, write_line
from stages.ground.progress import Progress

SECONDS_BETWEEN_LINES = 3.0
SHARE_BETWEEN_LINES = 0.1
# A tenth of some works is a day.
SECONDS_WITHOUT_A_LINE = 60.0


@contextmanager
def show_progress(stream: TextIO | None = None) -> Iterator[Progress]:
    """Give a callable ``progress(label, done, total)`` that shows how far the work is.

    Parameters
    ----------
    stream : text file, optional
        Standard error by default.

    Yields
    ------
    progress : callable
        Call it with the name of the work, the number of finished items and the number of all items, as often
        as convenient. Several works may be under way at once. It takes remarks, see `stages.ground.progress.remark`.
    """
    stream = sys.stderr if stream is None else stream
    if stream.isatty():
        with _drawn(stream) as progress:
            yield progress
    else:
        yield PlainLines(stream)


@contextmanager
def _drawn(stream: TextIO) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars
    from rich.text import Text

    class RateColumn(ProgressColumn):
        """Items per second."""

        def render(self, task):
            return Text(rate(task.speed) if task.speed else "")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )

    class WithRemarks(Bars):
        """Remarks stand below the bars: beside them a narrow terminal would have no room for the time left."""

        def get_renderables(self):
            yield from super().get_renderables()
            for task in self.tasks:
                if task.fields["remark"] and not task.finished:
                    yield Text(f"{task.description}: {task.fields['remark']}", overflow="ellipsis", no_wrap=True)

    with WithRemarks(*columns, console=Console(file=stream)) as bars:
        yield _Bars(bars)


class _Bars:
    """A bar of rich for each work."""

    def __init__(self, bars):
        self._bars, self._tasks, self._remarks = bars, {}, {}

    def __call__(self, label: str, done: int, total: int) -> None:
        label = one_line(label)
        if label not in self._tasks:
            self._tasks[label] = self._bars.add_task(label, total=total, remark="")
        elif done < self._bars.tasks[self._tasks[label]].completed:
            # What begins again, as for the next picture, keeps its bar.
            self._bars.reset(self._tasks[label], total=total)
        self._bars.update(self._tasks[label], completed=done, total=total, remark=self._remarks.get(label, ""))

    def remark(self, label: str, text: str) -> None:
        """Keep what is to stand below the bar."""
        self._remarks[one_line(label)] = one_line(text)


class PlainLines:
    """Progress as plain lines: a tenth of the work and some seconds apart, or a minute; and one when a work is finished.

    Parameters
    ----------
    stream : text file
        Where the lines go.
    clock : callable, optional
        Seconds as float; for tests.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic):
        self._stream = stream
        self._clock = clock
        self._works: dict[str, _Work] = {}
        self._remarks: dict[str, str] = {}

    def remark(self, label: str, text: str) -> None:
        """Keep what is to stand at the end of the next line of a work."""
        self._remarks[label] = text

    def __call__(self, label: str, done: int, total: int) -> None:
        """Note that `done` of `total` items of the work `label` are finished."""
        now = self._clock()
        work = self._works.get(label)
        if work is None or done < work.done:
            # What was there before the first call (a resumed work) counts for nothing in the time left.
            again = work is not None
            work = self._works[label] = _Work(began=now, found_done=done, said=now, said_done=done, again=again)
            if total == 1 and not done:
                # In one piece: nothing can be said until it is done.
                self._say(label, done, total, "begun")
        work.done = done
        if done >= total:
            if not work.finished:
                work.finished = True
                took = now - work.began
                # Short work that begins again and again, as for every picture, is said to be done once.
                if not work.again or total == 1 or took >= SECONDS_BETWEEN_LINES:
                    self._say(label, done, total, f"done in {duration(took)}")
            return
        far_enough = done - work.said_done >= SHARE_BETWEEN_LINES * total
        waited = now - work.said
        if (far_enough and waited >= SECONDS_BETWEEN_LINES) or (
            done > work.found_done and waited >= SECONDS_WITHOUT_A_LINE
        ):
            work.said, work.said_done = now, done
            per_second = (done - work.found_done) / (now - work.began)
            self._say(label, done, total, f"{rate(per_second)}, {duration((total - done) / per_second)} left")

    def _say(self, label: str, done: int, total: int, when: str) -> None:
        percent = round(100 * done / total) if total else 100
        remark = one_line(self._remarks.get(label, ""))
        write_line(f"{one_line(label)}: {done}/{total} ({percent} %), {when}{remark and '; '}{remark}", self._stream)


@dataclass
class _Work:
    began: float
    found_done: int
    said: float
    said_done: int
    done: int = 0
    finished: bool = False
    again: bool = False


def rate(per_second: float) -> str:
    """Items per second in few digits: ``"0.25/s"``, ``"12/s"``, ``"5,800/s"``."""
    rounded = float(f"{per_second:.2g}")
    return f"{rounded:,.0f}/s" if rounded >= 10 else f"{rounded:g}/s"


def duration(seconds: float) -> str:
    """Seconds in words: ``"0.4 s"``, ``"12 s"``, ``"3 min 20 s"``, ``"2 h 5 min"``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
