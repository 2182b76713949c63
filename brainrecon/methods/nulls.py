"""Nulls: methods that everything has to beat before its pictures say something about a brain.

The mean training picture knows no response at all, noise knows the training pictures' greys alone, the nearest training
picture can only repeat, and ridge straight to pixels has no network and no prior. A score that one of them reaches is no
merit of the method that is compared with it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file

from brainrecon.methods.direct import DirectMethod
from stages.decoders.ridge.ridge import ALPHAS, RidgeDecoder
from stages.ground.errors import InputError
from weights.whole_files import whole_file, write_text

_BLOCK = 256


@dataclass(frozen=True)
class NoSettings:
    """A method without settings."""


@dataclass(frozen=True)
class RidgeToPixelsSettings:
    """Side of the predicted pictures in pixels, and the penalties to choose from by leave-one-out error."""

    size: int = 64
    alpha: tuple[float, ...] | float = ALPHAS

    def __post_init__(self):
        if self.size < 1:
            raise InputError(f"size is {self.size}; expected 1 pixel or more: pass --set size=64.")


class _Null(DirectMethod):
    """A null whose knowledge is a few arrays, in `fitted`."""

    settings_class = NoSettings
    fitted: dict

    def save_fitted(self, folder):
        folder = Path(folder)
        with whole_file(folder / "model.safetensors") as partial:
            save_file({name: np.ascontiguousarray(values) for name, values in self.fitted.items()}, partial)
        write_text(folder / "config.json", json.dumps({"class": type(self).__name__}) + "\n")

    def read_fitted(self, folder):
        path = Path(folder) / "model.safetensors"
        try:
            self.fitted = load_file(path)
        except Exception as error:
            raise InputError(
                f"{path} cannot be read ({error}); delete {folder} and fit again with `brainrecon fit`."
            ) from None


class MeanImage(_Null):
    """The average of the training pictures, whatever the response."""

    name = "mean-image"
    explanation = "the average of all training pictures, whatever the response"
    needs_disjoint_pictures = False

    def learn(self, subject, progress=None, folder=None):
        self.fitted = {"mean": _moments(subject.train.images, progress)[0].astype(np.float32)}

    def draw(self, requests, seed):
        return np.repeat(to_uint8(self.fitted["mean"])[None], len(requests), axis=0)


class Noise(_Null):
    """Independent normal noise with the training pictures' mean and standard deviation at each pixel."""

    name = "noise"
    explanation = "independent noise with the training pictures' mean and standard deviation at each pixel"
    needs_disjoint_pictures = False

    def learn(self, subject, progress=None, folder=None):
        mean, deviation = _moments(subject.train.images, progress)
        self.fitted = {"mean": mean.astype(np.float32), "standard_deviation": deviation.astype(np.float32)}

    def draw(self, requests, seed):
        mean, deviation = self.fitted["mean"], self.fitted["standard_deviation"]
        # The response takes no part: neither does whose response it is.
        drawn = [_generator(seed, one).standard_normal(mean.shape, dtype=np.float32) for one in requests]
        return to_uint8(mean + deviation * np.stack(drawn))


class NearestTrainingPicture(_Null):
    """The training picture whose response pattern correlates best with the measured one, over voxels.

    Voxels are standardised by training statistics first, so that none counts for its scale.
    """

    name = "nearest-training-picture"
    # The mean response is no pattern: less the training mean nothing is left of it.
    conditions = tuple(name for name in DirectMethod.conditions if name != "mean_response")
    explanation = "the training picture whose response pattern correlates best with the measured one"

    def learn(self, subject, progress=None, folder=None):
        patterns = subject.train.patterns
        mean, deviation = patterns.mean(axis=0, dtype=np.float64), patterns.std(axis=0, dtype=np.float64)
        # A voxel that never changes tells nothing.
        deviation[deviation <= 1e-7 * np.abs(mean) + 1e-12] = np.inf
        self.fitted = {"patterns": patterns.astype(np.float32), "mean": mean, "standard_deviation": deviation}

    def nearest(self, patterns):
        """Row of the training stimulus for each of patterns (n, n_voxels), array of int (n,)."""
        known = _unit(self._standardised(self.fitted["patterns"]))
        return np.argmax(_unit(self._standardised(patterns)) @ known.T, axis=1)

    def draw(self, requests, seed):
        if self.training_images is None:
            raise InputError(
                f"{self.name} shows training pictures and has none; set its training_images to those it was fitted on, "
                "or open it through its run folder."
            )
        rows = self.nearest(np.stack([one.pattern for one in requests]))
        return np.stack([np.asarray(self.training_images[int(row)]) for row in rows])

    def _standardised(self, patterns):
        return (patterns - self.fitted["mean"]) / self.fitted["standard_deviation"]


class RidgeToPixels(DirectMethod):
    """Ridge regression from patterns to pixels, without rescaling; the penalty by exact leave-one-out error."""

    name = "ridge-to-pixels"
    settings_class = RidgeToPixelsSettings
    explanation = "ridge regression from patterns straight to pixels: no network and no prior"
    conditions = tuple(name for name in DirectMethod.conditions if name != "ridge_to_pixels")

    def learn(self, subject, progress=None, folder=None):
        pixels = small_pictures(subject.train.images, self.settings.size, progress)
        self.decoder = RidgeDecoder(alphas=self.settings.alpha, rescale="none", memory=self.memory, device=self.device)
        self.decoder.fit_targets(subject.train.patterns, {"pixels": pixels.reshape(len(pixels), -1)})

    def draw(self, requests, seed):
        predictions = self.decoder.predict(np.stack([one.pattern for one in requests]))
        return to_uint8(255 * predictions).reshape(-1, self.settings.size, self.settings.size, 3)

    def summary(self):
        decoder = self.decoder
        return [
            {
                "target": "pixels",
                "columns": decoder.groups_["pixels"],
                "penalty": decoder.alpha_["pixels"],
                "held_out_correlation": decoder.held_out_correlation_["pixels"],
            }
        ]

    def save_fitted(self, folder):
        self.decoder.save_pretrained(folder)

    def read_fitted(self, folder):
        self.decoder = RidgeDecoder.from_pretrained(folder).set_params(device=self.device)


def small_pictures(images, size, progress=None):
    """Shrink or enlarge uint8 pictures to float32 (n, size, size, 3) in 0 to 1."""
    return resized_pictures(images, size, progress).astype(np.float32) / 255


def resized_pictures(images, size, progress=None):
    """Shrink or enlarge uint8 pictures to uint8 (n, size, size, 3), bilinear and antialiased, a few at a time."""
    pictures = np.empty((len(images), size, size, 3), dtype=np.uint8)
    for start in range(0, len(images), _BLOCK):
        for row, image in enumerate(np.asarray(images[start : start + _BLOCK]), start=start):
            pictures[row] = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
        if progress:
            progress("reading pictures", min(start + _BLOCK, len(images)), len(images))
    return pictures


def to_uint8(pictures):
    """Pictures in 0 to 255 as uint8: rounded, what lies outside cut off."""
    return np.rint(np.clip(pictures, 0, 255)).astype(np.uint8)


def _moments(images, progress=None):
    """Mean and standard deviation over pictures at each pixel, float64 (height, width, 3), read in blocks."""
    total, squares = 0.0, 0.0
    for start in range(0, len(images), _BLOCK):
        block = np.asarray(images[start : start + _BLOCK], dtype=np.float64)
        total, squares = total + block.sum(axis=0), squares + (block**2).sum(axis=0)
        if progress:
            progress("reading pictures", min(start + _BLOCK, len(images)), len(images))
    mean = total / len(images)
    return mean, np.sqrt(np.maximum(squares / len(images) - mean**2, 0))


def _unit(rows):
    """Rows less their mean, of length one: their products are correlations."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _generator(seed, request):
    """Generator of one picture, which depends on seed, stimulus and sample alone."""
    digest = hashlib.sha256(f"{seed}/{request.stimulus_id}/{request.sample}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
