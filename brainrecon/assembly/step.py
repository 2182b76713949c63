"""A step of a chain: it says which named values it reads and which it gives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from safetensors.numpy import save_file

from brainrecon.assembly.values import ABSENT, Item, Training, Values, Workspace
from stages.ground.errors import InputError
from stages.ground.not_finite import NotFinite, named
from stages.ground.progress import SILENT, Progress
from weights.whole_files import whole_file


class Step:
    """A step: named values that it reads, and those that it gives; a subclass overrides what it does otherwise.

    >>> class Brighter(Step):
    ...     reads, gives, media = ("first_picture",), ("picture",), {"picture": "picture"}
    ...     def run(self, items, values, *, seed=0):
    ...         return {"picture": np.asarray(values["first_picture"]) + np.uint8(10)}
    >>> values = {"first_picture": np.zeros((1, 8, 8, 3), dtype=np.uint8)}
    >>> found = Brighter().run([Item("subj01", "nsd00042")], values)
    >>> found["picture"][0, 0, 0].tolist()
    [10, 10, 10]

    Attributes
    ----------
    reads : tuple of str
        Values without which it cannot run.
    optional : tuple of str
        Values that it reads if they are there: a condition may take them away.
    gives : tuple of str
    media : mapping of str to str
        Medium of each given value: "features" (the default), "picture", "caption" or "film". A run keeps values on the way
        by their medium.
    targets : mapping of str to brainrecon.assembly.targets.TargetSource
        Given values that are predictions of a target: there are true ones to compare with, and to put in their place.
    target_of : mapping of str to str
        Given value -> the target that it predicts, for those in `targets`: a value has the target's name, unless one target is
        decoded several times, from the voxels of several regions.
    roi : str
        Region whose voxels it reads, of those that the subject was loaded with; "all" unless it says otherwise.
    beside : mapping of str to brainrecon.assembly.targets.TargetSource
        Targets that its training is held against, and that it does not give.
    part : str
        Folder of what it learns, below `decoder/` of a run; empty for `decoder/` itself. Two fitted steps of a chain have
        different parts.
    is_learned : bool
        Whether there is anything to fit.
    trains_together : bool
        Whether processes that were started together fit it together; else the first of them does, and the others open it.
    by_lot : bool
        Whether what it gives depends on the item (its noise), and not on the values it reads alone.
    reads_subjects : bool
        Whether it learns from several subjects, each with voxels of its own, and keeps them apart by their names.
    for_new_subject : {"again", "go on", "keep"}
        What becomes of it where the chain was fitted on other subjects before and is fitted on a new one: it is fitted again,
        from nothing; it goes on from what was learned (`Workspace.pretrained`); or it is kept as it is.
    averages : {"responses", "inputs", "outputs"}
        What is averaged over the trials of a stimulus: the responses that it reads, what it makes of each trial before all else,
        or what it gives for each (`brainrecon.assembly.trial_outputs`). Of patterns that are given by themselves each is one
        trial.
    n_trials : int
        Trials whose outputs, or inputs, are averaged: of fewer trials the first ones count again, see
        `brainrecon.datasets.padded_trials`.
    chooses_by_shown : bool
        Whether it chooses among outputs by the pictures that were shown, `values.SHOWN`: no measure of what was decoded. A chain
        takes such a step as its last, and if its system says the same (`System.chooses_by_shown`), so that scores say it too.
    no_mean_response : str, optional
        Why it can make nothing of the mean training response, in a few words.
    precision : {"no", "bf16"}, optional
        In which it is trained, if it is a network; other fits compute as generators do.
    """

    reads: tuple[str, ...] = ("patterns",)
    optional: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    media: Mapping[str, str] = {}
    targets: Mapping[str, Any] = {}
    roi: str = "all"
    beside: Mapping[str, Any] = {}
    part: str = ""
    is_learned: ClassVar[bool] = False
    trains_together: bool = False
    by_lot: bool = False
    reads_subjects: bool = False
    for_new_subject: str = "again"
    averages: str = "responses"
    n_trials: int = 3
    chooses_by_shown: bool = False
    no_mean_response: str | None = None
    precision: str | None = None

    def medium(self, name: str) -> str:
        """Medium of a value it gives."""
        return self.media.get(name, "features")

    @property
    def target_of(self) -> Mapping[str, str]:
        """Given value -> the target that it predicts."""
        return {name: name for name in self.targets}

    @property
    def kept_as(self) -> str:
        """What tells the file of its predicted values from those of other steps: its part, or its value if it learns nothing."""
        return self.part if self.is_learned else self.part or self.gives[0]

    @property
    def about(self) -> str:
        """What it learns or gives, for people: the names of its values."""
        return ", ".join(self.gives)

    # Learning

    def fit(self, training: Training, workspace: Workspace) -> None:
        """Learn from the training split; with a folder in `workspace`, go on where an interrupted fit was and leave it whole."""

    def check_before(self, subject: Any, before: Mapping[str, Any]) -> None:
        """Refuse a new subject whom nothing can be brought to, before its method is fitted on the subjects `before` it.

        Parameters
        ----------
        subject : brainrecon.datasets.subject.Subject
            The new one.
        before : mapping of str to brainrecon.datasets.subject.Subject

        Raises
        ------
        InputError
        """

    def is_fitted(self, folder: Path) -> bool:
        """Whether `folder` holds the fitted step, whole."""
        return not self.is_learned or (Path(folder) / "config.json").exists()

    def save(self, folder: Path) -> None:
        """Write what was learned into `folder`, `config.json` last."""

    def open(self, workspace: Workspace) -> None:
        """Read what `save` wrote."""

    def take(self, name: str, n_voxels: int | Mapping[str, int] | None) -> None:
        """Read what the method's authors released, in place of fitting; `save` then writes it as if it were fitted.

        Parameters
        ----------
        name : str
            Of a checkpoint.
        n_voxels : int, or mapping of str to int
            Of the responses that are to be decoded; by subject, if it reads several.

        Raises
        ------
        InputError
            There is no released file of this step, or it does not fit.
        """
        raise InputError(
            f"{name} is to be taken for {self.part or 'the decoder'}, of which no released file is read; leave --decoder out."
        )

    def description(self) -> dict[str, Any]:
        """What else method.json has to say, for `open`."""
        return {}

    def summary(self) -> list[dict[str, Any]]:
        """What was learned, for people: a row each, the first value its name and the others numbers."""
        return []

    def remarks(self) -> list[str]:
        """What else there is to say after fitting, a sentence each."""
        return []

    def curves(self) -> dict[str, tuple[list, list]]:
        """The course of training: dict of label to (steps, values); empty if there was none."""
        return {}

    def cost(self, train: Any) -> list[str]:
        """Sentences on what a fit to a training split will take, where a count of operations does not tell it."""
        return []

    def memory(self, train: Any) -> int | None:
        """Bytes that a fit to a training split takes at its peak on the device that computes; None if nobody counts them."""
        return None

    def operations(self, train: Any) -> dict[str, float]:
        """Operations of fitting to a training split, by what is done; for the time that is told before it begins."""
        return {}

    # Running

    def run(self, items: Sequence[Item], values: Values, *, seed: int = 0) -> Values:
        """Values it gives, a row for each of `items`.

        Parameters
        ----------
        items : sequence of Item
        values : dict of str to array or list
            What it reads, rows in the order of `items`; an optional value may be `ABSENT`.
        seed : int
            Of a step that draws by lot.
        """
        raise NotImplementedError

    def prepared(self, items: Sequence[Item], patterns: np.ndarray) -> np.ndarray:
        """Of a step that averages inputs: what it makes of each trial before all else, a row for each of `items`."""
        raise NotImplementedError

    def run_prepared(self, items: Sequence[Item], rows: np.ndarray) -> Values:
        """Values for what `prepared` gave, or for averages of it."""
        raise NotImplementedError

    def predict_blocks(
        self, values: Values, *, seed: int = 0, subject: str = ""
    ) -> Iterator[tuple[str, slice, np.ndarray]]:
        """Yield (name, columns, their values for every row) of what it gives, so that not all of it has to be in memory.

        The blocks depend on the number of rows alone. `values` and `seed` are as for `run`; `subject` is whose they are. There
        are no items, for what is drawn by lot has no blocks.
        """
        (rows,) = {len(value) for value in values.values() if value is not ABSENT}
        for name, given in self.run([Item(subject, str(row)) for row in range(rows)], values, seed=seed).items():
            yield name, slice(0, np.shape(given)[1]), np.asarray(given)

    def stream(
        self,
        items: Sequence[Item],
        values: Values,
        *,
        seed: int = 0,
        batch_size: int = 16,
        progress: Progress = SILENT,
    ) -> Iterator[tuple[int, Values]]:
        """Yield (position in items, its row of every given value) as they are done, `batch_size` at a time.

        `progress` hears of what goes on within a batch, if that takes long.

        Raises
        ------
        NotFinite
            Outputs are NaN or infinite; raised after all others have been yielded.
        """
        spoilt: list[int] = []
        for start in range(0, len(items), batch_size):
            batch = list(range(start, min(start + batch_size, len(items))))
            try:
                given = self._run_rows(batch, items, values, seed)
            except NotFinite as error:
                found = {batch[position] for position in error.positions}
                spoilt += sorted(found)
                batch = [row for row in batch if row not in found]
                given = self._run_rows(batch, items, values, seed) if batch else {}
            for place, row in enumerate(batch):
                yield row, {name: rows[place] for name, rows in given.items()}
        if spoilt:
            raise NotFinite(spoilt).of([named(item) for item in items]) from None

    def _run_rows(self, rows: list[int], items: Sequence[Item], values: Values, seed: int) -> Values:
        chosen = {name: repeated(value, np.array(rows)) for name, value in values.items()}
        return self.run([items[row] for row in rows], chosen, seed=seed)

    def items_at_once(self, batch_size: int) -> int:
        """Of how many items outputs come together, if `batch_size` are drawn at a time."""
        return batch_size

    def told(self, present: frozenset[str]) -> dict[str, Any]:
        """Settings that its output depends on, by name, if the values in `present` are there: for people who ask why."""
        return {}

    def predict_into(
        self,
        path: Path,
        names: Sequence[str],
        values: Values,
        progress: Progress = SILENT,
        *,
        seed: int = 0,
        subject: str = "",
    ) -> None:
        """Write what it gives into a safetensors file, a row for each of `names`; `values` and `seed` as for `run`."""
        given = self.run([Item(subject, name) for name in names], values, seed=seed)
        with whole_file(path) as partial:
            tensors = {name: np.asarray(rows, dtype=np.float32) for name, rows in given.items()}
            save_file(tensors, partial, metadata={"stimulus_ids": json.dumps(list(names))})

    def load(self, progress: Progress = SILENT) -> None:
        """Load what it runs with, if that is not there yet; loading it takes a while at published sizes."""

    def free(self) -> None:
        """Let go of networks that it loads again when it needs them."""

    def batch_size(self) -> int:
        """Items to run at a time."""
        return 16


def rows_of(values: Values, rows: slice) -> Values:
    """Some rows of every value; what is absent stays absent."""
    return {name: value if value is ABSENT else value[rows] for name, value in values.items()}


def repeated(value: Any, rows: np.ndarray) -> Any:
    """Rows of one value by their numbers, a row as often as it is named; what is absent stays absent."""
    if value is ABSENT:
        return value
    if isinstance(value, np.ndarray):
        return value[rows]
    return [value[row] for row in rows]
