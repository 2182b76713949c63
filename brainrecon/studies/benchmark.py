"""A benchmark: methods x subjects x regions as a plan on disk, worked through by any number of processes.

benchmark.toml                        the plan
<method>/<subject>/<roi>/             a run folder each, or scores of pictures from elsewhere
<method>/<subject>/<roi>/heldout/     the same method where whole clusters of look-alikes were held out
leaderboard.md, .csv, .html

A process takes the next cell that nobody holds; a cell that is finished is left alone, and one that was interrupted goes
on where it was, for that is what run folders do. A lock is given up when its process ends, however it ends.
"""

from __future__ import annotations

import time
from pathlib import Path

from brainrecon.assembly.condition import RECONSTRUCTION
from brainrecon.runs.run import Run
from brainrecon.runs.score import is_scored
from brainrecon.studies.plan import region_folder
from stages.ground.progress import SILENT
from weights.partial_files import sweep
from weights.whole_files import locked

HELD_OUT = "heldout"
# Controls that are drawn on the held-out split: what is needed to read its scores.
HELD_OUT_CONTROLS = ("shuffled_responses",)
_SECONDS_BETWEEN_LOOKS = 2.0


def work_through(folder, plan, *, features=None, device="cpu", memory=None, finished=None, progress=SILENT, **drawing):
    """Finish every cell of a plan that is not finished, whoever else is at it.

    Parameters
    ----------
    folder : path
    plan : Plan
    features : path, optional
        Folder of the feature store, shared by all cells.
    device : str
    memory : float, optional
        Bytes that fitting a decoder may take.
    finished : callable, optional
        ``finished(runs, computed)`` after each cell, while it is still held: its run and the held-out one, and whether
        anything was computed.
    progress : callable, optional
        Called with (label, done, total).
    **drawing
        `batch_size` and `reproducible`, as for `brainrecon.runs.draw.reconstruct`.

    Returns
    -------
    n_computed : int
        Cells in which this process computed something.
    """
    folder = Path(folder)
    sweep(folder)
    left, computed, done = plan.cells(), 0, 0
    total = len(left)
    while left:
        held_by_others = []
        for cell in left:
            place = cell_folder(folder, *cell)
            with locked(place.parent / f".{place.name}", wait=False) as held:
                if not held:
                    held_by_others.append(cell)
                    continue
                computed += _finish_cell(place, plan, cell, features, device, memory, finished, progress, **drawing)
            done += 1
            progress("cells", done, total)
        if held_by_others:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        left = held_by_others
    return computed


def cell_folder(folder, method, subject, roi):
    """Run folder of one cell."""
    return Path(folder) / method / subject / region_folder(roi or "default")


def only_from_elsewhere(folder):
    """Whether a folder holds scores of pictures from elsewhere, each in <method>/<subject>/<roi>, and nothing else."""
    folder = Path(folder)
    cells = {path.parent for path in folder.glob("*/*/*/external.json")}
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return bool(cells) and all(cells.intersection(path.parents) for path in files)


def _finish_cell(place, plan, cell, features, device, memory, finished, progress, **drawing):
    """Do what is missing in one cell; whether anything was."""
    runs = [Run.create(place, plan.config(*cell), features, device, memory)]
    if plan.heldout:
        config = plan.config(*cell, split=plan.heldout)
        runs.append(Run.create(place / HELD_OUT, config, features, device, memory))
    before = [_state(run) for run in runs]
    for run, controls in zip(runs, (plan.controls, HELD_OUT_CONTROLS)):
        _finish(run, plan, controls, progress, **drawing)
    computed = [_state(run) for run in runs] != before
    if finished is not None:
        finished(runs, computed)
    return computed


def _finish(run, plan, controls, progress, **drawing):
    """Do what is missing in one run."""
    run.fit(progress)
    run.reconstruct(
        (RECONSTRUCTION, *controls), control_stimuli=plan.control_stimuli or None, progress=progress, **drawing
    )
    for protocol in plan.protocols:
        if not is_scored(run, protocol):
            run.evaluate(protocol, progress)


def _state(run):
    """Files of a run and when they were written: what changes when something is computed."""
    kinds = ("manifest.jsonl", "decoder/config.json", "scores/*.json")
    folders = ("", "folds/*/", "shuffled/folds/*/")
    return {path: path.stat().st_mtime_ns for f in folders for kind in kinds for path in run.folder.glob(f + kind)}
