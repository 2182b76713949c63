"""How a simulated early visual cortex answers patterns of flickering checkers on grey.

A cell of the pattern that is on has contrast one, any other has none. A voxel pools contrast over a Gaussian
receptive field, is held back by contrast around it, and compresses what is left (compressive spatial summation, Kay
et al. 2013, J. Neurophysiol. 110). Fields lie densely and are small at the centre of gaze; they widen outwards and
from V1 to V2 and V3.
"""

import math
from dataclasses import replace

import numpy as np
from scipy.special import ndtr

from brainrecon.simulation.brain.anatomy import (
    ATLASES,
    EARLY_SHARE,
    FARTHEST_ECCENTRICITY,
    NEAREST_ECCENTRICITY,
    Anatomy,
    grow_anatomy,
)

AREAS = ("V1", "V2", "V3")
SIDE = 10
CELL_DEGREES = 1.15
"""Side of a cell, degrees of visual angle: ten of them are 11.5 degrees, as in Miyawaki et al. (2008)."""

FEWEST_VOXELS, MOST_VOXELS = 50, 100_000
"""Of V1 and V2 together."""

SIGNAL_TO_NOISE = 0.22
"""Median over V1 and V2: standard deviation of the noise-free response to random patterns over that of the noise of a
single trial. With it one linear decoder per cell, trained on 440 random patterns, gets 77 % of the figures' cells right;
figures have 67 % of their cells off."""

# Eccentricity of the outermost field, and where cortical magnification has fallen to half: 17.3 mm / (e + 0.75 degrees)
# (Horton and Hoyt 1991, Arch. Ophthalmol. 109).
_OUTERMOST, _HALF_MAGNIFICATION = 8.5, 0.75

# Standard deviation of a receptive field in degrees: at the centre of gaze, and growth per degree of eccentricity.
# A voxel of 3 mm pools over wider fields than one of 1.8 mm.
_FIELD_SIZES = {"V1": (0.45, 0.10), "V2": (0.55, 0.14), "V3": (0.75, 0.20)}
_EXPONENTS = {"V1": 0.70, "V2": 0.60, "V3": 0.50}

_SURROUND_SIZE, _SUPPRESSION = 3.0, 0.5
"""Width of the surround, relative to the field, and how strongly full contrast there divides the response."""

_NOISE_PERCENT = 0.6
"""Median standard deviation of the noise of a single trial, percent signal change."""


def grow_early_cortex(n_voxels: int, generator: np.random.Generator) -> Anatomy:
    """Lay out V1, V2 and V3 of both hemispheres.

    Parameters
    ----------
    n_voxels : int
        Of V1 and V2 together, `FEWEST_VOXELS` to `MOST_VOXELS`; V3 has two fifths as many on top.
    generator : numpy.random.Generator
        Source of the brain's shape.

    Returns
    -------
    Anatomy
        Whose cortex ends where V3 ends. Eccentricities are spaced as cortical magnification has it.
    """
    # V1 and V2 are 0.58 of the early areas; the areas' borders round either way, so a few voxels are grown too many.
    whole = grow_anatomy(math.ceil(n_voxels / (0.58 * EARLY_SHARE)) + 30, generator)
    central = np.argsort(whole.eccentricity, kind="stable")
    wanted = {}
    for areas, most in ((AREAS[:2], n_voxels), (AREAS[2:], len(central))):
        names = [name for name in ATLASES["prf-visualrois"] if name[:2] in areas]
        inside = whole.within("prf-visualrois", *names)
        wanted[areas] = central[inside[central]][:most]
    kept = np.sort(np.concatenate(list(wanted.values())))
    rank = (whole.eccentricity[kept] - NEAREST_ECCENTRICITY) / (FARTHEST_ECCENTRICITY - NEAREST_ECCENTRICITY)
    return replace(
        whole,
        ribbon=whole.ribbon[kept],
        right=whole.right[kept],
        labels={atlas: labels[kept] for atlas, labels in whole.labels.items()},
        eccentricity=_eccentricity(rank).astype(np.float32),
        polar_angle=whole.polar_angle[kept],
    )


def _eccentricity(rank):
    """Eccentricity within which a share of the cortex sees, for shares 0 to 1: the area goes as e / (e + e0)^2 de."""
    known = np.linspace(0, _OUTERMOST, 2001)
    share = np.log1p(known / _HALF_MAGNIFICATION) - known / (known + _HALF_MAGNIFICATION)
    return np.interp(rank, share / share[-1], known)


class LocalContrastCortex:
    """One subject's tuning.

    Parameters
    ----------
    anatomy : Anatomy
        Of `grow_early_cortex`.
    generator : numpy.random.Generator
        Source of every receptive field, gain and noise level.
    noise : float
        Noise relative to the level at which decoding is as hard as in the published data; 0 or more.

    Attributes
    ----------
    areas : array of str, shape (n_cortex,)
        "V1", "V2" or "V3".
    x, y, size : arrays of shape (n_cortex,), float32
        Centre of the receptive field, right and up of the centre of gaze, and its standard deviation, degrees.
    baseline, gain, noise_sd : arrays of shape (n_cortex,), float32
        Response to grey, what full contrast everywhere would add but for the surround, and standard deviation of the
        noise of a single trial, all in percent signal change.
    """

    def __init__(self, anatomy: Anatomy, generator: np.random.Generator, noise: float = 1.0):
        self.anatomy, n = anatomy, anatomy.n_cortex
        names = np.array(["", *(name[:2] for name in ATLASES["prf-visualrois"])])
        self.areas = names[anatomy.labels["prf-visualrois"]]
        eccentricity = anatomy.eccentricity * generator.lognormal(0, 0.05, n)
        angle = np.deg2rad(anatomy.polar_angle + generator.normal(0, 4, n))
        sizes, self.exponent = (
            np.array([table[area] for area in self.areas], np.float32) for table in (_FIELD_SIZES, _EXPONENTS)
        )
        size = (sizes[:, 0] + sizes[:, 1] * eccentricity) * generator.lognormal(0, 0.15, n)
        x, y = eccentricity * np.cos(angle), eccentricity * np.sin(angle)
        self.x, self.y, self.size = (values.astype(np.float32) for values in (x, y, size))
        self.fields = cell_weights(x, y, size)
        self._surrounds = cell_weights(x, y, _SURROUND_SIZE * size)
        self.baseline = generator.normal(0, 0.3, n).astype(np.float32)
        self.noise_sd = (_NOISE_PERCENT * generator.lognormal(0, 0.25, n)).astype(np.float32)
        self.gain = generator.lognormal(0, 0.5, n).astype(np.float32)
        # The same patterns for everyone, so that subjects of whatever size are equally hard to decode.
        known = self.respond(np.random.default_rng(0).integers(0, 2, (400, SIDE, SIDE))).std(axis=0)
        self.gain *= SIGNAL_TO_NOISE / np.median((known / self.noise_sd)[np.isin(self.areas, AREAS[:2])])
        self.noise_sd *= np.float32(noise)

    def respond(self, patterns: np.ndarray) -> np.ndarray:
        """Noise-free responses, (n_patterns, n_cortex) float32, to patterns (n_patterns, 10, 10) of 0 and 1."""
        contrast = np.asarray(patterns, np.float32).reshape(-1, SIDE * SIDE)
        drive = (contrast @ self.fields) / (1 + _SUPPRESSION * (contrast @ self._surrounds))
        return self.baseline + self.gain * np.power(drive, self.exponent)


def cell_weights(x, y, size):
    """How much of a Gaussian receptive field falls on each cell.

    Parameters
    ----------
    x, y, size : arrays of shape (n_voxels,)
        Centre, right and up of the centre of gaze, and standard deviation, degrees.

    Returns
    -------
    weights : array of shape (100, n_voxels), float32
        Cells row by row from the top. A column sums to the share of the field that lies on the stimulus, 0 to 1.
    """
    edges = (np.arange(SIDE + 1) - SIDE / 2)[:, None] * CELL_DEGREES
    across = np.diff(ndtr((edges - x) / size), axis=0)
    down = np.diff(ndtr((edges + y) / size), axis=0)
    weights = (down[:, None] * across[None]).reshape(SIDE * SIDE, -1).astype(np.float32)
    # Denormal numbers in the tails would make the pooling many times slower.
    weights[weights < 1e-9] = 0
    return weights
