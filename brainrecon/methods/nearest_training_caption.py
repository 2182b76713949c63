"""Null: a caption of the training stimulus whose response pattern correlates best with the measured one.

It can only repeat. Everything that reads captions from a brain has to beat it.
"""

from __future__ import annotations

import json
from pathlib import Path

from brainrecon.assembly.evidence import UNPUBLISHED, Evidence
from brainrecon.assembly.nearest_pattern import NearestPattern
from brainrecon.assembly.registry import system
from brainrecon.assembly.system import Needs, System
from stages.ground.reading.json_files import read_json
from weights.whole_files import write_text


@system
class NearestTrainingCaption(System):
    """The first caption of the training stimulus whose response pattern correlates best with the measured one."""

    name = "nearest-training-caption"
    explanation = "a caption of the training stimulus whose response pattern correlates best with the measured one"
    evidence = Evidence(UNPUBLISHED, ("simulated NSD",))
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
        remedy = f"delete {workspace.folder} and fit again with `brainrecon fit`"
        self.captions = [str(caption) for caption in read_json(path, list, remedy)]
