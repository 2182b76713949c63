"""The decoders behind the step `Decode`: how each is made, fitted with and without a folder, read and written."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from brainrecon.assembly.resumable_ridge import fit_by_blocks
from stages.decoders.ridge.banded_ridge import BandedRidgeDecoder
from stages.decoders.ridge.ridge import RidgeDecoder


class DecodingByBlocks:
    """A decoder that is fitted by blocks of targets; with a folder, and patterns to predict, it goes on where it was interrupted.

    Parameters
    ----------
    decoder : stages.decoders.ridge.by_blocks.FittedByBlocks
    """

    def __init__(self, decoder):
        self.decoder, self._device, self._saved_in = decoder, decoder.device, None

    def fit(self, responses, features, stimuli, bands, workspace, patterns_of, before_config):
        """Fit to responses (n_trials, n_voxels) and feature tables; `stimuli` has each trial's row of these."""
        wanted = workspace.prediction
        if workspace.folder is None or wanted is None:
            self.decoder.fit_targets(responses, features, stimuli=stimuli, progress=workspace.progress)
            return
        fit_by_blocks(
            self.decoder,
            responses,
            features,
            workspace.folder,
            stimuli=stimuli,
            new_patterns=patterns_of(wanted.patterns),
            new_ids=wanted.names,
            embeddings=wanted.path,
            before_config=before_config,
            progress=workspace.progress,
        )
        self._saved_in = Path(workspace.folder)

    def operations(self, n_rows, n_voxels, sizes):
        """Operations of a fit to `n_rows` rows, given the number of columns of each target."""
        return self.decoder.operations(n_rows, n_voxels, sizes)

    def save(self, folder):
        """Write the decoder, unless its fit has done so."""
        if Path(folder) != self._saved_in:
            self.decoder.save_pretrained(folder)

    def open(self, folder):
        """Read the decoder."""
        self.decoder = type(self.decoder).from_pretrained(folder).set_params(device=self._device)


class DecodingAtOnce:
    """A decoder that is fitted in memory, all its targets together; from the beginning if it was interrupted.

    Parameters
    ----------
    decoder : stages.decoders.solved.SolvedDecoder
        With ``fit_targets``.
    """

    def __init__(self, decoder):
        self.decoder = decoder

    def fit(self, responses, features, stimuli, bands, workspace, patterns_of, before_config):
        """Fit to responses (n_trials, n_voxels) and feature tables; `stimuli` has each trial's row of these."""
        self.decoder.fit_targets(responses, features, stimuli=stimuli, progress=workspace.progress)
        if workspace.folder is not None:
            before_config()

    def operations(self, n_rows, n_voxels, sizes):
        """Operations of least squares from all columns to all voxels, and of its inverse."""
        n_columns = sum(sizes.values())
        return 2 * n_columns * (n_rows + n_columns) * (n_columns + n_voxels)

    def save(self, folder):
        """Write the decoder."""
        self.decoder.save_pretrained(folder)

    def open(self, folder):
        """Read the decoder."""
        self.decoder = type(self.decoder).from_pretrained(folder)


def ridge(settings, machine):
    """Ridge as settings say."""
    return DecodingByBlocks(
        RidgeDecoder(
            alphas=settings.alpha,
            rescale=settings.rescale,
            penalty=settings.penalty,
            sketch=settings.sketch,
            held_out=settings.held_out,
            keep=settings.keep,
            standardise=settings.standardise,
            memory=machine.memory,
            device=machine.device,
        )
    )


class BandedRidgeDecoding:
    """Banded ridge: a penalty for each band of voxels; fitted in memory, from the beginning if it was interrupted."""

    def __init__(self, settings, machine):
        self.decoder = BandedRidgeDecoder(alphas=settings.alpha, rescale=settings.rescale)

    def fit(self, responses, features, stimuli, bands, workspace, patterns_of, before_config):
        """Fit to responses (n_trials, n_voxels) and feature tables, all of them in memory."""
        self.decoder.set_params(bands=bands)
        groups = {name: values.shape[1] for name, values in features.items()}
        values = np.hstack([np.asarray(values) for values in features.values()])
        self.decoder.fit(responses, values, groups=groups, stimuli=stimuli)
        if workspace.folder is not None:
            before_config()

    def operations(self, n_rows, n_voxels, sizes):
        """Not counted: how many weights of bands are tried depends on the search."""
        return 0

    def save(self, folder):
        """Write the decoder."""
        self.decoder.save_pretrained(folder)

    def open(self, folder):
        """Read the decoder."""
        self.decoder = BandedRidgeDecoder.from_pretrained(folder)


DECODINGS = {"ridge": ridge, "banded_ridge": BandedRidgeDecoding}
