"""True values of pictures that a training changes from step to step."""

from __future__ import annotations

import numpy as np


class ChangedPictures:
    """True values of a target for pictures that are changed from step to step.

    Parameters
    ----------
    source : brainrecon.assembly.targets.TargetSource
        A target that takes pictures.
    images : array of shape (n_stimuli, height, width, 3), uint8
        In memory or read when they are asked for, by an array of rows.
    changes : stages.training.picture_changes.PictureChanges
    device : str
        Where pictures are changed.
    """

    def __init__(self, source, images, changes, device="cpu"):
        self._source, self._images, self._changes, self._device = source, images, changes, device

    @property
    def identity(self):
        """What its values depend on besides the stimuli."""
        target = self._source.outline
        return f"{self._source.fingerprint} of {target.preprocessing} of {self._changes!r}"

    def __call__(self, stimuli, step):
        """Values (n, ...) of some stimuli in a step, float32."""
        import torch

        pictures = self._changes(np.asarray(self._images[np.asarray(stimuli)]), step, self._device)
        with torch.inference_mode():
            values = self._source.target.encode(pictures)
        return np.asarray(values, dtype=np.float32).reshape(len(pictures), *self._source.outline.shape)
