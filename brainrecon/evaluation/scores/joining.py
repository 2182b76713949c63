"""One `Scores` out of those that several tasks gave."""

from dataclasses import replace

import numpy as np

from brainrecon.evaluation.scores.scores import ConditionScores


def joined(parts, stimulus_ids, data):
    """Join what several tasks found about the same outputs under one protocol.

    Parameters
    ----------
    parts : sequence of Scores
        At least one. No two of them have scores in the same metric.
    stimulus_ids : sequence of str
        Of what was shown, for the order of stimuli.
    data : dict
        What was tested.

    Returns
    -------
    scores : Scores
    """
    whole = replace(parts[0], data=data)
    for part in parts[1:]:
        whole = replace(
            whole,
            conditions={
                name: _both(whole.conditions.get(name), part.conditions.get(name), stimulus_ids)
                for name in (*whole.conditions, *(name for name in part.conditions if name not in whole.conditions))
            },
            summary=whole.summary + part.summary,
            differences=whole.differences + part.differences,
            checkpoints=whole.checkpoints | part.checkpoints,
            embeddings=whole.embeddings or part.embeddings,
            retrieval=whole.retrieval or part.retrieval,
            features=whole.features or part.features,
            categories=whole.categories or part.categories,
            responses=whole.responses or part.responses,
            corpus=whole.corpus | part.corpus,
            ceilings=whole.ceilings | part.ceilings,
            regions=whole.regions | part.regions,
            notes=whole.notes + part.notes,
        )
    return whole


def _both(one, other, stimulus_ids):
    """The scores of one condition in the metrics of two tasks; NaN for a stimulus that only the other task has."""
    if one is None or other is None:
        return one or other
    if one.stimulus_ids == other.stimulus_ids:
        return replace(one, values=one.values | other.values)
    there = {*one.stimulus_ids, *other.stimulus_ids}
    ids = tuple(name for name in stimulus_ids if name in there)
    counts = dict(zip(other.stimulus_ids, other.n_samples)) | dict(zip(one.stimulus_ids, one.n_samples))
    return ConditionScores(ids, tuple(counts[name] for name in ids), _over(one, ids) | _over(other, ids))


def _over(scores, ids):
    """Values over more stimuli, NaN for those that are not there."""
    places = {name: row for row, name in enumerate(ids)}
    rows = [places[name] for name in scores.stimulus_ids]
    found = {}
    for metric, values in scores.values.items():
        found[metric] = np.full(len(ids), np.nan)
        found[metric][rows] = values
    return found
