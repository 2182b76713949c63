"""Simulated voxels in bands, and what scikit-learn predicts from them."""

import sys

import numpy as np
import pytest
from sklearn.linear_model import Ridge

SHAPES = {"fewer trials than voxels": (40, 90), "more trials than voxels": (90, 40)}
both_shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def simulated(n_stimuli, n_voxels, n_targets=7, noise=5.0, seed=0):
    generator = np.random.default_rng(seed)
    patterns = generator.normal(2, 3, size=(n_stimuli, n_voxels))
    weights = generator.normal(size=(n_voxels, n_targets))
    return patterns, patterns @ weights + 10 + noise * generator.normal(size=(n_stimuli, n_targets))


def planted(n_stimuli, n_signal=30, n_noise=400, n_targets=5, seed=0):
    """Targets that only the first voxels know of; the bands that say so."""
    generator = np.random.default_rng(seed)
    weights = np.random.default_rng(99).normal(size=(n_signal, n_targets))
    patterns = generator.normal(size=(n_stimuli, n_signal + n_noise))
    targets = patterns[:, :n_signal] @ weights + 3 * generator.normal(size=(n_stimuli, n_targets))
    signal = np.arange(n_signal + n_noise) < n_signal
    return patterns, targets, {"signal": signal, "noise": ~signal}


def thirds(n_voxels):
    return {name: np.arange(n_voxels) % 3 == k for k, name in enumerate(["V1", "V2", "V3"])}


def standardised(patterns, train):
    return (patterns - train.mean(axis=0)) / train.std(axis=0, ddof=1)


def correlations_of_columns(first, second):
    return [np.corrcoef(*columns)[0, 1] for columns in zip(first.T, second.T)]


def predicted_by_scikit_learn(decoder, name, patterns, targets, new):
    """Ridge with a penalty of 1 on voxels scaled by 1 / sqrt(penalty of their band)."""
    penalty = np.array([decoder.band_penalty_[name][band] for band in decoder.band_names_])[decoder.band_of_voxel_]
    scaled, scaled_new = (standardised(each, patterns) / np.sqrt(penalty) for each in (patterns, new))
    return Ridge(1.0).fit(scaled, targets).predict(scaled_new)


def without_himalaya(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "himalaya"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "himalaya", None)
