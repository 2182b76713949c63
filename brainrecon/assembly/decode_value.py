"""The step from a value that a network makes of patterns to embeddings, by a linear decoder."""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.decode import Decode

_ROWS_AT_A_TIME = 256


class DecodeValue(Decode):
    """Ridge from a value of a step before, which is made of every training trial: from an encoder's tokens to a latent.

    >>> from brainrecon.assembly.decoder_settings import DecoderSettings
    >>> from brainrecon.assembly.learn import Learn
    >>> from brainrecon.assembly.targets import TargetSource
    >>> from brainrecon.assembly.values import Machine
    >>> class Colour:
    ...     shape, n_targets = (3,), 3
    >>> colour = TargetSource(Colour, checkpoints=())
    >>> learned = Learn({"rough": colour}, decoder=None, part="network")
    >>> step = DecodeValue(learned, "rough", {"colour": colour}, DecoderSettings(alpha=1000.0), Machine(), "colour")
    >>> step.reads, step.gives
    (('rough',), ('colour',))

    Parameters
    ----------
    learned : brainrecon.assembly.learn.Learn
        Step before it, that reads patterns.
    value : str
        Of those it gives.
    targets, settings, machine, part, decoding
        See `brainrecon.assembly.decode.Decode`. Averages are those of the trials' values, and not values of average trials.
    """

    def __init__(self, learned, value, targets, settings, machine, part="", decoding=None):
        super().__init__(targets, settings, machine, part, decoding=decoding)
        self.reads, self._learned = (value,), learned

    def training(self, split, features, region=None):
        made = np.concatenate(
            [
                self._made(split.betas[first : first + _ROWS_AT_A_TIME])
                for first in range(0, split.n_trials, _ROWS_AT_A_TIME)
            ]
        )
        if self.settings.trials != "averaged":
            return made, split.positions
        total = np.zeros((split.n_stimuli, made.shape[1]))
        np.add.at(total, split.positions, made)
        return (total / split.repeats[:, None]).astype(np.float32), None

    def _made(self, trials):
        return self._learned.run([], {"patterns": np.asarray(trials, dtype=np.float32)})[self.reads[0]]

    def operations(self, train):
        """Not counted before the network is there, whose values are few beside voxels."""
        return {}
