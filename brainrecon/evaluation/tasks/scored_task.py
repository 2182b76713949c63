"""What the tasks of the toolkit share: their settings, and checks of what they are given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from brainrecon.evaluation.scores.scores import Scores
from brainrecon.evaluation.statistics.bootstrap import CONFIDENCE, N_RESAMPLES
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean


@dataclass(frozen=True)
class ScoredTask:
    """What every task of the toolkit can be told. A subclass is a `brainrecon.evaluation.tasks.task.Task`.

    Attributes
    ----------
    reference : str
        The condition that the others are subtracted from.
    seed, n_resamples : int
        Of the bootstrap over stimuli.
    networks : mapping of str to Network
        The protocol's networks by name, for a task that needs some; those not given are loaded from their checkpoints.
    """

    name: ClassVar[str]
    reads: ClassVar[tuple[str, ...]]
    reference: str = "reconstruction"
    seed: int = 0
    n_resamples: int = N_RESAMPLES
    networks: Mapping = field(default_factory=dict)

    @property
    def options(self):
        """What the bootstrap takes, dict."""
        return {"n_resamples": self.n_resamples, "seed": self.seed}

    def scores(self, protocol, **found):
        """`Scores` that hold what this task found, and nothing of the others."""
        empty = {"conditions": {}, "summary": [], "differences": []}
        return Scores(
            protocol=protocol,
            reference=self.reference,
            confidence=CONFIDENCE,
            n_resamples=self.n_resamples,
            seed=self.seed,
            **(empty | found),
        )


def rows_of(outputs, shown, what):
    """The row of the shown stimuli that each output of a condition is for.

    Parameters
    ----------
    outputs : mapping of str to brainrecon.evaluation.tasks.task.Outputs
        By condition.
    shown : brainrecon.evaluation.tasks.task.Shown
    what : str
        How to call the values in a message, for example "pictures".

    Returns
    -------
    rows : dict of str to integer array of shape (n_outputs,)
        By condition.

    Raises
    ------
    InputError
        If a condition holds a stimulus that was not shown, none at all, or not as many values as stimulus ids.
    """
    places, rows = {str(one): row for row, one in enumerate(shown.stimulus_ids)}, {}
    for name, (ids, values) in outputs.items():
        ids = [str(one) for one in ids]
        if len(ids) != len(values) or not ids:
            raise InputError(
                f"Condition {name} has {len(values)} {what} and {len(ids)} stimulus ids; expected as many as {what}, and at "
                "least one. Reconstruct it again."
            )
        if unknown := sorted(set(ids) - places.keys()):
            raise InputError(
                f"Condition {name} has {len(unknown)} stimuli that were not shown ({', '.join(unknown[:3])}); expected some "
                f"of the {len(places)} shown. Score it against its own test set."
            )
        rows[name] = np.array([places[one] for one in ids])
    return rows


def check_reference(reference, outputs):
    """Refuse outputs without the condition that others are subtracted from."""
    if reference not in outputs:
        raise InputError(
            f"The reference condition {reference!r} is not among {', '.join(map(repr, outputs)) or 'none'}; expected one of "
            f"these{did_you_mean(reference, outputs)}. Name another reference, or reconstruct first."
        )
