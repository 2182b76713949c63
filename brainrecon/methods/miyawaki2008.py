"""Multiscale local decoders (Miyawaki et al., Neuron 2008): a decoder per local image element, their sum the picture.

The pictures are reduced to a grid of contrasts: the mean grey of each cell, 0 black to 1 white. Patterns of 10 x 10 cells, as
the study showed them, stay as they are; of a photograph little but light and dark at a few places is left.

The paper's decoders are sparse logistic regressions, combined by coefficients that non-negative least squares found on
held-out runs. `decoder.model`, `decoder.weights` and `decoder.sizes` name the variants of a later study, which took orthogonal
matching pursuit after nilearn's example and other sizes of elements; `brainrecon benchmark --preset miyawaki-study` runs them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from brainrecon.methods.direct import DirectMethod
from brainrecon.methods.nulls import to_uint8
from stages.decoders.local.multiscale import MultiscaleDecoder
from stages.ground.errors import InputError

_BLOCK = 256


@dataclass(frozen=True)
class LocalDecoderSettings:
    """As `stages.decoders.local.multiscale.MultiscaleDecoder` takes them.

    Attributes
    ----------
    scale : int
        Elements of 1 x 1, 1 x s, s x 1 and s x s cells; 1 is 1 x 1 alone.
    sizes : tuple of (height, width), optional
        Sizes of elements in place of those of `scale`.
    model, selection, n_voxels, n_nonzero, weights
        As the decoder has them.
    """

    scale: int = 2
    sizes: tuple[tuple[int, ...], ...] | None = None
    model: str = "sparse_logistic"
    selection: str = "anova"
    n_voxels: int = 100
    n_nonzero: int = 10
    weights: str = "nnls"


@dataclass(frozen=True)
class Miyawaki2008Settings:
    """Settings of the method.

    Attributes
    ----------
    grid : int
        Cells along each side.
    trials : {"averaged", "single"}
        Train on patterns, each the average of a stimulus's trials, or on every trial by itself.
    test_trials : {"averaged", "single"}
        Reconstruct from a stimulus's average, or draw its samples from its trials, one from each: as many as there are of
        both (``--samples``). Published scores are of single trials.
    decoder : LocalDecoderSettings
    """

    grid: int = 10
    trials: str = "averaged"
    test_trials: str = "averaged"
    decoder: LocalDecoderSettings = field(default_factory=LocalDecoderSettings)

    def __post_init__(self):
        if self.grid < 1:
            raise InputError(f"grid is {self.grid}; expected 1 cell or more along a side: pass --set grid=10.")
        for name in ("trials", "test_trials"):
            if (value := getattr(self, name)) not in ("averaged", "single"):
                raise InputError(f"{name} is {value!r}; expected averaged or single: pass --set {name}=single.")
        self.estimator().check_parameters((self.grid, self.grid))

    def estimator(self):
        """The decoder, not yet fitted."""
        own = self.decoder
        return MultiscaleDecoder(
            sizes=own.scale if own.sizes is None else [tuple(size) for size in own.sizes],
            model=own.model,
            selection=own.selection,
            n_voxels=own.n_voxels,
            n_nonzero=own.n_nonzero,
            weights=own.weights,
        )


class Miyawaki2008(DirectMethod):
    """The local decoders of one subject.

    Attributes
    ----------
    decoder : stages.decoders.local.multiscale.MultiscaleDecoder
    """

    name = "miyawaki2008"
    settings_class = Miyawaki2008Settings
    explanation = "the decoded contrast of local image elements, summed over elements of several sizes"
    conditions = (*DirectMethod.conditions[:1], "binarised", *DirectMethod.conditions[1:])
    always_drawn = ("binarised",)

    def __init__(self, settings=None, device="cpu", memory=None):
        super().__init__(settings, device, memory)
        self.decoder = self.settings.estimator()

    @property
    def single_trials(self):
        return self.settings.test_trials == "single"

    def learn(self, subject, progress=None, folder=None):
        train, grid = subject.train, self.settings.grid
        contrasts = contrast_grids(train.images, grid, progress)
        averaged = self.settings.trials == "averaged"
        responses = train.patterns if averaged else np.asarray(train.betas[:], dtype=np.float32)
        stimuli = np.arange(train.n_stimuli) if averaged else train.positions
        self.decoder.fit(responses, contrasts[stimuli], groups=stimuli, progress=progress)

    def contrasts(self, patterns):
        """Decoded contrast of every cell, float (n_stimuli, grid, grid): 0 to 1 is the range of pictures, which it may leave."""
        return self.decoder.predict(patterns)

    def draw(self, requests, seed):
        contrasts = self.contrasts(np.stack([one.pattern for one in requests]))
        binarised = np.array([one.condition == "binarised" for one in requests])
        contrasts = np.where(binarised[:, None, None], contrasts > 0.5, contrasts)
        cells = np.repeat(np.repeat(to_uint8(255 * contrasts), self._cell, axis=1), self._cell, axis=2)
        return np.repeat(cells[..., None], 3, axis=-1)

    @property
    def _cell(self):
        """Pixels along a side of a cell: as many as make the picture no smaller than those that were shown."""
        return math.ceil(max(self.picture_shape) / self.settings.grid)

    def summary(self):
        """A row per size of elements: how many there are, and the weight of their contrasts in the picture."""
        elements = self.decoder.elements_
        return [
            {"size": f"{height} x {width}", "elements": int(count), "weight": float(weight)}
            for (height, width), count, weight in zip(
                elements.sizes, np.bincount(elements.size_index), self.decoder.size_weights_
            )
        ]

    def save_fitted(self, folder):
        self.decoder.save_pretrained(folder)

    def read_fitted(self, folder):
        self.decoder = MultiscaleDecoder.from_pretrained(folder)


def contrast_grids(images, grid, progress=None):
    """Reduce pictures to grids of contrasts.

    Parameters
    ----------
    images : array-like of shape (n, height, width, 3), uint8
        Read in blocks.
    grid : int
        Cells along each side, no more than pixels.
    progress : callable, optional

    Returns
    -------
    array of shape (n, grid, grid), float32
        Mean grey of each cell's pixels, those at its rim counted by the share of them inside; 0 to 1.
    """
    height, width = images.shape[1:3]
    if grid > min(height, width):
        raise InputError(
            f"Pictures of {height} x {width} pixels have no {grid} x {grid} cells; pass --set grid=N with fewer."
        )
    contrasts = np.empty((len(images), grid, grid), dtype=np.float32)
    for start in range(0, len(images), _BLOCK):
        for row, image in enumerate(np.asarray(images[start : start + _BLOCK]), start=start):
            # As floats, for between its two passes Pillow rounds whole numbers.
            grey = Image.fromarray(image).convert("L").convert("F").resize((grid, grid), Image.Resampling.BOX)
            contrasts[row] = np.asarray(grey, dtype=np.float32) / 255
        if progress:
            progress("reading pictures", min(start + _BLOCK, len(images)), len(images))
    return contrasts
