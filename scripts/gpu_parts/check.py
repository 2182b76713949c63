"""What every part is told, the rows that it yields, and how time is measured."""

import math
import statistics
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch


@dataclass
class Check:
    """One call of the command.

    Attributes
    ----------
    device : torch.device
    size : {"full", "tiny"}
        Networks and data as published, or as small as they run anywhere.
    minutes : float
        After which nothing new is begun.
    rates : dict of str to float
        Operations per second of a square product of matrices, by precision; see `gpu_parts.matrix_rate`.
    """

    device: torch.device
    size: str
    minutes: float
    rates: dict = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    @property
    def full(self):
        """Whether sizes are those that are published."""
        return self.size == "full"

    @property
    def half(self):
        """The half precision that is compared: what drawing chooses on CUDA, and bfloat16 elsewhere."""
        return "float16" if self.device.type == "cuda" else "bfloat16"

    def left(self):
        """Seconds until the limit."""
        return 60 * self.minutes - (time.perf_counter() - self.began)

    def chosen(self, full, tiny):
        """One of two values by the size."""
        return full if self.full else tiny

    def finish(self):
        """Wait until the device has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, work):
        """Seconds that a call takes: by the device's own clock on CUDA, until all of it is done."""
        self.finish()
        if self.device.type != "cuda":
            began = time.perf_counter()
            work()
            return time.perf_counter() - began
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        marks[0].record()
        work()
        marks[1].record()
        self.finish()
        return marks[0].elapsed_time(marks[1]) / 1e3

    def medians(self, works, repeats=3):
        """Median seconds of several calls, taken in turn, after once each for warming up.

        Parameters
        ----------
        works : dict of str to callable
        repeats : int

        Returns
        -------
        dict of str to float
        """
        for work in works.values():
            work()
        taken = {name: [] for name in works}
        for _ in range(repeats):
            for name, work in works.items():
                taken[name].append(self.seconds(work))
        return {name: statistics.median(values) for name, values in taken.items()}


@dataclass
class Row:
    """A row of the table.

    Attributes
    ----------
    what : str
    found : float
    unit : str
    allowed : float, optional
        The most that `found` may be; without it the row is a measurement.
    plain : float, optional
        The same in the plain loop.
    operations : float, optional
        Per unit of `found`, which is in seconds then.
    rate : str
        Precision whose matrix rate the operations are held against.
    note : str
    failed : str
        Why there is nothing found.
    """

    what: str
    found: float = math.nan
    unit: str = ""
    allowed: float | None = None
    plain: float | None = None
    operations: float | None = None
    rate: str = "float32"
    note: str = ""
    failed: str = ""

    @classmethod
    def of_failure(cls, what, error):
        """Make the row of work that failed, for the sake of what comes after it."""
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = (str(error).strip().splitlines() or [""])[0]
        failed = f"{type(error).__name__}: {said}"[:200]
        return cls(what, failed=failed, note=f"{Path(where.filename).name}:{where.lineno}")

    @property
    def right(self):
        """Whether it is allowed; None for a measurement, and for what failed."""
        return None if self.allowed is None or self.failed else bool(self.found <= self.allowed)

    def as_data(self, rates):
        """Return plain data: also how many times it is faster than the plain loop, and its share of the matrix rate."""
        found = float(self.found)
        data = vars(self) | {"found": found if math.isfinite(found) else None, "right": self.right}
        if self.plain and found > 0:
            data["times"] = self.plain / self.found
        if self.operations and found > 0 and rates.get(self.rate):
            data["share"] = self.operations / self.found / rates[self.rate]
        return data


def apart(found, reference):
    """Largest difference of two arrays in units of the reference's standard deviation; infinite if not all are numbers."""
    found, reference = (np.asarray(each, dtype=np.float64) for each in (found, reference))
    if not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - reference).max() / reference.std())


@contextmanager
def tf32(allowed):
    """Allow, or forbid, products of float32 with ten bits of mantissa on CUDA; torch allows them for convolutions alone."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
