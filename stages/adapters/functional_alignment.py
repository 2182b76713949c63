"""Functional alignment: one subject's patterns in the voxels of another, whose decoder then reads them.

Ferrante, Boccato, Ozcelik, VanRullen and Toschi (2024, Imaging Neuroscience) fit an aligner on responses of both subjects to the
same stimuli: ridge, a rotation with a scale, or nothing but anatomy. What comes out has the spread of a prediction, so that
every voxel is brought to the mean and standard deviation that the target's own responses to these stimuli have.

An aligner reads the target's responses to the stimuli that it is fitted on, and hands them to the decoder: with more voxels than
stimuli and a small penalty it repeats them, whatever the source's responses are. Stimuli that are tested must not be among them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from stages.adapters.affine_map import AffineMap
from stages.adapters.alignment_pairs import alignment_pairs, one_grid
from stages.adapters.fmralign_methods import fit_fmralign
from stages.adapters.procrustes import fit_procrustes
from stages.adapters.ridge_alignment import fit_ridge
from stages.adapters.shared_response import fit_shared_response
from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError
from stages.ground.reading.wall import reading
from weights.whole_files import whole_file, write_text

STATISTICS = ("alignment", "transductive", "none")
# Added to a spread before it divides, as published.
EPSILON = 1e-8
MODEL, CONFIG = "model.safetensors", "config.json"


class FunctionalAlignment:
    """Bring a source's patterns into the voxels of a target.

    >>> random = np.random.default_rng(0)
    >>> target = random.standard_normal((60, 5)) + 2
    >>> source = target @ random.standard_normal((5, 8))
    >>> alignment = FunctionalAlignment("ridge", alphas=(1e-6, 1.0)).fit(source[:50], target[:50])
    >>> bool(np.allclose(alignment.transform(source[50:]), target[50:], atol=1e-3))
    True

    Parameters
    ----------
    method : {"ridge", "procrustes", "anatomical", "shared_response", "optimal_transport"}
        "anatomical" is the identity, for subjects on one grid. "optimal_transport" is fmralign's.
    statistics : {"alignment", "transductive", "none"}
        Bring each voxel to the target's mean and standard deviation: against aligned patterns of the stimuli that the alignment
        was fitted on; or, as published, of the very patterns that are passed to `transform`, all together; or not at all.
        Anatomical alignment leaves patterns as they are.
    **options
        Of the method: those of `stages.adapters.ridge_alignment.fit_ridge`, `stages.adapters.procrustes.fit_procrustes`,
        `stages.adapters.shared_response.fit_shared_response` and `stages.adapters.fmralign_methods.fit_fmralign`.

    Attributes
    ----------
    found : dict of str to float
        What the fit chose: ``alpha`` of ridge and its leave-one-out error, ``scale`` of a rotation.
    n_stimuli : int
        That it was fitted on.
    n_source_voxels, n_target_voxels : int
    """

    def __init__(self, method: str = "ridge", statistics: str = "alignment", **options: Any) -> None:
        check("method", method, OneOf(*METHODS))
        check("statistics", statistics, OneOf(*STATISTICS))
        self.method, self.statistics, self.options = method, statistics, options
        self.found: dict[str, float] = {}
        self._map: AffineMap | None = None
        self._spreads: dict[str, np.ndarray] = {}

    def __repr__(self) -> str:
        return f"FunctionalAlignment({self.method!r}, statistics={self.statistics!r})"

    @classmethod
    def identity(cls, n_voxels: int) -> FunctionalAlignment:
        """What leaves patterns of so many voxels as they are: the alignment of a subject to itself.

        >>> FunctionalAlignment.identity(3).transform([[1, 2, 3]]).tolist()
        [[1.0, 2.0, 3.0]]
        """
        found = cls("anatomical")
        found.n_stimuli, found.n_source_voxels, found.n_target_voxels = 0, n_voxels, n_voxels
        return found

    def fit(self, source: np.ndarray, target: np.ndarray) -> FunctionalAlignment:
        """Learn from both subjects' responses to the same stimuli.

        Parameters
        ----------
        source : array of shape (n_stimuli, n_source_voxels)
        target : array of shape (n_stimuli, n_target_voxels)
            Row by row of one stimulus, in the units of the target's training patterns.

        Returns
        -------
        self

        Raises
        ------
        InputError
            Rows are fewer than two or not paired, values are not finite, or a method needs one grid and the subjects have two.
        """
        source, target = alignment_pairs(source, target)
        self.n_stimuli, self.n_source_voxels = source.shape
        self.n_target_voxels = target.shape[1]
        fitted, self.found = METHODS[self.method](source, target, self.options)
        self._map = None if fitted is None else fitted.astype(np.float32)
        self._spreads = {}
        if fitted is not None and self.statistics != "none":
            aligned = self._map(source.astype(np.float32))
            self._spreads = _spreads("aligned", aligned) | _spreads("target", target)
        return self

    def transform(self, patterns: np.ndarray) -> np.ndarray:
        """Patterns (n_stimuli, n_source_voxels) in the target's voxels, float32 (n_stimuli, n_target_voxels).

        Raises
        ------
        InputError
            They have another number of voxels; or there is one of them, which has no spread of its own for "transductive".
        """
        patterns = np.asarray(patterns, dtype=np.float32)
        if self._map is None:
            if patterns.ndim != 2 or patterns.shape[1] != self.n_source_voxels:
                raise InputError(
                    f"Patterns have shape {patterns.shape} but the alignment was fitted on {self.n_source_voxels:,} voxels; load "
                    "the same subject and roi, or align this one."
                )
            return patterns
        aligned = self._map(patterns)
        if not self._spreads:
            return aligned
        own = self._spreads
        if self.statistics == "transductive":
            if len(aligned) < 2:
                raise InputError(
                    "One pattern has no spread of its own, which statistics='transductive' divides by; pass several together, or "
                    "fit with statistics='alignment'."
                )
            own = own | _spreads("aligned", aligned)
        standard = (aligned - own["aligned_mean"]) / (own["aligned_spread"] + np.float32(EPSILON))
        return standard * own["target_spread"] + own["target_mean"]

    def summary(self) -> list[dict[str, Any]]:
        """What was learned, a row."""
        rank = self.n_source_voxels if self._map is None else self._map.left.shape[1]
        return [{"alignment": self.method, "stimuli": self.n_stimuli, "rank": rank} | self.found]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``model.safetensors``, and then ``config.json``."""
        folder = Path(folder)
        tensors = {} if self._map is None else self._map.tensors
        tensors |= {f"statistics.{name}": values for name, values in self._spreads.items()}
        with whole_file(folder / MODEL) as partial:
            save_file({name: np.ascontiguousarray(values) for name, values in tensors.items()}, partial)
        told = {name: list(value) if isinstance(value, tuple) else value for name, value in self.options.items()}
        config = {"class": type(self).__name__, "method": self.method, "statistics": self.statistics, "options": told}
        sizes = {name: getattr(self, name) for name in _SIZES}
        write_text(folder / CONFIG, json.dumps(config | sizes | {"found": self.found}, indent=1) + "\n")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> FunctionalAlignment:
        """Open what `save_pretrained` wrote; an InputError if files are missing or damaged."""
        folder, remedy = Path(folder), "fit the alignment again with `brainrecon fit`"
        with reading(folder / CONFIG, "the configuration of an alignment", remedy):
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            opened = cls(config["method"], config["statistics"], **config["options"])
            opened.found = dict(config["found"])
            for name in _SIZES:
                setattr(opened, name, int(config[name]))
        with reading(folder / MODEL, "the tensors of an alignment", remedy):
            tensors = load_file(folder / MODEL)
            opened._spreads = {
                name: tensors.pop(kept) for name in _SPREADS if (kept := f"statistics.{name}") in tensors
            }
            opened._map = AffineMap(**tensors) if tensors else None
            shape = (
                (opened._map.n_source_voxels, opened._map.n_target_voxels)
                if opened._map
                else (opened.n_source_voxels, opened.n_source_voxels)
            )
            if shape != (opened.n_source_voxels, opened.n_target_voxels):
                raise ValueError(f"a map of {shape[0]:,} to {shape[1]:,} voxels beside another {CONFIG}")
        return opened


_SIZES = ("n_stimuli", "n_source_voxels", "n_target_voxels")
_SPREADS = tuple(f"{whose}_{what}" for whose in ("aligned", "target") for what in ("mean", "spread"))


def _spreads(whose: str, values: np.ndarray) -> dict[str, np.ndarray]:
    mean, spread = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    return {f"{whose}_mean": mean.astype(np.float32), f"{whose}_spread": spread.astype(np.float32)}


def _ridge(source: np.ndarray, target: np.ndarray, options: Mapping) -> tuple:
    fitted, alpha, errors = fit_ridge(source, target, **options)
    return fitted, {"alpha": alpha, "leave-one-out error": errors[alpha]}


def _procrustes(source: np.ndarray, target: np.ndarray, options: Mapping) -> tuple:
    fitted, scale = fit_procrustes(source, target, **options)
    return fitted, {"scale": scale}


def _anatomical(source: np.ndarray, target: np.ndarray, options: Mapping) -> tuple:
    one_grid(source.shape[1], target.shape[1], "anatomical")
    return None, {}


def _shared_response(source: np.ndarray, target: np.ndarray, options: Mapping) -> tuple:
    return fit_shared_response(source, target, **options), {}


def _optimal_transport(source: np.ndarray, target: np.ndarray, options: Mapping) -> tuple:
    return fit_fmralign(source, target, **options), {}


METHODS: dict[str, Callable[[np.ndarray, np.ndarray, Mapping], tuple]] = {
    "ridge": _ridge,
    "procrustes": _procrustes,
    "anatomical": _anatomical,
    "shared_response": _shared_response,
    "optimal_transport": _optimal_transport,
}
