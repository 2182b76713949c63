"""The targets of a chain: where each comes from, and their true values for the stimuli of a split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from typing import Any

import numpy as np

from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from weights import store as checkpoint_store
from weights.suggestions import did_you_mean

# What to do if a dataset lacks what a target takes.
_REMEDIES = {
    "images": "put them where `brainrecon data files` says.",
    "captions": "pass --captions FILE, or drop the text context with --set text_context=false.",
}


MOST_SKETCHES = 32
"""So many outlines are kept by a process, the last ones."""

# By what they follow from: every verb of a study asks anew, and to build one takes up to a second.
_sketches: dict[tuple, Any] = {}


@dataclass(frozen=True, eq=False)
class TargetSource:
    """A target that is loaded when it is first needed.

    >>> class Colour:
    ...     shape, n_targets = (3,), 3
    >>> source = TargetSource(Colour, checkpoints=(), identity=lambda: "mean colour, version 1")
    >>> source.is_loaded, source.target.n_targets, source.is_loaded
    (False, 3, True)
    >>> source.fingerprint
    'mean colour, version 1'

    Attributes
    ----------
    load : callable
        ``load() -> target``, see `stages.targets`.
    checkpoints : tuple of str
        Names of the checkpoints that its values depend on.
    dtype : {"float32", "float16"}
        How the feature store holds its values.
    identity : callable, optional
        ``identity() -> str``: what identifies the weights of a target that reads no checkpoint of the manifest.
    sketch : callable, optional
        ``sketch() -> target``: the target from its configuration alone, see `stages.checkpoints.outlines`.
    sketched_from : callable, optional
        ``sketched_from() -> tuple``: what the sketch follows from. It is made once for all that are equal in it, and their
        operations are counted once.
    """

    load: Callable[[], Any]
    checkpoints: tuple[str, ...]
    dtype: str = "float32"
    identity: Callable[[], str] | None = None
    sketch: Callable[[], Any] | None = None
    sketched_from: Callable[[], tuple] | None = None

    @cached_property
    def target(self) -> Any:
        """The target, loaded."""
        return self.load()

    @property
    def is_loaded(self) -> bool:
        """Whether its network is in memory."""
        return "target" in vars(self)

    @property
    def outline(self) -> Any:
        """The target in outline: its shape, its preprocessing and all else but values; the target itself if it is loaded."""
        return self.target if self.is_loaded or self.sketch is None else self._sketched

    @cached_property
    def _sketched(self) -> Any:
        assert self.sketch is not None
        if self.sketched_from is None:
            return self.sketch()
        followed = self.sketched_from()
        if followed not in _sketches:
            # Outlines have no values, but a thousand modules each.
            while len(_sketches) >= MOST_SKETCHES:
                _sketches.pop(next(iter(_sketches)), None)
            _sketches[followed] = self.sketch()
        return _sketches[followed]

    def free(self) -> None:
        """Let go of the network; it is loaded again if somebody asks."""
        vars(self).pop("target", None)

    @property
    def fingerprint(self) -> str:
        """What identifies the weights that its values depend on."""
        return self.identity() if self.identity else "+".join(map(checkpoint_store.fingerprint, self.checkpoints))


def part(place: str) -> Any:
    """A class by ``module:name``, imported now: heavy libraries are loaded when a part is needed."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


# By what a sketch follows from, and the shape of a picture: a count takes up to a second, and every fit begins with some.
_counted: dict[tuple, int] = {}


def operations_of_one(source, picture_shape=None):
    """Count the operations of encoding one stimulus, on the outline of its target; 0 for a target without an outline.

    Parameters
    ----------
    source : TargetSource
    picture_shape : tuple of int, optional
        Height, width and 3 of the picture; 0 operations without it, unless the target takes captions.
    """
    if source.sketch is None:
        return 0
    if source.sketched_from is None:
        return _operations(source, picture_shape)
    key = (*source.sketched_from(), picture_shape)
    if key not in _counted:
        _counted[key] = _operations(source, picture_shape)
    return _counted[key]


def _operations(source, picture_shape):
    from stages.checkpoints.outlines import count_operations

    outline = source.outline
    if outline.takes == "captions":
        return count_operations(lambda: outline.encode([["a caption"]]))
    if picture_shape is None:
        return 0
    return count_operations(lambda: outline.encode(np.zeros((1, *picture_shape), dtype=np.uint8)))


def check_targets(names, targets):
    """Refuse a name that is no target.

    Parameters
    ----------
    names : sequence of str
    targets : mapping of str to anything
        Those that there are.

    Raises
    ------
    InputError
    """
    if unknown := [name for name in names if name not in targets]:
        meant = did_you_mean(unknown[0], targets)
        raise InputError(f"There is no target {unknown[0]!r}; expected some of {', '.join(targets) or 'none'}{meant}.")


def encode(targets, names, subject, split_name, store, *, captions=None, rows=None, by="columns", progress=SILENT):
    """True values of targets for a split's stimuli, from the feature store or encoded now.

    Parameters
    ----------
    targets : mapping of str to TargetSource
    names : sequence of str
        Which of them.
    subject : brainrecon.datasets.subject.Subject
    split_name : str
    store : brainrecon.features.store.FeatureStore
    captions : callable, optional
        ``captions() -> list of list of str``: captions of the split's stimuli; called if a target takes them. None from it
        means the split's own.
    rows : (start, stop), optional
        Of which stimuli alone, as `FeatureStore.encode` takes them.
    by : {"columns", "rows"}
        How tables lie, as there.
    progress : callable, optional

    Returns
    -------
    dict of str to brainrecon.features.table.FeatureTable
        Rows in the order of the split's ``stimulus_ids``.

    Raises
    ------
    InputError
        A name that is no target, or a target that takes what the dataset does not have.
    """
    check_targets(names, targets)
    split, own_captions, tables = subject.splits[split_name], None, {}
    for name in names:
        # What is in the store already needs no network.
        target = targets[name].outline
        if target.takes == "captions" and own_captions is None:
            own_captions = (captions() if captions else None) or split.captions
        # What is published of stimuli is found by their names.
        given = {"images": lambda: split.images, "stimulus_ids": split.stimulus_ids.tolist}
        stimuli = given[target.takes]() if target.takes in given else own_captions
        if stimuli is None:
            raise InputError(
                f"Target {name} needs {target.takes} and {subject.source} has none for {split_name}; {_REMEDIES[target.takes]}"
            )
        tables[name] = store.encode(
            target,
            stimuli,
            split.stimulus_ids,
            dataset=subject.stimuli_of(split_name),
            checkpoint=targets[name].fingerprint,
            dtype=targets[name].dtype,
            load=partial(loaded, targets[name], name, progress),
            rows=rows,
            by=by,
            progress=progress,
        )
    return tables


def loaded(source, name, progress=SILENT):
    """The target, and a word while its checkpoint is read and proved."""
    if not (was_there := source.is_loaded):
        progress(f"loading the network of {name}", 0, 1)
    target = source.target
    if not was_there:
        progress(f"loading the network of {name}", 1, 1)
    return target
