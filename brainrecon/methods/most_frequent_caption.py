"""Null: the caption that was given most often in training, whatever the response.

Scores of captions reward common words, so that one sentence for everybody scores above zero. Everything that reads captions from
a brain has to beat it.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from brainrecon.assembly.evidence import UNPUBLISHED, Evidence
from brainrecon.assembly.registry import system
from brainrecon.assembly.step import Step
from brainrecon.assembly.system import Needs, System
from stages.ground.errors import InputError
from stages.ground.reading.json_files import read_json
from weights.whole_files import write_text


@system
class MostFrequentCaption(System):
    """The caption that was given most often in training, whatever the response."""

    name = "most-frequent-caption"
    explanation = "the caption that was given most often in training, whatever the response"
    evidence = Evidence(UNPUBLISHED, ("simulated NSD",))
    output = "caption"
    needs = Needs(pictures=False, captions=True)

    def steps(self, machine):
        return [SayOne()]


class SayOne(Step):
    """One caption for everybody.

    Attributes
    ----------
    caption : str
    """

    is_learned = True
    gives = ("caption",)
    media = {"caption": "caption"}
    caption: str

    def fit(self, training, workspace):
        self.caption = most_frequent(text for said in training.captions() for text in said)

    def run(self, items, values, *, seed=0):
        return {"caption": [self.caption] * len(items)}

    def save(self, folder):
        write_text(
            Path(folder) / "config.json", json.dumps({"class": type(self).__name__, "caption": self.caption}) + "\n"
        )

    def open(self, workspace):
        path = Path(workspace.folder) / "config.json"
        remedy = f"delete {workspace.folder} and fit again with `brainrecon fit`"
        self.caption = read_json(path, dict, remedy).get("caption")
        if not isinstance(self.caption, str):
            raise InputError(f"{path} holds the caption {self.caption!r}; expected a text: {remedy}.")


def most_frequent(captions):
    """The caption that occurs most often, but for case, blanks and the stop at its end; of equals the first.

    >>> most_frequent(["A dog runs.", "a bus", "a dog  runs", "a bus stops"])
    'A dog runs.'

    Parameters
    ----------
    captions : iterable of str

    Returns
    -------
    caption : str
        As it was written first.
    """
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for caption in captions:
        key = " ".join(caption.lower().split()).rstrip(" .")
        first.setdefault(key, caption)
        counts[key] += 1
    # `most_common` keeps the order of first occurrence among equals.
    return first[counts.most_common(1)[0][0]]
