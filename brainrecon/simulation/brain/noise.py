"""What the scanner and the subject add to the responses of a session: noise, drift and a changing gain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from brainrecon.simulation.brain.anatomy import Anatomy
from brainrecon.simulation.brain.cortex import Cortex
from brainrecon.simulation.brain.smooth_maps import smooth_maps

# Shares of the noise variance: each voxel on its own, with its neighbours, with the whole brain, slow over a
# session, and activity that comes and goes in the very patterns that pictures evoke. The last is what keeps a
# decoder from averaging all noise away over voxels (information-limiting correlations, Moreno-Bote et al.
# 2014, Nat. Neurosci. 17).
_OWN, _NEIGHBOURS, _COMMON, _SLOW, _ECHO = 0.27, 0.35, 0.04, 0.04, 0.30

_SIGMA = 1.3
"""Reach of the correlation between neighbours, voxels."""

_OFFSET = 0.25
"""Standard deviation of a session's additive offset, relative to the noise of a trial."""

_BLOCK = 64
"""Trials that are in memory at once."""


@dataclass(frozen=True)
class Session:
    """How one session treats the responses.

    Attributes
    ----------
    gain : array of shape (n_trials, 1), float32
        Factor of the responses: another level each session, changing slowly within it.
    voxel_gain : array of shape (n_brain,), float32
        Factor of each voxel, for this session.
    offset : array of shape (n_brain,), float32
        Added to every trial, relative to the noise of a trial.
    slow : tuple of arrays (n_trials, 3) and (3, n_brain), float32
        Slow courses over the session and their spatial weights.
    """

    gain: np.ndarray
    voxel_gain: np.ndarray
    offset: np.ndarray
    slow: tuple[np.ndarray, np.ndarray]


def begin_session(anatomy: Anatomy, n_trials: int, generator: np.random.Generator) -> Session:
    """Draw the gain, the offset and the slow drift of one session."""
    time = (np.arange(n_trials, dtype=np.float32) + 0.5) / max(n_trials, 1)
    gain = generator.normal(1, 0.06) * (1 + generator.normal(0, 0.06) * (time - 0.5))
    voxel_gain = 1 + 0.05 * smooth_maps(anatomy, generator, 1, _SIGMA)[0]
    offset = _OFFSET * smooth_maps(anatomy, generator, 1, _SIGMA)[0]
    courses = np.sqrt(2) * np.cos(np.pi * np.arange(1, 4) * time[:, None])
    weights = smooth_maps(anatomy, generator, 3, _SIGMA) / np.sqrt(3)
    return Session(gain[:, None].astype(np.float32), voxel_gain, offset, (courses.astype(np.float32), weights))


def trial_noise(
    anatomy: Anatomy, session: Session, n_trials: int, patterns: np.ndarray, generator: np.random.Generator
) -> Iterator[tuple[slice, np.ndarray]]:
    """Noise of a session's trials, some trials at a time.

    Parameters
    ----------
    anatomy : Anatomy
        The brain.
    session : Session
        Its slow drift is part of the noise.
    n_trials : int
        Trials of the session.
    patterns : array of shape (n_patterns, n_cortex), float32
        Standardised responses of the cortex to some pictures.
    generator : numpy.random.Generator
        Source of the noise.

    Yields
    ------
    trials : slice
        Which trials.
    noise : array of shape (n, n_brain), float32
        Variance one in every cortical voxel, correlated between neighbours, without the session's offset.
    """
    inside = np.count_nonzero(anatomy.brain)
    for start in range(0, n_trials, _BLOCK):
        trials = slice(start, min(start + _BLOCK, n_trials))
        n = trials.stop - trials.start
        noise = np.sqrt(_NEIGHBOURS) * smooth_maps(anatomy, generator, n, _SIGMA)
        noise += np.sqrt(_OWN) * generator.standard_normal((n, inside), dtype=np.float32)
        noise += np.sqrt(_COMMON) * generator.standard_normal((n, 1), dtype=np.float32)
        courses, weights = session.slow
        noise += np.sqrt(_SLOW) * (courses[trials] @ weights)
        # Outside the cortex nothing is evoked, so nothing returns; there the noise is a little weaker.
        echo = generator.standard_normal((n, len(patterns)), dtype=np.float32) @ patterns
        noise[:, anatomy.in_brain] += np.sqrt(_ECHO / len(patterns)) * echo
        yield trials, noise


def scan_session(
    anatomy: Anatomy, cortex: Cortex, evoked: np.ndarray, generator: np.random.Generator, unit: int
) -> np.ndarray:
    """Betas of a session in which each trial evokes a response.

    Parameters
    ----------
    anatomy : Anatomy
    cortex : Cortex
        Says how noisy its voxels are, and in which patterns.
    evoked : array of shape (n_trials, n_cortex), float32
        Noise-free responses, percent signal change.
    generator : numpy.random.Generator
    unit : int
        Percent signal change is stored times this.

    Returns
    -------
    betas : array of shape (n_trials, n_brain), int16
    """
    n_trials, n_brain = len(evoked), np.count_nonzero(anatomy.brain)
    noise_sd = np.full(n_brain, np.median(cortex.noise_sd), np.float32)
    noise_sd[anatomy.in_brain] = cortex.noise_sd
    course = begin_session(anatomy, n_trials, generator)
    betas = np.empty((n_trials, n_brain), np.int16)
    for trials, noise in trial_noise(anatomy, course, n_trials, cortex.patterns, generator):
        percent = (noise + course.offset) * noise_sd
        percent[:, anatomy.in_brain] += evoked[trials] * course.gain[trials] * course.voxel_gain[anatomy.in_brain]
        scaled = np.rint(percent * unit)
        betas[trials] = np.clip(scaled, np.iinfo(np.int16).min, np.iinfo(np.int16).max)
    return betas
