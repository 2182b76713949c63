"""Multiscale local decoders (Miyawaki et al., Neuron 2008): a decoder per local image element, their sum the picture.

The pictures are reduced to a grid of contrasts: the mean grey of each cell, 0 black to 1 white. Patterns of 10 x 10 cells, as
the study showed them, stay as they are; of a photograph little but light and dark at a few places is left.

The paper's decoders are sparse logistic regressions, combined by coefficients that non-negative least squares found on
held-out runs. `decoder.model`, `decoder.weights` and `decoder.sizes` name the variants of a later study, which took orthogonal
matching pursuit after nilearn's example and other sizes of elements; `brainrecon benchmark --preset miyawaki-study` runs them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from joblib import cpu_count
from PIL import Image

from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.registry import system
from brainrecon.assembly.step import Step
from brainrecon.assembly.system import Needs, System
from brainrecon.assembly.training_trials import AUTO, FEW_STIMULI, check_trials, learned_from, settled_trials
from stages.decoders.local.image_elements import ImageElements
from stages.decoders.local.multiscale import MultiscaleDecoder
from stages.ground.errors import InputError
from stages.ground.pictures import to_uint8
from stages.ground.progress import SILENT

_BLOCK = 256
PUBLISHED_WEIGHTS = "nnls"
WORTH_SAYING = 5.0  # seconds


@dataclass(frozen=True)
class LocalDecoderSettings:
    """As `stages.decoders.local.multiscale.MultiscaleDecoder` takes them.

    Attributes
    ----------
    scale : int
        Elements of 1 x 1, 1 x s, s x 1 and s x s cells; 1 is 1 x 1 alone.
    sizes : tuple of (height, width), optional
        Sizes of elements in place of those of `scale`.
    model, selection, n_voxels, n_nonzero
        As the decoder has them.
    weights : {"auto", "nnls", "sgd", "equal"}
        As the decoder has them; "auto" is the paper's "nnls", and "equal" for fewer than 100 training pictures: of few there are
        no more of them than coefficients to find.
    """

    scale: int = 2
    sizes: tuple[tuple[int, ...], ...] | None = None
    model: str = "sparse_logistic"
    selection: str = "anova"
    n_voxels: int = 100
    n_nonzero: int = 10
    weights: str = AUTO


@dataclass(frozen=True)
class Miyawaki2008Settings:
    """Settings of the method.

    Attributes
    ----------
    grid : int
        Cells along each side.
    trials : {"auto", "averaged", "single"}
        Train on patterns, each the average of a stimulus's trials, or on every trial by itself; "auto" takes single trials of few
        stimuli, see `brainrecon.assembly.training_trials`.
    test_trials : {"averaged", "single"}
        Reconstruct from a stimulus's average, or draw its samples from its trials, one from each: as many as there are of
        both (``--samples``). Published scores are of single trials.
    decoder : LocalDecoderSettings
    """

    grid: int = 10
    trials: str = AUTO
    test_trials: str = "averaged"
    decoder: LocalDecoderSettings = field(default_factory=LocalDecoderSettings)

    def __post_init__(self):
        if self.grid < 1:
            raise InputError(f"grid is {self.grid}; expected 1 cell or more along a side: pass --set grid=10.")
        check_trials(self.trials)
        if self.test_trials not in ("averaged", "single"):
            raise InputError(
                f"test_trials is {self.test_trials!r}; expected averaged or single: pass --set test_trials=single."
            )
        self.estimator().check_parameters((self.grid, self.grid))

    def settled(self, train):
        """These settings with what they leave open settled by the training split."""
        weights = self.decoder.weights
        if weights == AUTO:
            weights = "equal" if train.n_stimuli < FEW_STIMULI else PUBLISHED_WEIGHTS
        trials = settled_trials(self.trials, train)
        return replace(self, trials=trials, decoder=replace(self.decoder, weights=weights))

    def estimator(self):
        """The decoder, not yet fitted."""
        own = self.decoder
        return MultiscaleDecoder(
            sizes=own.scale if own.sizes is None else [tuple(size) for size in own.sizes],
            model=own.model,
            selection=own.selection,
            n_voxels=own.n_voxels,
            n_nonzero=own.n_nonzero,
            weights=PUBLISHED_WEIGHTS if own.weights == AUTO else own.weights,
            # Classifiers are fitted by processes, one for each core; the others are fast.
            n_jobs=-1 if own.model == "sparse_logistic" else None,
        )


@system
class Miyawaki2008(System):
    """The local decoders of one subject."""

    name = "miyawaki2008"
    explanation = "the decoded contrast of local image elements, summed over elements of several sizes"
    citation = (
        "Miyawaki, Y. et al. (2008). Visual image reconstruction from human brain activity using a combination of multiscale "
        "local image decoders. Neuron 60, 915-929."
    )
    settings_class = Miyawaki2008Settings
    evidence = Evidence(
        "each model equals scikit-learn, SciPy or its formula; the authors' code not compared",
        ("simulated Miyawaki 2008", "simulated NSD"),
    )
    needs = Needs(disjoint_pictures=True)

    @property
    def reads_single_trials(self):
        return self.settings.test_trials == "single"

    def settled(self, train):
        return self.settings.settled(train)

    def steps(self, machine):
        return [DecodeContrasts(self.settings)]


class DecodeContrasts(Step):
    """From patterns to a grid of contrasts, shown as a picture and binarised.

    Attributes
    ----------
    decoder : stages.decoders.local.multiscale.MultiscaleDecoder
    picture_shape : (int, int)
        Height and width of the training pictures.
    """

    gives = ("picture", "binarised")
    media = {"picture": "picture", "binarised": "picture"}
    is_learned = True

    def __init__(self, settings):
        self.settings, self.decoder, self.picture_shape = settings, settings.estimator(), None

    def fit(self, training, workspace):
        train, grid = training.subject.train, self.settings.grid
        settings = self.settings.settled(train)
        self.decoder = settings.estimator()
        self.picture_shape = train.images.shape[1:3]
        contrasts = contrast_grids(train.images, grid, workspace.progress)
        responses, stimuli = learned_from(settings.trials, train)
        self.decoder.fit(responses, contrasts[stimuli], groups=stimuli, progress=workspace.progress)

    def cost(self, train):
        settings = self.settings.settled(train)
        n_samples = train.n_stimuli if settings.trials == "averaged" else train.n_trials
        decoder, grid = settings.estimator(), self.settings.grid
        seconds = decoder.seconds_to_fit(n_samples, train.n_voxels, (grid, grid))
        if seconds < WORTH_SAYING:
            return []
        n_elements, times = len(ImageElements(decoder.sizes, (grid, grid)).places), decoder.n_fits
        how = f", {times} times over to find their weights" if times > 1 else ""
        return [
            f"Sparse logistic regressions of {n_elements} image elements{how}: about {_in_words(seconds)} with "
            f"{cpu_count()} cores; --set decoder.model=omp takes seconds."
        ]

    def contrasts(self, patterns):
        """Decoded contrast of every cell, float (n_stimuli, grid, grid): 0 to 1 is the range of pictures, which it may leave."""
        return self.decoder.predict(patterns)

    def run(self, items, values, *, seed=0):
        contrasts = self.contrasts(np.asarray(values["patterns"]))
        return {"picture": self._pictures(contrasts), "binarised": self._pictures(contrasts > 0.5)}

    def _pictures(self, contrasts):
        """Grey pictures of contrasts (n, grid, grid), no smaller than those that were shown."""
        cell = math.ceil(max(self.picture_shape) / self.settings.grid)
        cells = np.repeat(np.repeat(to_uint8(255 * contrasts), cell, axis=1), cell, axis=2)
        return np.repeat(cells[..., None], 3, axis=-1)

    def summary(self):
        return self.decoder.summary()

    def description(self):
        return {"picture_shape": list(self.picture_shape)}

    def save(self, folder):
        self.decoder.save_pretrained(folder)

    def open(self, workspace):
        self.picture_shape = tuple(workspace.description["picture_shape"])
        self.decoder = MultiscaleDecoder.from_pretrained(workspace.folder)


def _in_words(seconds):
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def contrast_grids(images, grid, progress=SILENT):
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
        progress("reading pictures", min(start + _BLOCK, len(images)), len(images))
    return contrasts
