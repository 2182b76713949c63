"""The schedule of a contrast that mixes samples in the first epochs, and has soft labels in the others."""

from __future__ import annotations

from stages.objectives.contrastive import soft_clip_temperature


class MixedEpochs:
    """What such contrasts share (Scotti et al. 2023, "MindEye").

    >>> class Contrast(MixedEpochs):
    ...     n_epochs, steps_per_epoch, mixed_share, first, last = 10, 5, 0.3, 0.004, 0.0075
    >>> contrast = Contrast()
    >>> contrast.is_mixed(14), contrast.is_mixed(15), contrast.soft_temperature(15), contrast.soft_temperature(49)
    (True, False, 0.004, 0.0075)

    Attributes
    ----------
    n_epochs, steps_per_epoch : int
    mixed_share : float
        Of the epochs, in which samples are mixed; rounded down.
    first, last : float
        Temperatures of the soft labels, in the first of their epochs and in the last.
    """

    n_epochs: int
    steps_per_epoch: int
    mixed_share: float
    first: float
    last: float

    @property
    def n_mixed_epochs(self) -> int:
        """How many epochs, from the first, mix."""
        return int(self.mixed_share * self.n_epochs)

    def is_mixed(self, step: int) -> bool:
        """Whether a step mixes."""
        return step // self.steps_per_epoch < self.n_mixed_epochs

    def soft_temperature(self, step: int) -> float:
        """Temperature of the soft labels in a step."""
        n_soft = self.n_epochs - self.n_mixed_epochs
        place = step // self.steps_per_epoch - self.n_mixed_epochs
        return soft_clip_temperature(min(max(place, 0) / max(n_soft - 1, 1), 1.0), self.first, self.last)
