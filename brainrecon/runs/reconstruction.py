"""The pictures of a run: find those that are missing, draw them in batches, write each as it is done."""

from __future__ import annotations

import contextlib

import numpy as np

from brainrecon.methods.conditions import CONDITIONS, DRAWN_TOGETHER, METHOD_ITSELF, SAMPLED
from brainrecon.runs.drawing import work_of
from stages.ground.errors import InputError

# Requests held in memory at a time, in batches; a multiple of the batch, so that all but the last are full.
BATCHES_AT_ONCE = 16


def reconstruct(
    run,
    conditions=(METHOD_ITSELF,),
    *,
    stimuli=None,
    control_stimuli=None,
    batch_size=None,
    shard=(0, 1),
    reproducible=False,
    progress=None,
):
    """Draw the pictures of one run (no folds) that are not there yet.

    Parameters
    ----------
    run : brainrecon.runs.folder.Run
    conditions : sequence of str
        Names in `brainrecon.methods.conditions.CONDITIONS`. Those that the method cannot be drawn under are left out;
        those that it always draws, such as stage-one pictures, are added.
    stimuli : sequence of str, optional
        Test stimuli to draw; all of them where it is not given.
    control_stimuli : int, optional
        Draw controls for so many stimuli only, spread evenly over the test set.
    batch_size : int, optional
        Pictures drawn together, by default as many as the method says. It changes a picture by one grey level at most.
    shard : tuple of int
        (i, n): every n-th stimulus from the i-th on.
    reproducible : bool
        Each picture in a batch of its own with deterministic kernels: equal bytes whatever was asked together.
    progress : callable, optional
        Called with (label, done, total).

    Raises
    ------
    InputError
        An unknown condition or stimulus.
    """
    unknown = [name for name in conditions if name not in CONDITIONS]
    if unknown:
        raise InputError(f"There is no condition {unknown[0]!r}; expected some of {', '.join(CONDITIONS)}.")
    work = work_of(run)
    method = run.method
    conditions = tuple(dict.fromkeys((*conditions, *method.always_drawn)))
    every = work.stimulus_ids
    chosen = list(every) if stimuli is None else list(dict.fromkeys(map(str, stimuli)))
    absent = [name for name in chosen if name not in work.row]
    if absent:
        raise InputError(
            f"Stimulus {absent[0]!r} is not among the {len(every):,} test stimuli; the first is {every[0]!r}: "
            "see `brainrecon data info`."
        )
    chosen = chosen[shard[0] :: shard[1]]
    controlled = set(every if control_stimuli is None else spread(every, control_stimuli))

    if "stage_one" in conditions and "stage_one" in method.conditions:
        for done, name in enumerate(chosen):
            work.stage_one(name)
            if progress:
                progress("stage one", done + 1, len(chosen))
    for condition in DRAWN_TOGETHER:
        if condition in conditions and condition in method.conditions:
            work.draw_together(condition, [name for name in chosen if name in controlled])

    missing = [
        (condition, name, sample)
        for condition in conditions
        if condition in method.conditions and condition not in ("stage_one", *DRAWN_TOGETHER)
        for name in chosen
        if condition in (METHOD_ITSELF, *method.always_drawn) or name in controlled
        for sample in range(work.n_samples(name) if condition in SAMPLED else 1)
        if not run.image_path(condition, name, sample).exists()
    ]
    # A picture that starts from noise takes more steps and cannot share a batch with one that starts half-way.
    missing.sort(key=lambda entry: entry[0] == "without_stage_one")
    if not missing:
        return
    batch_size = 1 if reproducible else batch_size or method.batch_size()
    at_once = BATCHES_AT_ONCE * batch_size
    with _deterministic() if reproducible else contextlib.nullcontext():
        for start in range(0, len(missing), at_once):
            entries = missing[start : start + at_once]
            requests = [work.request(*entry) for entry in entries]
            finished = 0
            for position, image in method.generate(requests, seed=run.config.seed, batch_size=batch_size):
                run.write_image(run.image_path(*entries[position]), image)
                finished += 1
                if progress:
                    progress("reconstructing", start + finished, len(missing))


def spread(stimulus_ids, count):
    """`count` stimuli at even distances over the whole list, in its order."""
    positions = np.unique(np.linspace(0, len(stimulus_ids) - 1, min(count, len(stimulus_ids))).round().astype(int))
    return [stimulus_ids[position] for position in positions]


@contextlib.contextmanager
def _deterministic():
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
