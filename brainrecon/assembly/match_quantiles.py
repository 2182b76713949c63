"""The step that gives decoded values the distribution of true ones, as it is on the training split."""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.arrays_step import ArraysStep
from brainrecon.assembly.linear_decoding import DECODINGS
from stages.ground.checks import Number, check
from stages.ground.errors import InputError


class MatchQuantiles(ArraysStep):
    """Match decoded values to true ones by rank (`stages.decoders.quantile_matching`).

    The ranks are those of predictions of training stimuli by fits that have not seen them: the training stimuli are cut into
    folds, and each is predicted by the same ridge, fitted on the patterns of the others.

    >>> from brainrecon.assembly.decode import Decode
    >>> from brainrecon.assembly.decoder_settings import DecoderSettings
    >>> from brainrecon.assembly.targets import TargetSource
    >>> from brainrecon.assembly.values import Machine
    >>> class Depth:
    ...     shape, n_targets = (4, 4), 16
    >>> decode = Decode({"depth": TargetSource(Depth, checkpoints=())}, DecoderSettings(), Machine())
    >>> step = MatchQuantiles(decode, "depth", "matched_depth", Machine(), part="match_depth")
    >>> step.reads, step.gives, dict(step.target_of)
    (('depth',), ('matched_depth',), {'matched_depth': 'depth'})

    Parameters
    ----------
    decode : brainrecon.assembly.decode.Decode
        The step that decodes the value.
    value, gives : str
        What is matched, and its name then.
    machine : brainrecon.assembly.values.Machine
    part : str
    folds : int
        Of the training stimuli.
    """

    def __init__(self, decode, value, gives, machine, part, folds=5):
        self.reads, self.gives, self.part, self.fitted = (value,), (gives,), part, {}
        self.targets, self.roi = {gives: decode.targets[value]}, "all"
        self._decode, self._machine, self._folds = (
            decode,
            machine,
            check("folds", folds, Number(2, whole=True, example=5)),
        )

    @property
    def target_of(self):
        return {self.gives[0]: self._decode.target_of[self.reads[0]]}

    def fit(self, training, workspace):
        from stages.decoders.quantile_matching import matching_table

        (value,) = self.reads
        target = self._decode.target_of[value]
        features = {value: np.asarray(training.features((target,))[target][:], dtype=np.float32)}
        patterns = self._decode.patterns(np.asarray(training.subject.train.patterns))
        predicted = self._out_of_fold(patterns, features, workspace.progress)
        self.fitted = {"quantiles": matching_table(predicted, features[value])}
        if workspace.folder is not None:
            self.save(workspace.folder)

    def _out_of_fold(self, patterns, features, progress):
        """Predictions of each training stimulus by a fit on the others, (n_stimuli, n_values)."""
        (value,) = self.reads
        true = features[value]
        if len(true) < 2 * self._folds:
            raise InputError(
                f"There are {len(true)} training stimuli, too few for {self._folds} folds of 2 or more; leave their distribution "
                "as it is: --set matching=false."
            )
        # Every so-manieth stimulus, so that each fold has some of all sessions.
        fold_of = np.arange(len(true)) % self._folds
        found = np.empty_like(true)
        for fold in range(self._folds):
            progress(f"folds of {value}", fold, self._folds)
            here = fold_of == fold
            decoder = DECODINGS[self._decode.settings.kind](self._decode.settings, self._machine).decoder
            decoder.fit_targets(patterns[~here], {value: true[~here]})
            found[here] = decoder.predict(patterns[here])
        progress(f"folds of {value}", self._folds, self._folds)
        return found

    def run(self, items, values, *, seed=0):
        from stages.decoders.quantile_matching import matched

        (value,), (gives,) = self.reads, self.gives
        return {gives: matched(values[value], self.fitted["quantiles"])}

    def summary(self):
        return []
