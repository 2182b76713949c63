"""The categories among which a run's predictions are looked for, and which of them each test stimulus has."""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.class_labels import labels_of_stimuli
from brainrecon.evaluation.tasks.categories import Candidates
from brainrecon.runs.values import RunValues
from stages.ground.class_labels import category_of
from stages.ground.errors import InputError
from stages.priors.category_means import category_means, without_own


def candidates_of(run, progress):
    """Candidates of each predicted value of a run, dict of str to Candidates.

    They are those that the system knows (`System.category_means`), or else the average features of the categories of all
    stimuli, training and test, each stimulus being looked for beside the average of its category without its own picture.

    Parameters
    ----------
    run : brainrecon.runs.run.Run
    progress : callable

    Raises
    ------
    InputError
        A stimulus has no category.
    """
    chain, first = run.unfitted, run.parts[0]
    labels = [label for part in run.parts for label in labels_of_stimuli(part.subject.test)]
    found, averaged = {}, {}
    for done, (name, target) in enumerate(chain.target_of.items()):
        progress("averages of categories", done, len(chain.target_of))
        if target not in averaged:
            averaged[target] = _of_target(run, first, name, target, labels)
        found[name] = averaged[target](chain.giver(name).roi)
    progress("averages of categories", len(chain.target_of), len(chain.target_of))
    return found


def n_unseen(run):
    """How many test stimuli are of categories that no training picture has: (unseen, all); None if there are no categories."""
    counts = [0, 0]
    for part in run.parts:
        try:
            learned, tested = (
                map(category_of, labels_of_stimuli(part.subject.splits[name])) for name in ("train", "test")
            )
        except InputError:
            return None
        known = set(learned)
        unseen = [own not in known for own in tested]
        counts = [counts[0] + sum(unseen), counts[1] + len(unseen)]
    return tuple(counts)


def _of_target(run, first, name, target, labels):
    """Makes the candidates of a target, given the region that a value of it was decoded from."""
    known = run.config.system.category_means(target)
    if known is not None:
        own = known.places(labels)
        return lambda roi: Candidates(known.labels, known.means, own, target=target, roi=roi)
    values = RunValues(first)
    tables = [(split, values.true_features((name,), split)[name]) for split in ("train", "test")]
    features = np.concatenate([np.asarray(table) for _, table in tables])
    means = category_means(
        features, [label for split, _ in tables for label in labels_of_stimuli(first.subject.splits[split])]
    )
    own = means.places(labels)
    test = [np.asarray(RunValues(part).true_features((name,), "test")[name]) for part in run.parts]
    beside = without_own(means, np.concatenate(test), own)
    return lambda roi: Candidates(means.labels, means.means, own, beside, target=target, roi=roi)
