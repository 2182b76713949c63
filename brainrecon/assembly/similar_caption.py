"""Captions of similar pictures: the step that finds one for a decoded embedding, and what a caption model learns behind them."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

import numpy as np

from brainrecon.assembly.step import Step
from brainrecon.assembly.training_tables import of_one
from stages.ground.errors import InputError
from stages.ground.reading.json_files import read_json
from weights.whole_files import write_text

_TABLE = "embeddings of similar pictures"
_ROWS_AT_A_TIME = 1024


class SimilarCaption(Step):
    """The first caption of the training picture whose embedding is nearest by cosine, of whichever subject.

    >>> step = SimilarCaption("clip_match", "similar_caption")
    >>> step.reads, step.gives, step.medium("similar_caption")
    (('clip_match',), ('similar_caption',), 'caption')

    Parameters
    ----------
    reads : str
        A predicted embedding of a picture; true ones are those of its target.
    gives : str
    part : str
    """

    is_learned = True

    def __init__(self, reads, gives, part="similar"):
        self.reads, self.gives, self.media, self.part = (reads,), (gives,), {gives: "caption"}, part
        self._tables, self._captions = [], None

    def fit(self, training, workspace):
        # Of several subjects, one behind the other; a picture that two have seen is there twice.
        each = [of_one(training, name) for name in training.subjects]
        self._tables = [one.features(self.reads)[self.reads[0]] for one in each]
        self._captions = [caption for one in each for caption in first_captions(one)]

    def save(self, folder):
        write_text(Path(folder) / "captions.json", json.dumps(self._captions, indent=1) + "\n")
        write_text(Path(folder) / "config.json", json.dumps({"class": type(self).__name__}) + "\n")

    def open(self, workspace):
        path = Path(workspace.folder) / "captions.json"
        remedy = f"delete {workspace.folder} and fit again with `brainrecon fit`"
        self._captions = [str(caption) for caption in read_json(path, list, remedy)]
        named = workspace.description[_TABLE]
        self._tables = [workspace.store.table(name) for name in ([named] if isinstance(named, str) else named)]

    def description(self):
        named = [table.folder.name for table in self._tables]
        return {_TABLE: named[0] if len(named) == 1 else named}

    @cached_property
    def _similar(self):
        from stages.generators.language.similar_captions import SimilarCaptions
        from stages.priors.embedding_bank import ColumnBank, RowBank

        where = "The bank of the training pictures"
        if len(self._tables) == 1:
            return SimilarCaptions(ColumnBank(self._tables[0], where), self._captions)
        return SimilarCaptions(RowBank([np.asarray(table) for table in self._tables], where), self._captions)

    def run(self, items, values, *, seed=0):
        (read,), (gives,) = self.reads, self.gives
        found = self._similar.nearest(np.asarray(values[read], dtype=np.float32))
        return {gives: [caption for (caption,) in found]}


class CaptionsToLearn:
    """Captions of the training pictures, each behind that of the picture that is most similar, but not itself.

    Parameters
    ----------
    similar_by : str
        A target of pictures, by whose cosines they are similar.
    tokenizer : callable
        ``tokenizer() -> path``: folder of GPT-2's tokenizer.
    longest : int
        Tokens of a caption that are learned.

    Attributes
    ----------
    shape : tuple of int
        About that of a row: a prompt, and as many tokens again twice.
    """

    def __init__(self, similar_by, tokenizer, longest):
        self._similar_by, self._tokenizer, self._longest = similar_by, tokenizer, longest
        self.shape = (2, 16 + 2 * longest)

    def __call__(self, training, pretrained=None):
        """Rows of `stages.generators.language.caption_rows`, float32 (n_stimuli, 2, length)."""
        from stages.checkpoints.transformers_loading import load_gpt2_tokenizer
        from stages.generators.language.caption_rows import caption_rows
        from stages.generators.language.similar_captions import caption_prefix

        captions = first_captions(training)
        embeddings = np.asarray(training.features((self._similar_by,))[self._similar_by], dtype=np.float32)
        prefixes = [caption_prefix([captions[row]]) for row in nearest_others(embeddings)]
        return caption_rows(load_gpt2_tokenizer(self._tokenizer()), prefixes, captions, self._longest)


def first_captions(training):
    """The first caption of each training stimulus; InputError for one that has none."""
    captions = training.captions()
    if silent := sum(not said or not said[0].strip() for said in captions):
        raise InputError(
            f"{silent:,} of {len(captions):,} training stimuli have no caption; expected words for each: pass --captions FILE "
            "with all of them."
        )
    return [said[0] for said in captions]


def nearest_others(embeddings):
    """Number of the other row that is nearest to each by cosine.

    >>> nearest_others(np.float32([[1, 0], [3, 1], [0, 1]])).tolist()
    [1, 0, 1]

    Parameters
    ----------
    embeddings : float32 array of shape (n, n_values)
        Of two rows or more.
    """
    if len(embeddings) < 2:
        raise InputError(f"There is {len(embeddings)} training picture; expected 2 or more, of which one is similar.")
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-30)
    found = np.empty(len(unit), dtype=int)
    for first in range(0, len(unit), _ROWS_AT_A_TIME):
        cosines = unit[first : first + _ROWS_AT_A_TIME] @ unit.T
        rows = np.arange(len(cosines))
        cosines[rows, first + rows] = -np.inf
        found[first : first + len(rows)] = cosines.argmax(axis=1)
    return found
