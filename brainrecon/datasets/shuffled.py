"""Responses given to other stimuli: the same data without what responses tell of pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from brainrecon.datasets.resplit import POOLED
from brainrecon.datasets.responses import as_responses
from brainrecon.datasets.split import Split
from stages.ground.errors import InputError


def partners(n_stimuli: int, seed: int) -> np.ndarray:
    """For each stimulus another one, array of int, shape (n_stimuli,).

    >>> partners(3, 0).tolist()
    [1, 2, 0]

    One cycle through a random order: nobody keeps their own, everybody's is used once.
    """
    order = np.random.default_rng(seed).permutation(n_stimuli)
    found = np.empty(n_stimuli, dtype=int)
    found[order] = np.roll(order, -1)
    return found


def with_shuffled_responses(subject, seed):
    """Give each stimulus of train and test the responses to another one.

    Who lends to whom depends on the stimuli and the seed alone: it is the same in every fold, so that whoever is trained and
    tested fold by fold learns from wrong pairs and is tested on one that it never saw.

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    seed : int

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        With a train and a test split, each with its stimuli in their order and what was shown; trials of a stimulus stand
        together. There is no noise ceiling.

    Raises
    ------
    InputError
        There is one stimulus only.
    """
    sources = [subject.splits[name] for name in POOLED]
    ids = np.sort(np.concatenate([source.stimulus_ids for source in sources]))
    if len(ids) < 2:
        raise InputError(
            f"Shuffled responses need 2 stimuli but there is {len(ids)} at {subject.source}; leave that control out."
        )
    lender = dict(zip(ids, ids[partners(len(ids), seed)]))
    shown = np.concatenate([source.trial_stimulus_ids for source in sources])
    trials = {str(name): np.flatnonzero(shown == name) for name in ids}
    lent = {name: [trials[lender[one]] for one in subject.splits[name].stimulus_ids] for name in POOLED}
    first, *others = (as_responses(source.betas) for source in sources)
    betas = first.joined(others).standardized_by(np.sort(np.concatenate(lent["train"])))
    splits = {}
    for name, source in zip(POOLED, sources):
        rows = np.concatenate(lent[name])
        splits[name] = Split(
            betas=betas.take(rows),
            trial_stimulus_ids=np.repeat(source.stimulus_ids, [len(own) for own in lent[name]]),
            sessions=_per_trial(sources, "sessions", rows),
            runs=_per_trial(sources, "runs", rows),
            images=source.images,
            captions=(lambda source=source: source.captions) if source.has_captions else None,
            categories=(lambda source=source: source.categories) if source.has_categories else None,
        )
    return replace(
        subject,
        splits=splits,
        noise_ceiling=None,
        # They learned from the responses as they were.
        encoding_models={},
        notes=[*subject.notes, "each stimulus was given the responses to another one"],
        details=subject.details | {"responses": f"shuffled among stimuli, seed {seed}"},
    )


def _per_trial(sources, name, rows):
    columns = [getattr(source, name) for source in sources]
    return None if any(column is None for column in columns) else np.concatenate(columns)[rows]
