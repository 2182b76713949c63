"""Outputs that are averaged over the trials of a stimulus, in place of its responses.

A network that is no linear map gives something else for the average of two responses than the average of what it gives for each.
MindEye2 (Scotti et al. 2024) trains on single trials and averages outputs, of three trials a stimulus: of fewer, the first ones
count again. MindBridge (Wang et al. 2024) pools the voxels of each trial and averages these: inputs, as its network makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from brainrecon.assembly.values import PATTERNS, Item, Values
from brainrecon.datasets.padded_trials import padded
from stages.ground.progress import SILENT, Progress

if TYPE_CHECKING:
    from brainrecon.assembly.step import Step

RESPONSES, INPUTS, OUTPUTS = "responses", "inputs", "outputs"
STIMULI_AT_A_TIME = 32


def averaged_outputs(
    step: Step,
    items: Sequence[Item],
    trials_of: Callable[[int], Any],
    *,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Values:
    """Run a step on every trial by itself, and average what it gives over the trials of each item.

    >>> from brainrecon.assembly.step import Step
    >>> class Square(Step):
    ...     gives, averages = ("square",), "outputs"
    ...     def run(self, items, values, *, seed=0):
    ...         return {"square": np.asarray(values["patterns"]) ** 2}
    >>> trials = [np.float32([[3]]), np.float32([[1], [4]])]
    >>> averaged_outputs(Square(), [Item("subj01", "cat"), Item("subj01", "dog")], trials.__getitem__)["square"].tolist()
    [[9.0], [6.0]]

    Each trial is run once, whatever it counts. Of a step that averages inputs its `prepared` is, and then its `run_prepared` on
    the averages.

    Parameters
    ----------
    step : Step
        One that reads patterns and gives features; `n_trials` says how many trials are averaged, and `averages` of what.
    items : sequence of Item
        Of one subject.
    trials_of : callable
        ``trials_of(place) -> array of shape (n_trials, n_voxels)``: trials of an item, in the order in which they were measured.
    seed : int
    progress : callable, optional
        Called with (label, items done, all).

    Returns
    -------
    values : dict of str to array (n_items, n_values), float32
    """
    found: dict[str, np.ndarray] = {}
    for start in range(0, len(items), STIMULI_AT_A_TIME):
        places = range(start, min(start + STIMULI_AT_A_TIME, len(items)))
        trials = [np.asarray(trials_of(place), dtype=np.float32) for place in places]
        each = [items[place] for place, own in zip(places, trials) for _ in range(len(own))]
        ends = np.cumsum([len(own) for own in trials])
        patterns = np.concatenate(trials)
        if step.averages == INPUTS:
            rows = _averaged(step.prepared(each, patterns), ends, step.n_trials)
            given = step.run_prepared([items[place] for place in places], rows)
        else:
            ran = step.run(each, {PATTERNS: patterns}, seed=seed)
            given = {name: _averaged(rows, ends, step.n_trials) for name, rows in ran.items()}
        for name, rows in given.items():
            found.setdefault(name, np.empty((len(items), *rows.shape[1:]), np.float32))[places.start : places.stop] = (
                rows
            )
        progress(f"decoding trials for {', '.join(step.gives)}", places.stop, len(items))
    return found


def _averaged(rows: Any, ends: np.ndarray, n_trials: int) -> np.ndarray:
    """Averages of the rows up to each of some ends, float32; of fewer than `n_trials` the first ones count again."""
    parts = np.split(np.asarray(rows, dtype=np.float32), ends[:-1])
    # In double precision: the average of equal rows is that row.
    return np.stack([own[padded(len(own), n_trials)].mean(axis=0, dtype=np.float64) for own in parts]).astype(
        np.float32
    )
