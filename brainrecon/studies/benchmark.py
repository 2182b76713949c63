"""A benchmark: methods x subjects x regions as a plan on disk, worked through by any number of processes.

benchmark.toml                        the plan
<method>/<subject>/<roi>/             a run folder each, or scores of pictures from elsewhere
<method>/<subject>/<roi>/heldout/     the same method where whole clusters of look-alikes were held out
pretraining/<method>/<subject>/<roi>/ runs on other subjects before this one, shared by the rows that differ in sessions
leaderboard.md, .csv, .html

A process takes the next cell that nobody holds; a cell that is finished is left alone, and one that was interrupted goes
on where it was, for that is what run folders do. A lock is given up when its process ends, however it ends.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from brainrecon.assembly.condition import RECONSTRUCTION
from brainrecon.runs.estimate import n_missing
from brainrecon.runs.layout import Layout
from brainrecon.runs.run import Run
from brainrecon.runs.score import is_scored
from brainrecon.studies.plan import PRETRAINING, region_folder
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


def config_of(folder, plan, cell, split=None):
    """Configuration of the run of a cell, with the run of other subjects that comes before it, shared by rows, named.

    Parameters
    ----------
    folder : path
        Of the benchmark.
    plan : Plan
    cell : (method, subject, roi or None)
    split : str, optional
        The held-out split's rule.

    Returns
    -------
    brainrecon.runs.config.RunConfig
    """
    config, name = plan.config(*cell, split=split), plan.pretraining_of(cell[0])
    # Each fold has others before it that leave out what it tests, in a folder of its own.
    if name is None or plan.folds and not split:
        return config
    place = Path(folder) / PRETRAINING / name / cell[1] / region_folder(config.data.roi or "default")
    return replace(config, pretrained=str((place / HELD_OUT if split else place).absolute()))


def only_from_elsewhere(folder):
    """Whether a folder holds scores of pictures from elsewhere, each in <method>/<subject>/<roi>, and nothing else."""
    folder = Path(folder)
    cells = {path.parent for path in folder.glob("*/*/*/external.json")}
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return bool(cells) and all(cells.intersection(path.parents) for path in files)


def finished_runs(folder, plan, cell, features=None):
    """The runs of a cell in which nothing is left to do, by what is on disk; None if there is.

    Parameters
    ----------
    folder : path
    plan : Plan
    cell : (method, subject, roi or None)
    features : path, optional
    """
    runs = []
    for place, controls in _runs_of(cell_folder(folder, *cell), plan):
        if not Layout(place).config.exists():
            return None
        runs.append(run := Run(place, features, "cpu"))
        conditions = (RECONSTRUCTION, *controls)
        drawn = [name for name in conditions if name not in run.not_drawn(conditions)]
        if run.config.samples != plan.samples or not all(part.is_fitted for part in run.parts):
            return None
        if n_missing(run, drawn, plan.control_stimuli or None):
            return None
        if not all(is_scored(one, protocol) for one in run.splits.values() for protocol in plan.protocols):
            return None
    return runs


def finish_cell(
    folder,
    plan,
    cell,
    *,
    only=None,
    features=None,
    device="cpu",
    memory=None,
    finished=None,
    progress=SILENT,
    **drawing,
):
    """Do what is missing in one cell, or a part of it.

    Parameters
    ----------
    folder, plan, features, device, memory, finished, progress, **drawing
        As for `work_through`; of `drawing` also `shard`, which part of the stimuli is drawn.
    cell : (method, subject, roi or None)
    only : {"fit", "draw"}, optional
        Fit and stop, or draw and stop: several processes may draw shards of a cell at once.

    Returns
    -------
    computed : bool
    """
    place = cell_folder(folder, *cell)
    machine = (features, device, memory)
    if only is None:
        with locked(place.parent / f".{place.name}"):
            return bool(_finish_cell(place, plan, cell, *machine, finished, progress, **drawing))
    runs = _created(place, plan, cell, *machine)
    before = [_state(run) for run in runs]
    for run, (_, controls) in zip(runs, _runs_of(place, plan)):
        if only == "fit":
            run.fit(progress)
        else:
            _draw(run, plan, controls, progress, **drawing)
    return [_state(run) for run in runs] != before


def _runs_of(place, plan):
    """Folders of a cell's runs, each with the controls that are drawn in it."""
    return [(place, plan.controls)] + ([(place / HELD_OUT, HELD_OUT_CONTROLS)] if plan.heldout else [])


def _created(place, plan, cell, features, device, memory):
    """The runs of a cell, made if they are not there."""
    splits, root = {place: None, place / HELD_OUT: plan.heldout}, place.parents[2]
    return [
        Run.create(folder, config_of(root, plan, cell, splits[folder]), features, device, memory)
        for folder, _ in _runs_of(place, plan)
    ]


def _finish_cell(place, plan, cell, features, device, memory, finished, progress, **drawing):
    """Do what is missing in one cell; whether anything was."""
    runs = _created(place, plan, cell, features, device, memory)
    before = [_state(run) for run in runs]
    for run, (_, controls) in zip(runs, _runs_of(place, plan)):
        run.fit(progress)
        _draw(run, plan, controls, progress, **drawing)
        for protocol in plan.protocols:
            if not all(is_scored(one, protocol) for one in run.splits.values()):
                run.evaluate(protocol, progress)
    computed = [_state(run) for run in runs] != before
    if finished is not None:
        finished(runs, computed)
    return computed


def _draw(run, plan, controls, progress, **drawing):
    """Draw what is missing in one run."""
    run.reconstruct(
        (RECONSTRUCTION, *controls), control_stimuli=plan.control_stimuli or None, progress=progress, **drawing
    )


def _state(run):
    """Files of a run and when they were written: what changes when something is computed."""
    kinds = ("manifest.jsonl", "decoder/config.json", "scores/*.json")
    folders = ("", "folds/*/", "shuffled/folds/*/", "subjects/*/")
    return {path: path.stat().st_mtime_ns for f in folders for kind in kinds for path in run.folder.glob(f + kind)}
