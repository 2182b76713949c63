"""Null: a caption of the training stimulus whose response pattern correlates best with the measured one.

It can only repeat. Everything that reads captions from a brain has to beat it.
"""

from __future__ import annotations

import json
from pathlib import Path

from brainrecon.assembly.nearest_pattern import NearestPattern
from brainrecon.assembly.registry import system
from brainrecon.assembly.system import Needs, System
from stages.ground.errors import InputError
from weights.whole_files import write_text


@system
class NearestTrainingCaption(System):
    """The first caption of the training stimulus whose response pattern correlates best with the measured one."""

    name = "nearest-training-caption"
    explanation = "a caption of the training stimulus whose response pattern correlates best with the measured one"
    output = "caption"
    needs = Needs(pictures=False, captions=True)

    def steps(self, machine):
        return [RepeatCaption()]


class RepeatCaption(NearestPattern):
    """The caption of the nearest pattern.

    Attributes
    ----------
    captions : list of str
        The first of each training stimulus.
    """

    gives = ("caption",)
    media = {"caption": "caption"}
    captions: list

    def fit(self, training, workspace):
        super().fit(training, workspace)
        self.captions = [said[0] for said in training.captions()]

    def run(self, items, values, *, seed=0):
        return {"caption": [self.captions[row] for row in self.nearest(values["patterns"])]}

    def save(self, folder):
        write_text(Path(folder) / "captions.json", json.dumps(self.captions, indent=1) + "\n")
        super().save(folder)

    def open(self, workspace):
        super().open(workspace)
        path = Path(workspace.folder) / "captions.json"
        try:
            self.captions = [str(caption) for caption in json.loads(path.read_text(encoding="utf-8"))]
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"{path} cannot be read ({error}); delete {workspace.folder} and fit again with `brainrecon fit`."
            ) from None
