"""What correlations of decoded features need of a run: true and decoded values by columns, training statistics, split halves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from brainrecon.assembly.trial_outputs import OUTPUTS
from brainrecon.assembly.values import PATTERNS
from brainrecon.datasets.split import ROWS_PER_BLOCK
from brainrecon.datasets.voxels import masked_regions
from brainrecon.evaluation.metrics.feature_correlation import FeatureCorrelation, columns_at_once
from brainrecon.evaluation.tasks.features import FEWEST_STIMULI, Decoded, Halves, wanted_measures
from brainrecon.runs.predict import stored_columns
from brainrecon.runs.values import RunValues
from stages.ground.progress import SILENT


def decoded_features(run, protocol, progress=SILENT):
    """True and decoded values of a run whose features are to be correlated.

    >>> true, predicted, decoded = decoded_features(run, load_protocol())  # doctest: +SKIP
    >>> decoded["cnn8_V1"].target, predicted["cnn8_V1"].shape, true["cnn8"].shape  # doctest: +SKIP
    ('cnn8', (50, 1000), (50, 1000))

    Those that the protocol asks for, and all of a target that the chain decodes from two regions or more. Nothing is held in
    memory but training statistics; features decoded from halves of the repeats are compared as they come, and kept nowhere.

    Parameters
    ----------
    run : brainrecon.runs.run.Run
        Fitted. If it has folds, their stimuli are rows of one array, each z-scored by its own fold's training stimuli, and there
        are no halves.
    protocol : brainrecon.evaluation.protocols.protocol.Protocol
    progress : callable, optional

    Returns
    -------
    true : dict of str to columns of shape (n_stimuli, n_units)
        By target, anything with ``shape`` and a method ``columns(start, stop)``.
    predicted : dict of str to the same
        By value.
    decoded : dict of str to brainrecon.evaluation.tasks.features.Decoded
        By value.
    """
    chain = run.unfitted
    known = {
        name: Decoded(chain.target_of[name], chain.giver(name).roi)
        for name in chain.predicts
        if name in chain.target_of and name in chain.targets
    }
    names = list(wanted_measures(protocol.embeddings, known))
    if not names:
        return {}, {}, {}
    parts = [RunValues(part) for part in run.parts]
    stored = [_stored(values, names) for values in parts]
    predicted = {name: _stacked([own[name] for own in stored]) for name in names}
    halves = _halves(parts[0], names) if len(parts) == 1 else {}
    true, training = {}, {}
    for name in names:
        target = known[name].target
        if target not in true:
            true[target] = _stacked([values.true_features((name,), "test")[name] for values in parts])
            training[target] = _training(parts, name)
    for values in parts:
        values.chain.free_targets()
    of_value = {name: training[known[name].target] for name in names}
    compared = _compared(parts[0], halves, of_value, progress) if halves else {}
    masks = {one.roi: _voxels(parts[0].subject, one.roi) for one in known.values()}
    decoded = {
        name: replace(
            known[name], training=training[known[name].target], halves=compared.get(name), voxels=masks[known[name].roi]
        )
        for name in names
    }
    return true, predicted, decoded


def halves_of_repeats(split):
    """Average every other trial of each stimulus, and the rest.

    Parameters
    ----------
    split : brainrecon.datasets.split.Split

    Returns
    -------
    rows : array of int, shape (n_repeated,)
        Stimuli with two trials or more, in the order of the split.
    patterns : pair of float32 arrays of shape (n_repeated, n_voxels)
        The first trial of a stimulus is in the first, the second in the second, and so on.
    counts : pair of int arrays of shape (n_repeated,)
        Trials in the smaller and in the larger half.
    """
    repeats, positions = np.asarray(split.repeats), np.asarray(split.positions)
    rows = np.flatnonzero(repeats >= 2)
    place = np.full(len(repeats), -1)
    place[rows] = np.arange(len(rows))
    order = np.argsort(positions, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(positions, minlength=len(repeats)))[:-1]])
    turn = np.empty(len(positions), dtype=np.intp)
    turn[order] = (np.arange(len(positions)) - starts[positions[order]]) % 2
    totals = np.zeros((2, len(rows), split.betas.shape[1]))
    for first in range(0, len(positions), ROWS_PER_BLOCK):
        block = slice(first, min(first + ROWS_PER_BLOCK, len(positions)))
        kept = np.flatnonzero(place[positions[block]] >= 0)
        if len(kept):
            trials = np.asarray(split.betas[block])[kept]
            np.add.at(totals, (turn[block][kept], place[positions[block]][kept]), trials)
    smaller, larger = repeats[rows] // 2, repeats[rows] - repeats[rows] // 2
    averages = totals[0] / larger[:, None], totals[1] / smaller[:, None]
    return rows, tuple(one.astype(np.float32) for one in averages), (smaller, larger)


def _voxels(subject, roi):
    """Voxels of a region, bool array of shape (n_voxels,)."""
    return masked_regions(f"{subject.name} (roi {subject.roi})", subject.rois, subject.n_voxels).select(roi)


def _stored(values, names):
    """Decoded values on disk by name; they are predicted now if they are not there."""
    steps = {id(step): step for step in (values.chain.giver(name) for name in names)}
    return {
        name: own
        for step in steps.values()
        for name, own in stored_columns(values.predicted_file("test", step)).items()
    }


def _halves(values, names):
    """Values to decode from halves of the repeats, by step: those of steps that read patterns alone, if enough is repeated."""
    repeated = (np.asarray(values.subject.test.repeats) >= 2).sum() >= FEWEST_STIMULI
    steps = dict.fromkeys(values.chain.giver(name) for name in names) if repeated else {}
    return {
        step: [name for name in names if name in step.gives]
        for step in steps
        # The average of a half is no trial, of which such a step knows alone.
        if step.reads == (PATTERNS,) and not step.optional and not step.by_lot and step.averages != OUTPUTS
    }


def _compared(values, halves, training, progress):
    """What is decoded from the halves of the repeats, one half with the other, by value."""
    rows, patterns, counts = halves_of_repeats(values.subject.test)
    found, total = {}, sum(map(len, halves.values()))
    for step, names in halves.items():
        between = {name: FeatureCorrelation(len(rows)) for name in names}
        for one, other in zip(*(step.predict_blocks({PATTERNS: own}) for own in patterns), strict=True):
            (name, columns, first), (*same, second) = one, other
            assert same == [name, columns]
            if name in between:
                between[name].add(first, second, training[name](columns.start, columns.stop))
        found |= {name: Halves(own, *counts) for name, own in between.items()}
        progress("decoding halves of the repeats", len(found), total)
    return found


def _training(parts, name):
    """Mean and standard deviation of a target over the training stimuli of each part, by columns."""
    found = []
    for values in parts:
        table = values.true_features((name,), "train")[name]
        mean, std = np.empty(table.shape[1]), np.zeros(table.shape[1])
        width = columns_at_once(len(table))
        for start in range(0, table.shape[1], width):
            part = slice(start, min(start + width, table.shape[1]))
            block = table.columns(part.start, part.stop).astype(np.float64)
            mean[part] = block.mean(axis=0)
            if len(table) > 1:
                std[part] = block.std(axis=0, ddof=1)
        found.append((mean, std))
    if len(found) == 1:
        return lambda start, stop: tuple(one[start:stop] for one in found[0])
    n_rows = [values.subject.test.n_stimuli for values in parts]

    def of_rows(start, stop):
        sides = ([fold[side][start:stop] for fold in found] for side in (0, 1))
        return tuple(np.repeat(np.stack(side), n_rows, axis=0) for side in sides)

    return of_rows


def _stacked(tables):
    return tables[0] if len(tables) == 1 else _Stacked(tables)


class _Stacked:
    """Tables of all parts, one below the other."""

    def __init__(self, tables):
        self._tables = tables
        self.shape = (sum(one.shape[0] for one in tables), tables[0].shape[1])

    def __len__(self):
        return self.shape[0]

    def columns(self, start, stop):
        """Some columns of all rows."""
        return np.concatenate([one.columns(start, stop) for one in self._tables])

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.columns(0, self.shape[1]), dtype=dtype)
