r"""How well each unit of a target follows from responses, and which units are kept for it.

Lu and others (2023, MindDiffuser) leave units of CLIP's layers out of a search that nothing predicts. The score of a unit is
the mean over five folds, blocks of neighbouring stimuli, of :math:`|r|` between its held-out values and their prediction. Units
from a percentile on are kept.

Their predictions are those of himalaya's ``SparseGroupLassoCV()``, whose penalties are 0 by default. What is left of it is least
squares without an intercept by accelerated gradient descent: step 1 / L for the largest eigenvalue L of X'X, the momentum of
FISTA (Beck and Teboulle, 2009), 300 steps, or fewer where a step changes the weights of a unit by no more than 1e-4 of their
norm. With more voxels than stimuli it is the early stopping alone that keeps it from fitting noise. Descent is linear, so that
along the singular vectors of the patterns each step is a factor that all units share.
"""

from __future__ import annotations

import numpy as np
import torch

from stages.decoders.ridge.target_blocks import finite, plan, read_ahead
from stages.ground.checks import Number, OneOf, check
from stages.ground.progress import SILENT

WAYS = ("least squares", "ridge")
STEPS, TOLERANCE = 300, 1e-4


def unit_scores(patterns, targets, *, way="least squares", alpha=1000.0, folds=5, device="cpu", progress=SILENT):
    """Score every unit of some targets.

    >>> random = np.random.default_rng(0)
    >>> patterns = random.normal(size=(60, 5))
    >>> values = np.stack([patterns @ random.normal(size=5), random.normal(size=60)], axis=1)
    >>> scores = unit_scores(patterns, {"layer": values})["layer"]
    >>> scores.shape, bool(scores[0] > 0.99), bool(scores[1] < 0.6)
    ((2,), True, True)

    Parameters
    ----------
    patterns : array of shape (n_stimuli, n_voxels), finite
        Standardised here.
    targets : mapping of str to array-like of shape (n_stimuli, n_units)
        In memory, or anything with ``shape`` and a method ``columns(start, stop)``; read block by block.
    way : {"least squares", "ridge"}
        How units are predicted: as above, or by ridge under one penalty.
    alpha : float
        That penalty, for standardised voxels.
    folds : int
        Blocks of neighbouring stimuli, each held out once.
    device : str or torch.device
    progress : callable, optional
        Called with (label, done, total).

    Returns
    -------
    scores : dict of str to float32 array of shape (n_units,)
        From 0 to 1; 0 for a unit that is constant, or predicted to be, in every fold.

    Raises
    ------
    InputError
        A setting has another value, there are fewer stimuli than folds need, or values are not finite.
    """
    check("way", way, OneOf(*WAYS))
    check("alpha", alpha, Number(0, above=True, example=1000.0))
    check("folds", folds, Number(2, max(len(patterns) // 2, 2), whole=True, example=2))
    standardised = _standardised(patterns, device)
    parts = np.array_split(np.arange(len(standardised)), folds)
    fits = [_Fold(standardised, rows, way, alpha) for rows in parts]
    sizes = {name: int(target.shape[1]) for name, target in targets.items()}
    scores = {name: np.zeros(size, dtype=np.float32) for name, size in sizes.items()}
    for block, values in read_ahead(targets, plan(sizes, 1024), torch.float32, device):
        values = finite(values, block.name).double()
        values = (values - values.mean(dim=0)) / _scale(values)
        found = torch.stack([fold.correlations(values) for fold in fits]).abs().mean(dim=0)
        scores[block.name][block.columns] = found.float().cpu().numpy()
        progress("scoring units", block.place.stop, sum(sizes.values()))
    return scores


def kept_units(scores, rate):
    """Return which units are kept: those of the percentile `rate` or above.

    >>> kept_units(np.float32([0.1, 0.4, 0.3, 0.2]), 75).tolist()
    [False, True, False, False]

    Parameters
    ----------
    scores : array of shape (n_units,)
    rate : float
        Percent that are left out. MindDiffuser's files are named after what is left: ``Folder_5_25`` has the units of rate 75.

    Returns
    -------
    kept : bool array of shape (n_units,)
    """
    check("rate", rate, Number(0, 100, below=True, example=75))
    scores = np.asarray(scores)
    return scores >= np.percentile(scores, rate)


def _standardised(patterns, device):
    values = torch.as_tensor(np.asarray(patterns), dtype=torch.float64, device=device)
    return (values - values.mean(dim=0)) / _scale(values)


def _scale(values):
    """Standard deviation of each column, 1 where nothing varies."""
    spread = values.std(dim=0, correction=0)
    return torch.where(spread > 1e-12 * values.abs().amax(dim=0).clamp(min=1e-30), spread, torch.ones_like(spread))


class _Fold:
    """Predictions of the rows that are held out, by X = U S V' of the others."""

    def __init__(self, patterns, held_out, way, alpha):
        self.held_out = torch.as_tensor(held_out, device=patterns.device)
        rest = torch.ones(len(patterns), dtype=torch.bool, device=patterns.device)
        rest[self.held_out] = False
        self.rest, self.way, self.alpha = rest, way, alpha
        self.left, self.singular, right = torch.linalg.svd(patterns[rest], full_matrices=False)
        self.new = patterns[self.held_out] @ right.T
        self.filters = _filters(self.singular)

    def correlations(self, values):
        """Of held-out values with their predictions, tensor (n_units,)."""
        projected = self.left.T @ values[self.rest]
        if self.way == "ridge":
            weights = (self.singular / (self.singular**2 + self.alpha))[:, None] * projected
        else:
            weights = _descended(self.filters, projected)
        return _correlation(self.new @ weights, values[self.held_out])


def _filters(singular):
    """What each of the steps makes of a projection onto each singular vector, (STEPS + 1, rank); nothing before the first.

    Descent from zeros is linear in what it is given, and along a singular vector it goes by its singular value alone.
    """
    curvature, wanted = singular**2 / singular[0] ** 2, singular / singular[0] ** 2
    found, ahead, momentum = [torch.zeros_like(singular)], torch.zeros_like(singular), 1.0
    for _ in range(STEPS):
        stepped = ahead - curvature * ahead + wanted
        next_momentum = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = stepped + (momentum - 1) / next_momentum * (stepped - found[-1])
        found.append(stepped)
        momentum = next_momentum
    return torch.stack(found)


def _descended(filters, projected):
    """Weights along the singular vectors after accelerated gradient descent on the squared error, (rank, n_units)."""
    squares = projected.square()
    changes = (filters.diff(dim=0).square() @ squares).sqrt()
    sizes = (filters[1:].square() @ squares).sqrt()
    stops = changes <= TOLERANCE * (sizes + 1e-16)
    # A unit that never stops takes the last step.
    stops[-1] = True
    return filters[1:][stops.int().argmax(dim=0)].T * projected


def _correlation(predicted, truth):
    predicted, truth = predicted - predicted.mean(dim=0), truth - truth.mean(dim=0)
    product = predicted.norm(dim=0) * truth.norm(dim=0)
    return torch.where(product > 0, (predicted * truth).sum(dim=0) / product, torch.zeros_like(product))
