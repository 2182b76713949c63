"""Signal-to-noise ratio from the repeats of stimuli, as the NSD data manual has it."""

import numpy as np


class RepeatStatistics:
    """Gathers single trials session by session and estimates ncsnr from the repeats of each stimulus.

    As in NSD, betas are z-scored over each session first. The noise variance is the mean variance over the
    repeats of a stimulus; what is left of the total variance of one is the signal's.

    Parameters
    ----------
    n_stimuli, n_voxels : int
        Memory is n_stimuli * n_voxels * 4 bytes, whatever the number of trials.
    """

    def __init__(self, n_stimuli: int, n_voxels: int):
        self._sums = np.zeros((n_stimuli, n_voxels), np.float32)
        self._counts = np.zeros(n_stimuli, int)
        self._squares = np.zeros(n_voxels)

    def add_session(self, betas: np.ndarray, stimuli: np.ndarray) -> None:
        """Add one session: betas (n_trials, n_voxels) in any unit, and each trial's stimulus, 0-based."""
        spread = betas.std(0)
        scored = (betas - betas.mean(0)) / np.where(spread > 0, spread, 1)
        np.add.at(self._sums, stimuli, scored)
        np.add.at(self._counts, stimuli, 1)
        self._squares += np.square(scored, dtype=np.float64).sum(0)

    def ncsnr(self) -> np.ndarray:
        """Noise ceiling signal-to-noise ratio, array of shape (n_voxels,), float32."""
        shown = self._counts > 0
        explained = (np.square(self._sums[shown]) / self._counts[shown, None]).sum(0, dtype=np.float64)
        freedom = self._counts.sum() - shown.sum()
        noise = np.maximum(self._squares - explained, 0) / freedom
        signal = np.maximum(1 - noise, 0)
        return np.sqrt(signal / np.maximum(noise, 1e-12)).astype(np.float32)
