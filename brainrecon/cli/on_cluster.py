"""Work that is handed to a cluster, where the command was typed: one process at a time, and one table at the end."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

STATE = ".cluster"
"""Folder, in that of the results, of logs and of who is at work."""


@contextmanager
def drained(cluster, state, progress):
    """Give ``drain(cells, finished)``, which has cells done by the workers of a cluster and returns their outcomes.

    Parameters
    ----------
    cluster : brainrecon.studies.cluster.Cluster
    state : path
    progress : callable

    Raises
    ------
    InputError
        Another process hands out the cells of this folder; the engine is not to be had.
    """
    from brainrecon.studies.cluster import executor_of
    from brainrecon.studies.draining import drain
    from brainrecon.studies.presence import present

    with present(Path(state) / "head.json", wait=False), executor_of(cluster, Path(state).absolute()) as executor:

        def drain_all(cells, finished=None):
            return drain(
                executor,
                cells,
                state,
                threads=cluster.n_threads,
                retries=cluster.retries,
                at_once=cluster.n_at_once,
                finished=finished,
                progress=progress,
            )

        yield drain_all


def show_outcomes(outcomes):
    """Print what became of each cell: a row each, and below what those say that failed; nothing if there are none."""
    from brainrecon.cli.console import say, table

    if not outcomes:
        return
    rows = [
        (one.cell.name, one.state, one.attempts, "-" if one.seconds is None else f"{one.seconds:.1f}", one.log)
        for one in outcomes
    ]
    table(("cell", "state", "attempts", "seconds", "log"), rows)
    for one in outcomes:
        if one.message:
            say(f"{one.cell.name}: {one.message}")


def refuse_failures(outcomes):
    """Raise an InputError if any cell is not done."""
    from stages.ground.errors import InputError

    if failed := [one for one in outcomes if not one.is_done]:
        raise InputError(
            f"{len(failed)} of {len(outcomes)} cells are not done, the first is {failed[0].cell.name}; mend what the table says "
            "of it, and run the same command again: what is done is left alone."
        )
