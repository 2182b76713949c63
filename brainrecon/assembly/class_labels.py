"""The steps from decoded features to names of classes, and from these to a text to draw."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from brainrecon.assembly.step import Step
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.class_labels import labelled, synset_of, words_of
from stages.ground.errors import InputError
from stages.ground.reading.json_files import read_json
from weights.whole_files import write_text

_TABLE = "features of the labelled training stimuli"
_PLACE = "{label}"


@dataclass(frozen=True)
class LabelSettings:
    """How decoded features become labels, and these a text.

    >>> LabelSettings(by="neighbours", memory="memory").n
    5

    Attributes
    ----------
    by : {"classifier", "neighbours", "averages"}
        The network's own head; or the labels of the nearest pictures of a memory; or those of the categories with whose average
        features correlate most, as `stages.priors.category_means` has it.
    n : int
        Labels of each stimulus, the likeliest or nearest first. Sample k is drawn from label k; if there are more samples than
        labels, they begin again.
    memory : str
        Folder of labelled features, `stages.priors.label_memory`; empty for the training stimuli, by their categories.
    prompt : str
        The text that is drawn; {label} stands for the words of a label.
    """

    by: str = "classifier"
    n: int = 5
    memory: str = ""
    prompt: str = "An image of a {label}"

    def __post_init__(self):
        check_all(
            self,
            {"by": OneOf("classifier", "neighbours", "averages"), "n": Number(1, whole=True, example=5)},
            where="labels",
        )
        if self.prompt.count(_PLACE) != 1:
            raise InputError(
                f"labels.prompt is {self.prompt!r}; expected {_PLACE} once, where the label goes: "
                '--set "labels.prompt=An image of a {label}".'
            )
        if self.memory and self.by == "classifier":
            raise InputError(
                f"labels.memory is {self.memory!r} but labels.by is {self.by!r}, which reads none; set labels.by=neighbours too."
            )


class NameClasses(Step):
    r"""Labels of what features show, a text with one in each line.

    >>> from brainrecon.assembly.targets import TargetSource
    >>> from brainrecon.assembly.values import Item
    >>> class Brightness:
    ...     labels = ("night", "room", "beach")
    ...     def top(self, features, n):
    ...         return np.abs(features - [[0, 128, 255]]).argsort(axis=1)[:, :n]
    >>> step = NameClasses("brightness", TargetSource(Brightness, checkpoints=()), LabelSettings(n=2))
    >>> step.run([Item("subj01", "nsd00042")], {"brightness": np.float32([[140]])})
    {'labels': ['room\nbeach']}

    Parameters
    ----------
    reads : str
        The features' value.
    source : brainrecon.assembly.targets.TargetSource
        The target that they are predictions of: with ``top(features, n)`` and ``labels`` if its own head names them.
    settings : LabelSettings
    averages : callable, optional
        ``averages() -> stages.priors.category_means.CategoryMeans``, if they come from elsewhere; by default from the memory, or
        from the training stimuli.
    """

    gives, media = ("labels",), {"labels": "caption"}

    def __init__(self, reads, source, settings, averages=None):
        self.reads, self._source, self.settings, self._given_averages = (reads,), source, settings, averages
        # Which table the training stimuli's features are in, and their labels, are what there is to learn.
        self.is_learned = settings.by != "classifier" and not settings.memory and averages is None
        self.part = "labels" if self.is_learned else ""
        self._table, self._trained = None, None

    def fit(self, training, workspace):
        train = training.subject.train
        self._table, self._trained = training.features(self.reads)[self.reads[0]], labels_of_stimuli(train)

    def save(self, folder):
        if self.is_learned:
            found = {"class": type(self).__name__, "labels": self._trained}
            write_text(Path(folder) / "config.json", json.dumps(found) + "\n")

    def open(self, workspace):
        self._table = workspace.store.table(workspace.description[_TABLE])
        path = Path(workspace.folder) / "config.json"
        self._trained = read_json(path, dict, f"delete {workspace.folder} and fit again").get("labels", [])

    def description(self):
        return {_TABLE: self._table.folder.name} if self.is_learned and hasattr(self._table, "folder") else {}

    @cached_property
    def _memory(self):
        from stages.priors.embedding_bank import ColumnBank, RowBank
        from stages.priors.label_memory import LabelMemory, open_label_memory

        if not self.is_learned:
            return open_label_memory(self.settings.memory, self.settings.n)
        where = "The memory of the training stimuli"
        bank = ColumnBank if hasattr(self._table, "columns") else lambda table, where: RowBank([table], where)
        return LabelMemory(bank(self._table, where), self._trained, self.settings.n)

    @cached_property
    def _averages(self):
        from stages.priors.category_means import category_means, open_category_means

        if self._given_averages is not None:
            return self._given_averages()
        return (
            category_means(self._table, self._trained) if self.is_learned else open_category_means(self.settings.memory)
        )

    def run(self, items, values, *, seed=0):
        features = np.asarray(values[self.reads[0]], dtype=np.float32).reshape(len(items), -1)
        if self.settings.by == "neighbours":
            named = self._memory.nearest(features)
        elif self.settings.by == "averages":
            named = self._averages.names(features, self.settings.n)
        else:
            target = self._source.target
            named = [[target.labels[number] for number in own] for own in target.top(features, self.settings.n)]
        return {"labels": ["\n".join(own) for own in named]}

    def told(self, present):
        told = {"labels by": self.settings.by, "labels": self.settings.n}
        return told | ({"memory": self.settings.memory or "training stimuli"} if self._reads_memory else {})

    @property
    def _reads_memory(self):
        return self.settings.by != "classifier"


class LabelPrompt(Step):
    r"""The text that a sample is drawn from: that of the label with the sample's number.

    >>> from brainrecon.assembly.values import Item
    >>> step = LabelPrompt(LabelSettings())
    >>> labels = "n01443537 goldfish, Carassius auratus\nn02951358 canoe"
    >>> for sample in range(3):
    ...     print(*step.run([Item("subj01", "n01518878_10042", sample)], {"labels": [labels]})["caption"])
    An image of a goldfish, Carassius auratus
    An image of a canoe
    An image of a goldfish, Carassius auratus

    Parameters
    ----------
    settings : LabelSettings
    """

    reads, gives, media, by_lot = ("labels",), ("caption",), {"caption": "caption"}, True

    def __init__(self, settings):
        self.settings = settings

    def run(self, items, values, *, seed=0):
        texts = []
        for item, text in zip(items, values["labels"], strict=True):
            labels = text.splitlines()
            texts.append(self.settings.prompt.replace(_PLACE, words_of(labels[item.sample % len(labels)])))
        return {"caption": texts}

    def told(self, present):
        return {"prompt": self.settings.prompt}


def labels_of_stimuli(split):
    """A label for each stimulus of a split: the synset in its name, with its words, or else its first category.

    >>> from brainrecon.datasets.split import Split
    >>> betas = np.zeros((2, 3), np.float32)
    >>> labels_of_stimuli(Split(betas, ["n01518878_10042", "a"], categories=[["bird"], ["boat", "sea"]]))
    ['n01518878 ostrich, Struthio camelus', 'boat']

    Raises
    ------
    InputError
        A stimulus has neither.
    """
    categories = split.categories or [[]] * split.n_stimuli
    names = [synset_of(str(name)) or next(iter(own), "") for name, own in zip(split.stimulus_ids, categories)]
    if silent := [str(name) for name, label in zip(split.stimulus_ids, names) if not label.strip()]:
        raise InputError(
            f"{len(silent):,} of {len(names):,} stimuli have no category, the first is {silent[0]}; put categories where "
            "`brainrecon data files` says, or let labels come from elsewhere: --set labels.by=classifier or labels.memory=FOLDER."
        )
    return [labelled(name) for name in names]
