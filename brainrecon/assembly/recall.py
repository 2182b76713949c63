"""The step from predicted embeddings to ones that are mixed with what a memory of the subject's own training stimuli holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from brainrecon.assembly.step import Step
from stages.ground.errors import InputError
from stages.ground.reading.json_files import read_json
from weights.whole_files import write_text

OF_TRAINING, AS_DECODED = "of training", "as decoded"
_TABLES = "embeddings of the memory"
_ROWS = 256
_AGAIN = "fit again with `brainrecon fit`"


class Recall(Step):
    """Ecphory (`stages.priors.ecphory`): for each subject, predictions for its training stimuli lead to their true embeddings.

    >>> from brainrecon.assembly.learn import Learn
    >>> from brainrecon.assembly.targets import TargetSource
    >>> class Tokens:
    ...     shape, n_targets = (24, 64), 1536
    >>> tokens = TargetSource(Tokens, checkpoints=())
    >>> step = Recall(Learn({"decoded": tokens}, decoder=None), {"decoded": "clip_image"}, {"clip_image": tokens})
    >>> step.reads, step.gives, step.part
    (('decoded',), ('clip_image',), 'memory')

    Predictions of a loss that sees angles alone have lengths that mean nothing: they are brought to the mean length of the true
    embeddings first, unless `lengths` says otherwise.

    Parameters
    ----------
    learned : brainrecon.assembly.learn.Learn
        What predicts, by which training stimuli are predicted, too.
    names : mapping of str to str
        Predicted value -> what it is called with what it recalls.
    targets : mapping of str to brainrecon.assembly.targets.TargetSource
        By the latter.
    folds : sequence of (callable, brainrecon.assembly.learn.Learn), optional
        ``left_out(stimulus_ids) -> bool array``, and what predicts for these, having learned nothing of them.
    n_neighbours, temperature, share
        See `stages.priors.ecphory.Ecphory`.
    lengths : {"of training", "as decoded"}
    dtype : {"float32", "float16"}
        How predictions are kept.
    part : str

    Raises
    ------
    InputError
        A stimulus that is decoded is in the subject's memory, or one of another split when the memory is made.
    """

    is_learned = True
    reads_subjects = True

    def __init__(
        self,
        learned,
        names: Mapping[str, str],
        targets: Mapping,
        folds: Sequence = (),
        n_neighbours=5,
        temperature=0.005,
        share=0.5,
        lengths=OF_TRAINING,
        dtype="float32",
        part="memory",
    ):
        self.reads, self.gives, self.targets, self.part = tuple(names), tuple(names.values()), dict(targets), part
        self._learned, self._folds = learned, tuple(folds)
        self._neighbours, self._temperature, self._share = n_neighbours, temperature, share
        self._lengths, self._dtype = lengths, dtype
        # By subject: names of stimuli and mean lengths, predictions, and true embeddings, by value.
        self._known: dict[str, dict] = {}
        self._keys: dict[str, dict] = {}
        self._tables: dict[str, dict] = {}
        self._recalls: dict[tuple[str, str], object] = {}

    # Learning

    def fit(self, training, workspace):
        from stages.priors.embedding_bank import ColumnBank

        self._known, self._keys, self._tables, self._recalls = {}, {}, {}, {}
        for name, subject in training.subjects.items():
            ids = list(map(str, subject.train.stimulus_ids))
            for split_name, split in subject.splits.items():
                if split_name != "train":
                    _refuse(set(ids).intersection(map(str, split.stimulus_ids)), f"{split_name} of {name}")
            asked = {"subject": name} if len(training.subjects) > 1 else {}
            self._tables[name] = dict(training.features(self.gives, **asked))
            self._keys[name] = self._predicted(name, subject.train, workspace)
            lengths = {value: _mean_length(ColumnBank(table)) for value, table in self._tables[name].items()}
            self._known[name] = {"stimulus_ids": ids, "lengths": lengths}

    def _predicted(self, name, train, workspace):
        """Predictions for a subject's training stimuli, by value: in the step's own folder, if there is one."""
        from stages.checkpoints.mapped_tensors import create_tensors

        sizes = {value: (train.n_stimuli, int(np.prod(self.targets[value].outline.shape))) for value in self.gives}
        if workspace.folder is None:
            found = {value: np.empty(shape, self._dtype) for value, shape in sizes.items()}
        else:
            found = create_tensors(
                _file(workspace.folder, name), {value: (shape, self._dtype) for value, shape in sizes.items()}
            )
        called, folds = dict(zip(self.reads, self.gives)), self._folds
        for start in range(0, train.n_stimuli, _ROWS):
            workspace.progress(f"predicting what {name} remembers", start, train.n_stimuli)
            rows = np.arange(start, min(start + _ROWS, train.n_stimuli))
            patterns = np.asarray(train.patterns[rows[0] : rows[-1] + 1], dtype=np.float32)
            ways = [(fold(train.stimulus_ids[rows]), step) for fold, step in folds] or [
                (np.ones(len(rows), dtype=bool), self._learned)
            ]
            for chosen, step in ways:
                if chosen.any():
                    for read, columns, block in step.decoder.predict_blocks(patterns[chosen], subject=name):
                        found[called[read]][rows[chosen], columns] = block
        workspace.progress(f"predicting what {name} remembers", train.n_stimuli, train.n_stimuli)
        return found

    def description(self):
        tables = {name: {value: one.folder.name for value, one in own.items()} for name, own in self._tables.items()}
        return {_TABLES: tables}

    def save(self, folder):
        from stages.checkpoints.mapped_tensors import create_tensors

        for name, keys in self._keys.items():
            path = _file(folder, name)
            if any(Path(getattr(one, "filename", None) or "").absolute() == path.absolute() for one in keys.values()):
                for one in keys.values():
                    one.flush()
                continue
            stored = create_tensors(path, {value: (one.shape, one.dtype) for value, one in keys.items()})
            for value, one in keys.items():
                stored[value][:] = one
                stored[value].flush()
        config = {"class": type(self).__name__, "subjects": self._known}
        write_text(Path(folder) / "config.json", json.dumps(config) + "\n")

    def open(self, workspace):
        from stages.checkpoints.mapped_tensors import map_tensors

        folder = Path(workspace.folder)
        self._known = read_json(folder / "config.json", dict, _AGAIN)["subjects"]
        self._keys, self._tables, self._recalls = {}, {}, {}
        for name in self._known:
            try:
                self._keys[name], _ = map_tensors(_file(folder, name))
            except FileNotFoundError as error:
                raise InputError(f"The memory of {name} is missing ({error.filename}); {_AGAIN}.") from None
            tables = workspace.description[_TABLES][name]
            self._tables[name] = {value: workspace.store.table(table) for value, table in tables.items()}

    def summary(self):
        return [{"memory": name, "stimuli": len(own["stimulus_ids"])} for name, own in self._known.items()]

    # Running

    def run(self, items, values, *, seed=0):
        whose = self._whose(next((item.subject for item in items), None))
        names = [str(item.stimulus_id) for item in items]
        # Patterns without names are counted from 0.
        if names != [str(row) for row in range(len(names))]:
            _refuse(set(self._known[whose]["stimulus_ids"]).intersection(names), whose)
        found = {}
        for read, value in zip(self.reads, self.gives):
            rows = np.asarray(values[read], dtype=np.float32)
            if self._lengths == OF_TRAINING:
                own = np.linalg.norm(rows, axis=1, keepdims=True)
                rows = rows * np.float32(self._known[whose]["lengths"][value]) / np.maximum(own, np.float32(1e-12))
            found[value] = self._recall(whose, value).enhanced(rows)
        return found

    def told(self, present):
        told = {"share of what is remembered": self._share, "lengths": self._lengths}
        return told | ({"neighbours": self._neighbours, "temperature": self._temperature} if self._share else {})

    def _recall(self, whose, value):
        """Recall from the memory of a subject, made once."""
        from stages.priors.ecphory import Ecphory
        from stages.priors.embedding_bank import ColumnBank, RowBank

        if (whose, value) not in self._recalls:
            where = f"The memory of {whose}"
            keys = RowBank([self._keys[whose][value]], where)
            true = ColumnBank(self._tables[whose][value], where)
            self._recalls[whose, value] = Ecphory(keys, true, self._neighbours, self._temperature, self._share)
        return self._recalls[whose, value]

    def _whose(self, subject):
        """Name of the subject whose memory is read; the only one, if none is named."""
        if not subject and len(self._known) == 1:
            return next(iter(self._known))
        if subject not in self._known:
            raise InputError(
                f"There are memories of {', '.join(self._known)} but patterns of {subject or 'a nameless subject'} were given; "
                "name one of these, or fit the decoder on this one."
            )
        return subject


def _refuse(shared, where):
    """Refuse stimuli that are both decoded and remembered."""
    if shared:
        raise InputError(
            f"{len(shared):,} stimuli of {where} are in the memory of the training stimuli (the first is {min(shared)}), which "
            "would give their own embeddings back; decode stimuli that were not learned from."
        )


def _mean_length(bank):
    """Mean length of the rows of a bank, float."""
    nothing = np.empty((0, bank.shape[1]), dtype=np.float32)
    return float(np.mean(np.concatenate([np.sqrt(part.squares) for part in bank.products(nothing)])))


def _file(folder, name):
    from stages.decoders.network_files import file_of

    return Path(folder) / file_of(name)
