"""What a condition puts in the place of a named value.

A row of a value has a *source*: whose it is. That of a stimulus itself, of its partner, of the mean training response, of
the true features. Rows of one source are equal, so that they are computed once and kept, whatever condition asks for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from brainrecon.datasets.shuffled import partners
from stages.ground.errors import InputError


@dataclass(frozen=True)
class Source:
    """Whose row of a value it is.

    Attributes
    ----------
    kind : {"own", "mean", "true", "mixed"}
        What a stimulus's own response gives; the mean training response; the true features of the stimulus; or more than
        one of these, which depends on the condition.
    name : str
        The stimulus, or "mean_response".
    """

    kind: str
    name: str


MEAN = Source("mean", "mean_response")


class Replacement:
    """What stands in the place of a value.

    `source` says whose row an item has instead; None if it is absent. A replacement of the last value of a chain has `draw`
    instead.
    """

    is_drawn = False

    def why_not(self, name: str, chain) -> str | None:
        """Why it cannot stand in the place of value `name` of a chain; None if it can."""
        return None if chain.readers(name) else "the method has nothing for it"

    def source(self, stimulus_id: str, situation) -> Source | None:
        """Source of a stimulus's row."""
        raise NotImplementedError

    def draw(self, stimulus_ids, situation) -> Any:
        """Outputs in the order of `stimulus_ids`, an iterable."""
        raise NotImplementedError


@dataclass(frozen=True)
class Partner(Replacement):
    """The row of another stimulus of the test set, a different one for each.

    >>> from types import SimpleNamespace
    >>> situation = SimpleNamespace(partner={"cat": "dog", "dog": "cat"}.get)
    >>> Partner().source("cat", situation)
    Source(kind='own', name='dog')
    """

    def source(self, stimulus_id, situation):
        return Source("own", situation.partner(stimulus_id))


@dataclass(frozen=True)
class Mean(Replacement):
    """The average over the training stimuli, the same row for all.

    >>> Mean().source("cat", situation=None)
    Source(kind='mean', name='mean_response')
    """

    def why_not(self, name, chain):
        reached = (step for step in chain.steps if any(name in chain.needed(given) for given in step.gives))
        reasons = (step.no_mean_response for step in reached)
        return super().why_not(name, chain) or next((reason for reason in reasons if reason), None)

    def source(self, stimulus_id, situation):
        return MEAN


@dataclass(frozen=True)
class Truth(Replacement):
    """The true value of the stimulus in place of a prediction.

    >>> Truth().source("cat", situation=None)
    Source(kind='true', name='cat')
    """

    def source(self, stimulus_id, situation):
        return Source("true", stimulus_id)


@dataclass(frozen=True)
class Absence(Replacement):
    """Nothing: the value is taken away from every step that can do without it.

    >>> Absence().source("cat", situation=None) is None
    True
    """

    def why_not(self, name, chain):
        needed = any(name not in step.optional for step in chain.readers(name))
        return super().why_not(name, chain) or ("the method cannot do without it" if needed else None)

    def source(self, stimulus_id, situation):
        return None


@dataclass(frozen=True)
class NearestTrainingPicture(Replacement):
    """The training picture whose embedding correlates best with the predicted one.

    >>> from brainrecon.assembly.chain import Chain
    >>> from brainrecon.assembly.registry import system_class
    >>> NearestTrainingPicture().why_not("picture", Chain(system_class("mean-image")()))
    'the method predicts no embedding of a picture'
    """

    is_drawn = True

    def why_not(self, name, chain):
        if chain.image_embedding not in chain.targets:
            return "the method predicts no embedding of a picture"
        return _not_a_picture(name, chain)

    def draw(self, stimulus_ids, situation):
        name = situation.chain.image_embedding
        table = situation.true_features((name,), "train")[name]
        rows = nearest_rows(np.stack(situation.own(name, stimulus_ids)), table)
        return (np.asarray(situation.subject.train.images[int(row)]) for row in rows)


@dataclass(frozen=True)
class AnotherSystem(Replacement):
    """The pictures that another system draws from the same responses, fitted on the same training split at its defaults.

    >>> from brainrecon.assembly.chain import Chain
    >>> from brainrecon.assembly.registry import system_class
    >>> AnotherSystem("mean-image").why_not("picture", Chain(system_class("mean-image")()))
    'it is the method itself'
    """

    system: str
    is_drawn = True

    def why_not(self, name, chain):
        return "it is the method itself" if chain.name == self.system else _not_a_picture(name, chain)

    def draw(self, stimulus_ids, situation):
        chain = situation.another_chain(self.system).fit_in_memory(situation.subject)
        patterns = np.stack(situation.own("patterns", stimulus_ids))
        return chain.run_from_patterns(stimulus_ids, patterns, seed=situation.seed)[:, 0]


def _not_a_picture(name, chain):
    return None if chain.medium(name) == "picture" else "the method draws no pictures"


def shuffled_partners(n_stimuli: int, seed: int) -> np.ndarray:
    """For each stimulus another one whose responses it is given, see `brainrecon.datasets.shuffled.partners`."""
    if n_stimuli < 2:
        raise InputError(f"Shuffled responses need 2 test stimuli but there is {n_stimuli}; leave that control out.")
    return partners(n_stimuli, seed)


def nearest_rows(predictions: np.ndarray, table, block: int = 4096) -> np.ndarray:
    """For each prediction the training row that correlates best with it.

    Values stay as they are, as a contrast compares them in training and a score afterwards. What is trained by a contrast has
    another mean than true values: standardised by the statistics of these, one row would be the nearest of all.

    Parameters
    ----------
    predictions : array of shape (n_stimuli, n_targets)
    table : brainrecon.features.table.FeatureTable
        Training values; read by blocks of columns.
    block : int
        Columns read at a time.

    Returns
    -------
    array of int, shape (n_stimuli,)
    """
    n_train, n_targets = table.shape
    # Correlations do not change by a shift, and sums of squares lose no digits near zero.
    shift = np.mean(table.columns(0, min(block, n_targets)), dtype=np.float64)
    products = np.zeros((len(predictions), n_train))
    prediction_sums, sums, squares = np.zeros(len(predictions)), np.zeros(n_train), np.zeros(n_train)
    for start in range(0, n_targets, block):
        train = table.columns(start, min(start + block, n_targets)).astype(np.float64) - shift
        predicted = predictions[:, start : start + block].astype(np.float64) - shift
        products += predicted @ train.T
        prediction_sums += predicted.sum(axis=1)
        sums += train.sum(axis=1)
        squares += (train**2).sum(axis=1)
    # Covariance over the row's standard deviation: the correlation, up to a factor that all rows of a prediction share.
    covariances = products - np.outer(prediction_sums, sums) / n_targets
    return np.argmax(covariances / np.sqrt(np.maximum(squares - sums**2 / n_targets, 1e-12)), axis=1)
