"""What a task is: it takes the outputs of each condition, compares them with what was shown, and gives scores.

>>> from brainrecon.evaluation.tasks.task import Outputs, Shown, find_task
>>> shown = Shown(["a", "b"], captions=[["a dog runs"], ["two people on a beach"]])
>>> outputs = {"reconstruction": Outputs(["a", "b"], ["a dog", "people"])}
>>> task = find_task("captioning")(n_resamples=2000)
>>> scores = task.score(outputs, shown, "brainhub-2024")  # doctest: +SKIP
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from stages.ground.errors import InputError
from stages.ground.progress import SILENT, Progress
from weights.suggestions import did_you_mean

if TYPE_CHECKING:
    from brainrecon.evaluation.protocols.protocol import Protocol as ScoringProtocol
    from brainrecon.evaluation.scores.scores import Scores

# In the order in which their scores stand in a table. A task is imported when it is first asked for.
_TASKS = {
    "reconstruction": "brainrecon.evaluation.tasks.reconstruction:Reconstruction",
    "embeddings": "brainrecon.evaluation.tasks.embeddings:Embeddings",
    "retrieval": "brainrecon.evaluation.tasks.retrieval:Retrieval",
    "categories": "brainrecon.evaluation.tasks.categories:Categories",
    "captioning": "brainrecon.evaluation.tasks.captioning:Captioning",
    "responses": "brainrecon.evaluation.tasks.responses:Responses",
}


class Outputs(NamedTuple):
    """Outputs of one condition, each with its stimulus.

    >>> outputs = Outputs(["cat", "cat", "dog"], ["a cat", "an animal", "a dog"])
    >>> outputs.values[1]
    'an animal'

    Attributes
    ----------
    stimulus_ids : sequence of str, length n
        The stimulus each value is for, in any order. A stimulus that occurs several times has several samples: each is
        scored, and the scores are averaged (never the pictures).
    values : uint8 array of shape (n, height, width, 3), list of str, or mapping
        Pictures (or anything with `len` that gives such an array for an array of rows); captions; by target the predicted
        values, arrays or feature tables of shape (n, n_targets); or predicted responses, an array of shape (n, n_voxels).
    """

    stimulus_ids: Sequence[str]
    values: Any


@dataclass(frozen=True)
class Shown:
    """The truth about the stimuli that were shown.

    >>> import numpy as np
    >>> shown = Shown(["cat", "dog"], pictures=np.zeros((2, 64, 64, 3), dtype=np.uint8), captions=[["a cat"], ["a dog"]])
    >>> shown.captions[0]
    ['a cat']

    Attributes
    ----------
    stimulus_ids : sequence of str, length n_stimuli
        Each once.
    pictures : uint8 array of shape (n_stimuli, height, width, 3), optional
        Or anything with `len` that gives such an array for an array of rows.
    categories : sequence of sequence of str, length n_stimuli, optional
    captions : sequence of sequence of str, length n_stimuli, optional
    embeddings : mapping of str to array or FeatureTable of shape (n_stimuli, n_targets)
        The stimuli's own values by target.
    brain : brainrecon.evaluation.tasks.reconstruction.Brain, optional
        What brain correlation needs.
    decoded : mapping of str to brainrecon.evaluation.tasks.features.Decoded
        By predicted value: the target that it predicts, and what correlations of features need besides. Values that are not
        here have the name of their target.
    candidates : mapping of str to brainrecon.evaluation.tasks.categories.Candidates
        By predicted value, the categories among which it is looked for.
    responses : brainrecon.evaluation.tasks.responses.MeasuredResponses, optional
        The responses to the stimuli, with which predicted ones are compared.
    """

    stimulus_ids: Sequence[str]
    pictures: Any = None
    categories: Sequence[Sequence[str]] | None = None
    captions: Sequence[Sequence[str]] | None = None
    embeddings: Mapping[str, Any] = field(default_factory=dict)
    brain: Any = None
    decoded: Mapping[str, Any] = field(default_factory=dict)
    candidates: Mapping[str, Any] = field(default_factory=dict)
    responses: Any = None


class Task(Protocol):
    """A way to judge what a system gives.

    >>> retrieval: Task = find_task("retrieval")()
    >>> retrieval.name, retrieval.reads
    ('retrieval', ('embeddings',))

    Attributes
    ----------
    name : str
    reads : tuple of str
        Names of the values it needs of every condition: "picture", "caption", "embeddings", "responses".
    """

    name: str
    reads: tuple[str, ...]

    def asked_by(self, protocol: "ScoringProtocol") -> bool:
        """Whether a protocol has a table for this task."""

    def score(
        self,
        outputs: Mapping[str, Outputs],
        shown: Shown,
        protocol: "ScoringProtocol | str | None",
        *,
        device: str = "cpu",
        progress: Progress = SILENT,
    ) -> "Scores":
        """Score the outputs of each condition, by its name.

        Raises
        ------
        InputError
            If the reference condition is missing, a condition holds an unknown stimulus, or numbers do not match.
        """


def task_names() -> list[str]:
    """Names of all tasks.

    >>> task_names()
    ['reconstruction', 'embeddings', 'retrieval', 'categories', 'captioning', 'responses']

    Returns
    -------
    names : list of str
        In the order in which `brainrecon.evaluate` goes through them; `find_task` gives the class of one.
    """
    return list(_TASKS)


def find_task(name: str) -> Callable[..., Task]:
    """The class of a task.

    >>> find_task("retrieval").reads
    ('embeddings',)

    Parameters
    ----------
    name : str
        One of `task_names`.

    Returns
    -------
    task : class
        Called with `reference`, `seed`, `n_resamples` and `networks` it gives a `Task`.

    Raises
    ------
    InputError
        If there is no such task.
    """
    if name not in _TASKS:
        meant = did_you_mean(name, _TASKS)
        raise InputError(f"There is no task {name!r}; expected one of {', '.join(_TASKS)}{meant}. Name one of these.")
    module, _, attribute = _TASKS[name].partition(":")
    return getattr(import_module(module), attribute)
