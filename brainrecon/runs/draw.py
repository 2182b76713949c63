"""The outputs of a run: find those that are missing, draw them in batches, write each as it is done."""

from __future__ import annotations

import contextlib

import numpy as np

from brainrecon.assembly.condition import CONDITIONS, RECONSTRUCTION, condition
from brainrecon.assembly.step import rows_of
from brainrecon.assembly.values import Item
from brainrecon.runs import manifest
from brainrecon.runs.claims import Claims
from brainrecon.runs.values import RunValues
from brainrecon.runs.writer import Writer
from stages.ground.ending import finished_first
from stages.ground.errors import InputError
from stages.ground.not_finite import NotFinite, named
from stages.ground.progress import SILENT

# Requests held in memory at a time, in batches; a multiple of the batch, so that all but the last are full.
BATCHES_AT_ONCE = 16
# Values on the way that a process takes on at a time; they are computed one by one.
VALUES_AT_ONCE = 16


def reconstruct(
    run,
    conditions=(RECONSTRUCTION,),
    *,
    stimuli=None,
    control_stimuli=None,
    batch_size=None,
    shard=(0, 1),
    reproducible=False,
    progress=SILENT,
):
    """Draw the outputs of one run (no folds) that are not there yet; features are not drawn, but predicted when it is fitted.

    Parameters
    ----------
    run : brainrecon.runs.run.Run
    conditions : sequence of str
        Names in `brainrecon.assembly.condition.CONDITIONS`. Those that do not apply are left out; parts of the system, such
        as stage-one pictures, are added.
    stimuli : sequence of str, optional
        Test stimuli to draw; all of them if it is not given.
    control_stimuli : int, optional
        Draw controls for so many stimuli only, spread evenly over the test set.
    batch_size : int, optional
        Outputs drawn together, by default as many as the last step says. It changes a picture by one grey level at most.
    shard : tuple of int
        (i, n): every n-th stimulus from the i-th on.
    reproducible : bool
        Each picture in a batch of its own with deterministic kernels: equal bytes whatever was asked together, on one
        machine with as many threads (OMP_NUM_THREADS). The run folder's `environment.json` has their number.
    progress : callable
        Called with (label, done, total).

    Raises
    ------
    InputError
        An unknown condition or stimulus.
    NotFinite
        Outputs are NaN or infinite; raised when all others have been drawn.
    KeyboardInterrupt
        It was interrupted: after the batch that was under way, which is saved, or at once the second time.
    """
    if not run.unfitted.draws:
        return
    chain, values = run.chain, RunValues(run)
    asked = {name: condition(name) for name in conditions}
    # Parts are always drawn beside the system itself.
    asked |= {name: one for name, one in CONDITIONS.items() if not one.is_control and name != RECONSTRUCTION}
    asked = {name: one for name, one in asked.items() if one.applies_to(chain)}
    every = values.stimulus_ids
    chosen = list(every) if stimuli is None else list(dict.fromkeys(map(str, stimuli)))
    absent = [name for name in chosen if name not in values.row]
    if absent:
        raise InputError(
            f"Stimulus {absent[0]!r} is not among the {len(every):,} test stimuli; the first is {every[0]!r}: "
            "see `brainrecon data info`."
        )
    chosen = chosen[shard[0] :: shard[1]]
    controlled = set(every if control_stimuli is None else spread(every, control_stimuli))
    of = {name: [s for s in chosen if not one.is_control or s in controlled] for name, one in asked.items()}

    drawn = {name: _items(values, name, of[name]) for name, one in asked.items() if _is_drawn(one, chain)}
    missing = {name: [item for item in drawn[name] if not _path(run, name, item).exists()] for name in drawn}
    counter, spoilt = _Counter(progress, sum(map(len, missing.values()))), []
    # Read before a thread writes.
    run.written  # noqa: B018
    with Claims(run.folder, progress) as claims, deterministic() if reproducible else contextlib.nullcontext():
        for name, one in asked.items():
            if chain.readers(shown := one.shown(chain)):
                spoilt += _keep(values, claims, shown, of[name], progress)
            elif (replacement := one.replacement(chain, chain.output)) is not None:
                _draw_at_once(run, values, claims, replacement, name, of[name])
        for name, items in missing.items():
            lacking = _look_up(values, claims, name, items)
            spoilt += lacking.values()
            missing[name] = [item for item in items if item not in lacking]
        # The generator is loaded into the room that the targets' networks leave.
        chain.free_targets()
        for name, items in missing.items():
            if items:
                spoilt += _draw(run, values, claims, name, items, 1 if reproducible else batch_size, counter)
    files = [run.image_path(name, stimulus_id) for name in asked if name not in drawn for stimulus_id in of[name]]
    for name, items in drawn.items():
        files += [_path(run, name, item) for item in items] + _on_the_way(values, name, items)
    manifest.complete(run.layout, files)
    if spoilt:
        raise NotFinite.together(spoilt)


def _is_drawn(one, chain):
    """Whether a condition is drawn by the last step, item by item."""
    return not chain.readers(one.shown(chain)) and one.replacement(chain, chain.output) is None


def _path(run, name, item):
    """File of an item under a condition."""
    return run.image_path(name, item.stimulus_id, item.sample)


def _on_the_way(values, name, items):
    """Files of what items are drawn from under a condition, whether they are there or not."""
    chain = values.chain
    shown = CONDITIONS[name].shown(chain)
    given = [one for step in chain.steps for one in step.gives if one != shown]
    places = [values.place(name, one, item.stimulus_id) for one in given for item in items]
    return [place for place in dict.fromkeys(places) if place is not None]


def _items(values, name, stimulus_ids):
    """Items of a condition; of a control one sample is drawn."""
    return [
        Item(values.subject.name, stimulus_id, sample)
        for stimulus_id in stimulus_ids
        for sample in range(1 if CONDITIONS[name].is_control else values.n_samples(stimulus_id))
    ]


def _keep(values, claims, name, stimulus_ids, progress):
    """Have a value on the way of every stimulus on disk; returns the errors of those that are not finite."""
    medium, done, spoilt = values.chain.medium(name), 0, {}

    def path_of(stimulus_id):
        return values.run.layout.on_the_way(name, medium, stimulus_id)

    for portion in claims.portions(stimulus_ids, path_of, 1, VALUES_AT_ONCE, spoilt):
        for stimulus_id in portion:
            with finished_first("picture"):
                try:
                    values.value(RECONSTRUCTION, name, stimulus_id)
                except NotFinite as error:
                    spoilt[stimulus_id] = error.of([stimulus_id])
            done += 1
            progress("stage one", done, len(stimulus_ids))
    return list(spoilt.values())


def _draw_at_once(run, values, claims, replacement, name, stimulus_ids):
    """Write the outputs of a condition that come from the training split, those that are not there."""
    for names in claims.portions(stimulus_ids, lambda one: run.image_path(name, one), len(stimulus_ids)):
        for stimulus_id, output in zip(names, replacement.draw(names, values)):
            run.write_value(run.image_path(name, stimulus_id), output, values.chain.medium(values.chain.output))


def _look_up(values, claims, name, items):
    """Have on disk, or in tables, what the last step reads under a condition, so that no target is needed while it draws.

    Returns the errors of items for which that is not finite, a dict.
    """
    chain, spoilt = values.chain, {}
    step = chain.giver(CONDITIONS[name].shown(chain))
    for value in (*step.reads, *step.optional):
        places = {item: values.place(name, value, item.stimulus_id) for item in items}
        if not any(places.values()):
            some = items[:1]
        else:
            kept = [item for item in items if places[item] is not None]
            some = (item for part in claims.portions(kept, places.get, 1, VALUES_AT_ONCE, spoilt) for item in part)
        for item in some:
            with finished_first("picture"):
                try:
                    values.value(name, value, item.stimulus_id, item.sample)
                except NotFinite as error:
                    spoilt[item] = error.of([named(item)])
    return spoilt


def _draw(run, values, claims, name, items, batch_size, counter):
    """Draw the items of a condition that are not there, and write each as it is done.

    Returns the errors of those that are not finite, a list.
    """
    chain = values.chain
    shown = CONDITIONS[name].shown(chain)
    step = chain.giver(shown)
    step.load(counter.progress)
    batch_size = batch_size or step.batch_size()

    def path_of(item):
        return _path(run, name, item)

    at_once, seed, spoilt, given_up = step.items_at_once(batch_size), run.config.seed, [], set()
    with Writer(run.write_value) as writer:
        for portion in claims.portions(items, path_of, batch_size, BATCHES_AT_ONCE, given_up):
            read, starts = values.values(name, step, portion), range(0, len(portion), at_once)
            for number, start in enumerate(starts):
                chosen = slice(start, start + at_once)
                batch, progress = portion[chosen], counter.within(number, len(starts))
                own = {"seed": seed, "batch_size": batch_size, "progress": progress}
                # A batch is what an interruption would cost.
                with finished_first("batch"):
                    try:
                        for position, given in step.stream(batch, rows_of(read, chosen), **own):
                            writer.write(path_of(batch[position]), given[shown], chain.medium(shown))
                            counter.count()
                    except NotFinite as error:
                        spoilt.append(error)
                        given_up |= {batch[position] for position in error.positions}
            # Claims look for the files.
            writer.wait()
    return spoilt


class _Counter:
    """Counts what is drawn, over all conditions."""

    def __init__(self, progress, total):
        self.progress, self._done, self._total = progress, 0, total

    def count(self):
        self._done += 1
        self.progress("reconstructing", self._done, self._total)

    def within(self, number, n_batches):
        """Progress within one of some batches, counted over all of them as if they were alike.

        What the generator counts in outputs is counted here already.
        """

        def progress(label, done, total):
            if label != "pictures":
                self.progress(label, number * total + done, n_batches * total)

        return progress


def spread(stimulus_ids, count):
    """`count` stimuli at even distances over the whole list, in its order."""
    positions = np.unique(np.linspace(0, len(stimulus_ids) - 1, min(count, len(stimulus_ids))).round().astype(int))
    return [stimulus_ids[position] for position in positions]


@contextlib.contextmanager
def deterministic():
    """Have torch compute by deterministic kernels within."""
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
