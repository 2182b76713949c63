"""NSD imagery: what was seen, attended to and imagined on which trial, and the targets.

A run's table ``nsdimagery_subj01_imgA_1.tsv`` has a row per trial: RUN and TRIAL count from 1, CONDITION is the cue of what was
seen or imagined. ``A_pair_list.mat`` says which target a cue of set A stands for: the file of a picture, or a word. Runs follow
each other by RUN, trials by TRIAL. A trial of attention has two betas, one of the cue and one of what followed; any other has
one.
"""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brainrecon.datasets.nsd.design import read_columns
from brainrecon.datasets.nsd.further import experiments
from brainrecon.datasets.nsd.further.middle_pictures import MiddlePictures
from brainrecon.datasets.nsd.layout import Layout
from brainrecon.datasets.stimulus_images import read_picture
from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.reading.matlab_files import read_mat
from weights.names import trouble_with_part

BETAS_OF_A_TRIAL = {"vis": 1, "att": 2, "img": 1}
PICTURE = ".png"
"""A target whose name ends so is the file of a picture; any other is a word."""
AGAIN = "copy the original file again"


def run_files(layout: Layout, subject: str) -> dict:
    """Name of a run -> its table, of those that are there."""
    folder, found = experiments.imagery_trials(layout), {}
    if folder.is_dir():
        for path in visible(folder, f"nsdimagery_{subject}_*.tsv"):
            name = path.name.removeprefix(f"nsdimagery_{subject}_").removesuffix(".tsv")
            if re.fullmatch(r"(vis|att|img)[A-Z](_\d+)?", name):
                found[name] = path
    return found


def read_trials(layout: Layout, subject: str, betas: object, n_betas: int) -> pd.DataFrame:
    """Every trial of the session that has one beta, those of vision and imagery, in the order of the file of betas.

    Returns
    -------
    trials : pandas.DataFrame
        ``row`` (0-based, in the file of betas), ``run`` (1-based), ``task`` ("vis" or "img"), ``set`` ("A"), ``cue`` ("H").

    Raises
    ------
    InputError
        Tables are absent, damaged or at odds with each other, or the betas have another number of trials.
    """
    files = run_files(layout, subject)
    if not files:
        first = experiments.imagery_run(layout, subject, experiments.RUNS[0])
        raise InputError(
            f"There is no {first}, nor a table of another run; copy the {len(experiments.RUNS)} tables of {subject} from the NSD "
            "bucket to this place."
        )
    tables: dict[int, tuple] = {}
    for name, path in files.items():
        table = read_columns(path, ("RUN", "TRIAL"), ("CONDITION",), sep="\t", dtype=str, keep_default_na=False)
        if not len(table) or table["RUN"].nunique() != 1:
            raise InputError(
                f"{path} has {len(table):,} trials of {table['RUN'].nunique()} runs; expected one: {AGAIN}."
            )
        run = int(table["RUN"].iloc[0])
        if run in tables:
            raise InputError(f"{path} and {tables[run][1].name} are both of run {run}; {AGAIN}.")
        table = table.sort_values("TRIAL", ignore_index=True)
        if table["TRIAL"].tolist() != list(range(1, len(table) + 1)):
            raise InputError(f"{path} does not have each trial from 1 to {len(table):,} once; {AGAIN}.")
        tables[run] = name, path, table["CONDITION"].str.strip().tolist()
    parts, start = [], 0
    for run, (name, _, cues) in sorted(tables.items()):
        task, of_set = name[:3], name[3]
        if BETAS_OF_A_TRIAL[task] == 1:
            rows = start + np.arange(len(cues))
            parts.append(pd.DataFrame({"row": rows, "run": run, "task": task, "set": of_set, "cue": cues}))
        start += BETAS_OF_A_TRIAL[task] * len(cues)
    numbers = sorted(tables)
    if start != n_betas or numbers != list(range(1, len(numbers) + 1)):
        raise InputError(
            f"{betas} have {n_betas:,} trials but the tables of runs {', '.join(map(str, numbers))} of {subject} in "
            f"{experiments.imagery_trials(layout)} stand for {start:,} (two for each trial of attention); add missing tables, "
            "or take all of one release."
        )
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["row", "run", "task", "set", "cue"])


def runs_of_rows(trials: pd.DataFrame, n_betas: int) -> NDArray:
    """Run of each row of the file of betas; rows of attention have -1, since nobody reads them."""
    runs = np.full(n_betas, -1)
    runs[trials["row"].to_numpy(dtype=int)] = trials["run"].to_numpy(dtype=int)
    return runs


def read_targets(layout: Layout, of_set: str) -> dict[str, str]:
    """Cue -> target, of one set.

    Raises
    ------
    InputError
        The list is absent or damaged, has a cue twice, or a target whose name is none of a file.
    """
    path = experiments.imagery_targets(layout, of_set)
    if not path.is_file():
        raise InputError(f"There is no {path}; copy it from the NSD bucket to this place.")
    content = read_mat(path)
    pairs = content.get("pair_list")
    if not isinstance(pairs, np.ndarray) or pairs.dtype != object or pairs.ndim != 2 or pairs.shape[1] != 3:
        found = "no pair_list" if pairs is None else f"pair_list of {np.asarray(pairs).dtype} {np.shape(pairs)}"
        raise InputError(f"{path} has {found}; expected cells (n, 3), number, target and cue: {AGAIN}.")
    targets: dict[str, str] = {}
    for _, target, cue in pairs:
        target, cue = _text(path, "target", target), _text(path, "cue", cue)
        if trouble := trouble_with_part(target):
            raise InputError(f"{path} names a target {target!r}, which is no file's name, for {trouble}; {AGAIN}.")
        if cue in targets or target in targets.values():
            raise InputError(f"{path} has cue {cue!r} or target {target!r} twice; {AGAIN}.")
        targets[cue] = target
    return targets


def _text(path, what, cell):
    values = np.asarray(cell).reshape(-1)
    if values.dtype.kind != "U" or len(values) != 1:
        raise InputError(f"{path} has a {what} that is {values.dtype} {np.shape(cell)}; expected a text: {AGAIN}.")
    return str(values[0]).strip()


def with_targets(layout: Layout, trials: pd.DataFrame) -> pd.DataFrame:
    """The trials with ``target``, ``stimulus`` ("A-bar_000.0deg_450L_43W") and ``is_picture``.

    Raises
    ------
    InputError
        A set has no list of targets, or a trial a cue that is not in it.
    """
    targets = {of_set: read_targets(layout, of_set) for of_set in sorted(set(trials["set"]))}
    for of_set, cue in trials[["set", "cue"]].drop_duplicates().itertuples(index=False):
        if cue not in targets[of_set]:
            raise InputError(
                f"A trial of set {of_set} has CONDITION {cue!r} but {experiments.imagery_targets(layout, of_set)} has "
                f"{', '.join(targets[of_set])}; take both from the same release."
            )
    found = trials.copy()
    found["target"] = [targets[of_set][cue] for of_set, cue in zip(trials["set"], trials["cue"])]
    found["is_picture"] = found["target"].str.endswith(PICTURE)
    found["stimulus"] = found["set"] + "-" + found["target"].str.removesuffix(PICTURE)
    return found


def read_pictures(layout: Layout, stimuli: pd.DataFrame, size: tuple[int, int]) -> tuple[MiddlePictures | None, str]:
    """Pictures of some stimuli, lazily, or None and a note that says which are absent.

    Parameters
    ----------
    layout : brainrecon.datasets.nsd.layout.Layout
    stimuli : pandas.DataFrame
        With ``set`` and ``target``, a row each.
    size : (int, int)
        Height and width of the core's pictures.
    """
    pairs = zip(stimuli["set"].tolist(), stimuli["target"].tolist())
    paths = [experiments.imagery_picture(layout, of_set, target) for of_set, target in pairs]
    absent = [path for path in paths if not path.is_file()]
    if absent:
        return None, f"no pictures of imagery: {len(absent)} of {len(paths)} are absent, the first is {absent[0]}"
    return MiddlePictures([partial(read_picture, path, AGAIN) for path in paths], size), ""
