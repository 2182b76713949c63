"""The step from patterns to named values by a decoder that learns from everything at once, such as a network."""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.step import Step
from stages.decoders.trained import Training
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

TRIALS = ("averaged", "single", "in turn")


class Learn(Step):
    """Fit a decoder of `stages.decoders` to targets, and predict them.

    Parameters
    ----------
    targets : mapping of str to brainrecon.assembly.targets.TargetSource
        By predicted value; several values may be held to one target.
    decoder : stages.decoders.decoder.Decoder
        Not yet fitted: ``decoder.fit(training, folder=None, progress=...)`` goes on where it was interrupted if it is given
        a folder; its class has ``from_pretrained(folder, device=...)``.
    device : str
    trials : {"averaged", "single", "in turn"}
        Learn from patterns, each the average of a stimulus's trials; from every trial by itself; or from one trial of every
        stimulus in an epoch, those of each taking turns.
    part : str
        Folder of what it learns.
    """

    is_learned = True

    def __init__(self, targets, decoder, device="cpu", trials="averaged", part=""):
        if trials not in TRIALS:
            raise InputError(
                f"trials is {trials!r}; expected one of {', '.join(TRIALS)}{did_you_mean(trials, TRIALS)}: pass --set "
                "trials=single."
            )
        self.targets, self.gives, self.part = targets, tuple(targets), part
        self.decoder, self._device, self._trials = decoder, device, trials

    def fit(self, training, workspace):
        features, responses, rows = training.features(self.gives), {}, {}
        for name, subject in training.subjects.items():
            train = subject.train
            averaged = self._trials == "averaged"
            responses[name] = train.patterns if averaged else train.betas
            rows[name] = np.arange(train.n_stimuli) if averaged else train.positions
        # In memory: a batch takes rows from anywhere, and a table lies by columns. Values of one target have one array.
        arrays: dict = {}
        for name, table in features.items():
            source = self.targets[name]
            if source not in arrays:
                arrays[source] = np.asarray(table).reshape(len(table), *source.outline.shape)
        values = {name: arrays[self.targets[name]] for name in features}
        learned = Training(responses, rows, values, "stimuli" if self._trials == "in turn" else "trials")
        self.decoder = self.decoder.fit(learned, folder=workspace.folder, progress=workspace.progress)

    def run(self, items, values, *, seed=0):
        patterns, found = np.asarray(values["patterns"]), {}
        for name, columns, block in self.decoder.predict_blocks(patterns):
            if name not in found:
                size = int(np.prod(self.decoder.gives[name]))
                found[name] = np.empty((len(patterns), size), dtype=np.float32)
            found[name][:, columns] = block
        return found

    def summary(self):
        return self.decoder.summary()

    def remarks(self):
        return list(self.decoder.notes())

    def curves(self):
        return dict(self.decoder.curves())

    def save(self, folder):
        self.decoder.save_pretrained(folder)

    def open(self, workspace):
        self.decoder = type(self.decoder).from_pretrained(workspace.folder, device=self._device)
