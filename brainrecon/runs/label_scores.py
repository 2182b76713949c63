"""Scores of the labels that a run has decoded, beside those of the labels of other stimuli."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from brainrecon.assembly.class_labels import labels_of_stimuli
from brainrecon.assembly.condition import RECONSTRUCTION
from brainrecon.runs.values import RunValues
from stages.ground.errors import InputError
from weights import store

if TYPE_CHECKING:
    from brainrecon.evaluation.metrics.wu_palmer import LabelScores
    from brainrecon.runs.run import Run

LABELS, WORDNET = "labels", "wordnet-3.0"


def label_scores(
    run: Run,
    wordnet: str | Path | None = None,
    conditions: Sequence[str] = (RECONSTRUCTION,),
    n_permutations: int = 10_000,
) -> dict[str, LabelScores]:
    """Wu and Palmer's similarity of the first label of each test stimulus with the stimulus's own synset.

    >>> scores = label_scores(run, conditions=["reconstruction", "oracle_embeddings"])  # doctest: +SKIP
    >>> scores["reconstruction"].mean, scores["reconstruction"].null  # doctest: +SKIP
    (0.57, 0.35)

    The stimulus's synset is the one that its name begins with, as in GOD and DIR, or else its category.

    Parameters
    ----------
    run : brainrecon.runs.run.Run
        Fitted, of a system that gives labels. Labels that are not there yet are made and kept.
    wordnet : path, optional
        The folder `dict` of WordNet 3.0; by default the checkpoint wordnet-3.0, as `brainrecon weights pull` fetches it.
    conditions : sequence of str
        Names in `brainrecon.assembly.condition.CONDITIONS` that replace what labels are made of.
    n_permutations : int

    Returns
    -------
    scores : dict of str to brainrecon.evaluation.metrics.wu_palmer.LabelScores
        By condition, in the order of the run's test stimuli, fold after fold. A mean says something beside `null`, the mean over
        all pairs of a stimulus and a label.

    Raises
    ------
    InputError
        The system gives no labels, a stimulus has no synset, or WordNet's file is absent or damaged.
    weights.store.CheckpointError
        There is no such checkpoint here.
    """
    from brainrecon.evaluation.metrics.wu_palmer import Nouns, compare_labels

    if LABELS not in run.unfitted.given:
        raise InputError(
            f"{run.config.method} gives {', '.join(run.unfitted.given)} and no {LABELS}; score a run of a method that names "
            "classes."
        )
    nouns = Nouns.of_folder(store.path(WORDNET) if wordnet is None else wordnet)
    true, found = [], {name: [] for name in conditions}
    for part in run.parts:
        values = RunValues(part)
        true += labels_of_stimuli(part.subject.test)
        for name, labels in found.items():
            labels += [values.value(name, LABELS, one).splitlines()[0] for one in values.stimulus_ids]
    # A memory may hold any class.
    classes = [label for source in run.unfitted.targets.values() for label in getattr(source.outline, LABELS, ())]
    classes = [label for label in classes if _is_noun(label, nouns)]
    return {name: compare_labels(true, own, nouns, classes, n_permutations) for name, own in found.items()}


def _is_noun(label, nouns):
    try:
        nouns.find(label)
    except InputError:
        return False
    return True
