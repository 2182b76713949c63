"""What the models of all units share, and the fit of a block of units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from stages.decoders.ridge.factorisation import TrainingPatterns, centre
from stages.decoders.ridge.target_blocks import width_for
from stages.decoders.unitwise.chosen_voxels import LEAST_VARIANCE, chosen_voxels, places_of
from stages.decoders.unitwise.selected_ridge import SelectedRidge, cheapest_way
from stages.decoders.unitwise.sparse_linear_regression import INITIAL, PRUNE, STOP, SparseRegressions
from stages.decoders.unitwise.unit_storage import KEEP
from stages.ground.checks import Number, OneOf
from stages.ground.errors import InputError


@dataclass(frozen=True)
class _Voxels:
    """Rule: a whole number of 1 or more, or "all"."""

    example: int = 500

    def holds(self, value):
        return value == "all" if isinstance(value, str) else Number(1, whole=True).holds(value)

    def __str__(self):
        return "a whole number of 1 or more or 'all'"


RULES = {
    "kind": OneOf("ridge", "ard"),
    "voxels": _Voxels(),
    "alpha": Number(0, above=True, example=100.0),
    "iterations": Number(1, whole=True, example=2000),
    "initial": OneOf(*INITIAL),
    "prune": OneOf(*PRUNE),
    "stop": OneOf(*STOP),
    "statistics": OneOf("stimuli", "trials"),
    "keep": OneOf(*KEEP),
}


@dataclass(frozen=True)
class FittedUnits:
    """Models of a block of units.

    Attributes
    ----------
    solved : tensor of shape (n_units, ...)
        What the models take.
    chosen : bool tensor of shape (n_units, n_varying)
    n_kept : int array of shape (n_units,)
        Voxels that have a weight.
    mean, scale : float64 array of shape (n_units,)
    """

    solved: torch.Tensor
    chosen: torch.Tensor
    n_kept: np.ndarray
    mean: np.ndarray
    scale: np.ndarray


class UnitModels:
    """Standardised training patterns and what is made of them once, for all units.

    Parameters
    ----------
    X : array of shape (n_trials, n_voxels), float32 or float64
    trials : stages.decoders.ridge.leave_one_out.Trials
    settings : object
        With the attributes of `stages.decoders.unitwise.unitwise.UnitwiseDecoder`'s parameters.

    Attributes
    ----------
    training : stages.decoders.ridge.factorisation.TrainingPatterns
    device : torch.device
    n_constant, n_chosen : int
        Voxels that do not vary, and voxels of each unit.
    """

    def __init__(self, X, trials, settings):
        self.training, self._trials, self._statistics = (
            TrainingPatterns(X, settings.device),
            trials,
            settings.statistics,
        )
        self.device = self.training.device
        standardised = self.training.standardised(X)
        self._varying = standardised.var(dim=0, correction=0) >= LEAST_VARIANCE
        n_varying = int(self._varying.sum())
        self.n_constant = len(self._varying) - n_varying
        if not n_varying:
            raise InputError(
                f"None of {len(self._varying):,} voxels varies over {len(X):,} trials; give responses that differ from trial to "
                "trial."
            )
        self.n_chosen = n_varying if settings.voxels == "all" else min(settings.voxels, n_varying)
        inputs = self._with_ones(standardised)
        del standardised
        # A stimulus's trials have one value of each unit: their sum is all that products with units need.
        self._summed = trials.summed(inputs, 0)
        self._counts = torch.from_numpy(trials.counts).to(self.device, torch.float64)
        self._length = inputs[:, :-1].norm(dim=0)
        if settings.kind == "ridge":
            self._models = SelectedRidge(inputs, settings.alpha, self.n_chosen)
        else:
            named = {name: getattr(settings, name) for name in ("iterations", "initial", "prune", "stop")}
            self._models = SparseRegressions(inputs, **named)

    def _with_ones(self, standardised):
        """The voxels that vary, and a column of ones."""
        return torch.cat([standardised[:, self._varying], standardised.new_ones(len(standardised), 1)], dim=1)

    def fit(self, values):
        """Fit units.

        Parameters
        ----------
        values : tensor of shape (n_stimuli, n_units)
            Finite.

        Returns
        -------
        FittedUnits
        """
        # In 64 bits as far as the choice of voxels: it is the same then, wherever it is made.
        values = values.double()
        counts = self._counts if self._statistics == "trials" else None
        mean, scale = centre(values, counts)
        values /= torch.from_numpy(scale).to(self.device)
        products = values.T @ self._summed
        # Of voxels whose mean is 0; a unit that does not vary correlates with nothing.
        spread = self._counts @ values.square() - products[:, -1] ** 2 / self._trials.n_trials
        shorter = torch.where(spread > 0, spread.clamp(min=0).rsqrt(), 0.0)
        correlations = (products[:, :-1] / self._length).mul_(shorter[:, None])
        chosen = chosen_voxels(correlations, self.n_chosen)
        shown = self._trials.stimuli
        solved = self._models.solve(products, chosen, lambda: values if self._trials.once else values[shown])
        n_kept = self._models.n_kept(solved) if hasattr(self._models, "n_kept") else self.n_chosen
        return FittedUnits(solved, chosen, np.broadcast_to(n_kept, len(mean)), mean, scale)

    def weights(self, units):
        """Voxels (n_units, n_chosen) of units, their weights, and intercepts (n_units,), for standardised values."""
        places = places_of(units.chosen)
        weights = self._models.weights(units.solved)
        varying = self._varying.nonzero()[:, 0]
        return (
            varying[places].cpu().numpy(),
            weights.gather(1, places).cpu().numpy(),
            weights[:, -1].double().cpu().numpy(),
        )

    def reader(self, patterns):
        """What `predict` takes for new patterns (n_new, n_voxels)."""
        return self._models.reader(self._with_ones(self.training.standardised(patterns)))

    def predict(self, units, reader):
        """Predictions (n_new, n_units) in the units' own scale, float64."""
        predicted = self._models.predict(units.solved, reader).T.double().cpu().numpy()
        return predicted * units.scale + units.mean


def operations_of_a_unit(settings, n_trials, n_voxels):
    """Operations of a unit's model, beside those of its products with the patterns."""
    n_chosen = n_voxels if settings.voxels == "all" else min(settings.voxels, n_voxels)
    if settings.kind == "ridge":
        return int(cheapest_way(n_trials, n_voxels, n_chosen)[1])
    return 2 * settings.iterations * min(n_chosen, n_trials) ** 3


def width_of_blocks(settings, n_trials, n_voxels, n_stimuli, n_new):
    """Columns of a block under a memory budget; an InputError if it is too small for what all units share."""
    shared = 8 * (4 * n_trials * n_voxels + 3 * n_voxels**2) + 6e8
    left = np.inf if settings.memory is None else settings.memory - shared
    if left < 0:
        raise InputError(
            f"A fit of {n_trials:,} trials and {n_voxels:,} voxels needs {shared / 1e9:.1f} GB but memory is "
            f"{settings.memory / 1e9:.1f} GB; give more with --memory, or choose a smaller roi."
        )
    # Values in 32 bits as they are read and in 64 at work; products, correlations, ranks, and solutions.
    return width_for(left, 2 * n_stimuli, n_new + 4 * n_voxels, 8)
