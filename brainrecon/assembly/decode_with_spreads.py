"""Decoding that also keeps how much the features of a picture vary within each layer, over the training pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from brainrecon.assembly.decode import Decode
from stages.ground.reading.json_files import read_json
from weights.whole_files import write_text

SPREADS = "spreads.json"
_PICTURES = 1000


class DecodeWithSpreads(Decode):
    """The step `Decode`, and the usual spread of each target, to which a search brings decoded features.

    Parameters
    ----------
    *given, **named
        As of `Decode`.
    kept : bool
        Off, nothing is kept: at published sizes it takes reading all training features once more.

    Attributes
    ----------
    spreads : dict of str to float
        Of each target the mean, over the first 1,000 training pictures, of a picture's spread as
        `stages.inverters.feature_scaling.spread_of` has it; empty if none are kept.
    """

    def __init__(self, *given, kept=True, **named):
        super().__init__(*given, **named)
        self._kept, self.spreads = kept, {}

    def fit(self, training, workspace):
        if self._kept:
            tables = training.features(self.gives)
            self.spreads = {
                name: _usual_spread(tables[name], source.outline.shape) for name, source in self.targets.items()
            }
        super().fit(training, workspace)

    def _describe(self, workspace):
        super()._describe(workspace)
        self._save_spreads(workspace.folder)

    def save(self, folder):
        super().save(folder)
        self._save_spreads(folder)

    def _save_spreads(self, folder):
        if self._kept:
            write_text(Path(folder) / SPREADS, json.dumps(self.spreads) + "\n")

    def open(self, workspace):
        super().open(workspace)
        if self._kept:
            again = f"delete {workspace.folder} and fit again with `brainrecon fit`"
            self.spreads = read_json(Path(workspace.folder) / SPREADS, dict, again)

    @property
    def training_means(self):
        """Mean of each target's values over the training stimuli: dict of str to float64 array of the target's shape."""
        means, start, found = np.asarray(self.decoder.tensors_["target_mean_"]), 0, {}
        for name, size in self.decoder.groups_.items():
            found[name] = means[start : start + size].reshape(self.targets[name].outline.shape)
            start += size
        return found


def _usual_spread(table, shape):
    from stages.inverters.feature_scaling import spread_of

    rows = range(min(len(table), _PICTURES))
    spreads = (spread_of(np.asarray(table[[row]], dtype=np.float64).reshape(shape)) for row in rows)
    return float(np.mean(list(spreads)))
