"""A step whose knowledge is a few arrays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from brainrecon.assembly.step import Step
from stages.ground.errors import InputError
from weights.whole_files import whole_file, write_text


class ArraysStep(Step):
    """What it learns is a dictionary of arrays, which it keeps in `model.safetensors`.

    Attributes
    ----------
    fitted : dict of str to array
    """

    is_learned = True
    fitted: dict

    def save(self, folder):
        folder = Path(folder)
        with whole_file(folder / "model.safetensors") as partial:
            save_file({name: np.ascontiguousarray(values) for name, values in self.fitted.items()}, partial)
        write_text(folder / "config.json", json.dumps({"class": type(self).__name__}) + "\n")

    def open(self, workspace):
        path = Path(workspace.folder) / "model.safetensors"
        try:
            self.fitted = load_file(path)
        except Exception as error:
            raise InputError(
                f"{path} cannot be read ({error}); delete {workspace.folder} and fit again with `brainrecon fit`."
            ) from None
