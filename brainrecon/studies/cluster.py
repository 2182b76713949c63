"""A cluster: a TOML file that names an engine which exists, and the executor that it gives.

    engine = "submitit"                 # SLURM; or "dask"
    retries = 3                         # how often what a lost worker had is done again
    [submitit]                          # the engine's own settings, handed over as they are
    cluster = "slurm"
    timeout_min = 720
    cpus_per_task = 4
    gpus_per_node = 1
    slurm_partition = "gpu"

Nothing here schedules. What is handed to a worker is one importable function and plain values, so that a worker needs the
package and the shared folders, and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brainrecon.assembly.settings import from_dict
from brainrecon.features.store import BATCH_SIZE
from stages.ground.errors import InputError
from stages.ground.reading.json_files import read_toml
from weights.suggestions import did_you_mean

ENGINES = ("submitit", "dask")
_EXTRAS = {"submitit": "slurm", "dask": "dask"}
# Of submitit's settings those that its executor is made with.
_MADE_WITH = ("folder", "cluster", "slurm_python", "slurm_max_num_timeout", "local_python", "local_max_num_timeout")
_SECONDS_FOR_A_SCHEDULER = "30s"


@dataclass(frozen=True)
class Cluster:
    """What a cluster's file says, complete.

    Attributes
    ----------
    engine : {"submitit", "dask"}
    retries : int
        How often a cell is done again whose worker was lost, or that ended with an error that nobody foresaw.
    threads : int
        Threads that compute in a worker. 0: as many as the engine gives a worker, by `cpus_per_task` or `threads`, or 1.
        Results equal those of one process with as many threads (OMP_NUM_THREADS).
    at_once : int
        How many cells are handed out at a time. 0: as the engine's own limits have it; with submitit's local executor, which
        has none, as many as the machine has processors for.
    shards : int
        Into how many parts the drawing of a cell of a benchmark is cut.
    block_size : int
        Stimuli that are encoded by a worker at a time, a multiple of the feature store's batch.
    submitit : dict
        Settings of submitit's executor.
    dask : dict
        `scheduler`, an address, or `scheduler_file`, its file; or settings of a local cluster of Dask.
    """

    engine: str
    retries: int = 3
    threads: int = 0
    at_once: int = 0
    shards: int = 1
    block_size: int = 32 * BATCH_SIZE
    submitit: dict = field(default_factory=dict)
    dask: dict = field(default_factory=dict)

    def __post_init__(self):
        if self.engine not in ENGINES:
            meant = did_you_mean(self.engine, ENGINES)
            raise InputError(f"engine is {self.engine!r}; expected one of {', '.join(ENGINES)}{meant}.")
        for name, least in (("retries", 0), ("threads", 0), ("at_once", 0), ("shards", 1), ("block_size", BATCH_SIZE)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; expected {least} or more.")
        if self.block_size % BATCH_SIZE:
            below = self.block_size // BATCH_SIZE * BATCH_SIZE
            raise InputError(
                f"block_size is {self.block_size}; expected a multiple of {BATCH_SIZE}, so that values do not depend on it: "
                f"write {below} or {below + BATCH_SIZE}."
            )
        other = next(name for name in ENGINES if name != self.engine)
        if getattr(self, other):
            raise InputError(
                f"engine is {self.engine!r} but there is a table [{other}]; leave that out, or write engine = {other!r}."
            )

    @classmethod
    def read(cls, path):
        """Read a cluster's file.

        >>> path = getfixture("tmp_path") / "local.toml"
        >>> _ = path.write_text('engine = "dask"' + chr(10) + "[dask]" + chr(10) + "n_workers = 4")
        >>> Cluster.read(path).dask
        {'n_workers': 4}

        Raises
        ------
        InputError
            A name or value that does not belong there.
        """
        values = read_toml(path)
        try:
            return from_dict(cls, values)
        except InputError as error:
            raise InputError(f"{path} cannot be used: {str(error).split(': set it with --set ')[0]}") from None
        except TypeError:
            raise InputError(
                f'{path} names no engine; write for example engine = "submitit", one of {", ".join(ENGINES)}.'
            ) from None

    @property
    def n_threads(self):
        """Threads that compute in a worker."""
        given = {"submitit": self.submitit.get("cpus_per_task"), "dask": None}[self.engine]
        return self.threads or (given if isinstance(given, int) else 0) or 1

    @property
    def n_at_once(self):
        """Cells that are handed out at a time, 0 for all."""
        if self.at_once or self.engine == "dask" or self.submitit.get("cluster") != "local":
            return self.at_once
        return max(1, (os.cpu_count() or 1) // self.n_threads)


@contextmanager
def executor_of(cluster, folder) -> Iterator[Any]:
    """Give the executor that a cluster's file asks for, as `concurrent.futures` has it; put away at the end.

    Parameters
    ----------
    cluster : Cluster
    folder : path
        Where the engine keeps what it sends, unless its settings say where.

    Raises
    ------
    InputError
        The engine is not installed, does not know a setting, or cannot be reached.
    """
    opened: dict[str, Callable] = {"submitit": _submitit, "dask": _dask}
    try:
        with opened[cluster.engine](getattr(cluster, cluster.engine), Path(folder)) as executor:
            yield executor
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("submitit", "dask", "distributed"):
            raise
        raise InputError(
            f"engine is {cluster.engine!r} but {error.name} is not installed here; type `pip install "
            f"'brainrecon[{_EXTRAS[cluster.engine]}]'`, on the workers too."
        ) from None


@contextmanager
def _submitit(settings, folder):
    import submitit

    made_with = {"folder": str(folder / "submitit")}
    made_with |= {name: settings[name] for name in _MADE_WITH if name in settings}
    try:
        executor = submitit.AutoExecutor(**made_with)
        executor.update_parameters(**{name: value for name, value in settings.items() if name not in _MADE_WITH})
    except (AssertionError, NameError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"submitit does not take the settings of [submitit]: {_one_sentence(error)}; mend them in the cluster's file."
        ) from None
    yield executor


@contextmanager
def _dask(settings, folder):
    import logging
    from inspect import signature

    import dask
    from distributed import Client, LocalCluster

    places = [name for name in ("scheduler", "scheduler_file") if name in settings]
    if places:
        if len(settings) > 1:
            (other, *_) = [name for name in settings if name != places[0]]
            raise InputError(
                f"[dask] has {places[0]} and {other}; expected {places[0]} alone, for workers of a scheduler are its own affair."
            )
        given = {"scheduler": "address"}.get(places[0], places[0])
        try:
            if given == "scheduler_file":
                # Dask would wait for it without an end.
                os.stat(settings[given])
            client = Client(**{given: settings[places[0]]}, timeout=_SECONDS_FOR_A_SCHEDULER, set_as_default=False)
        except (OSError, TypeError, ValueError) as error:
            raise InputError(
                f"No scheduler of Dask answers at {settings[places[0]]} ({_one_sentence(error)}); start it with `dask scheduler` "
                f"and workers with `dask worker --nthreads 1`, or mend {places[0]}."
            ) from None
        with client:
            yield client.get_executor(pure=False)
        return
    known = [name for name in signature(LocalCluster).parameters if name not in ("security", "worker_kwargs")]
    known += ["scheduler", "scheduler_file"]
    if unknown := [name for name in settings if name not in known]:
        raise InputError(
            f"There is no setting dask.{unknown[0]!s}; expected scheduler, scheduler_file, or one of a LocalCluster of Dask"
            f"{did_you_mean(unknown[0], known, 'dask')}."
        )
    # Of lost workers the table tells, and that others are killed at the end is no news.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    local = {
        "silence_logs": logging.CRITICAL,
        "threads_per_worker": 1,
        "dashboard_address": "127.0.0.1:0",
        "local_directory": str(folder / "dask"),
    } | settings
    # A lost worker takes one cell with it, and how often that is done again is counted here.
    ours = {"distributed.scheduler.allowed-failures": 0, "distributed.scheduler.worker-saturation": 1.0}
    with dask.config.set(ours), LocalCluster(**local) as workers, Client(workers, set_as_default=False) as client:
        yield client.get_executor(pure=False)


def _one_sentence(error):
    return str(error).strip().splitlines()[0].rstrip(".:") if str(error).strip() else type(error).__name__
