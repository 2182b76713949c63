"""Ridge whose penalty is chosen for each column of a target by k-fold cross-validation, with or without an intercept.

For standardised voxels X (mean 0 and standard deviation 1 over the training trials) and a column y of a target

    minimise over w   ||y - X w||^2 + alpha ||w||^2,

with the alpha whose held-out squared error, averaged over k folds, is least. Without an intercept y is taken as it is: its mean
is not modelled, and predictions have mean 0 over the training trials. With one, the mean of the trials that are fitted is
taken off before and added again.

This is what himalaya's ``RidgeCV`` does behind scikit-learn's ``StandardScaler`` (both without an intercept by default), by one
singular value decomposition for each fold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from stages.decoders import decoder_files
from stages.decoders.decoder_files import plain, shapes_of
from stages.decoders.ridge.by_blocks import FittedByBlocks, stimuli_shown
from stages.decoders.ridge.factorisation import TrainingPatterns, centre
from stages.decoders.ridge.leave_one_out import Trials
from stages.decoders.ridge.ridge_solver import penalties
from stages.decoders.ridge.target_blocks import TargetBlock, finite, plan, read_ahead, width_for
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError
from stages.ground.progress import SILENT

ALPHAS = tuple(float(alpha) for alpha in np.logspace(-6, 0, 7))
FOLDS_OF = ("trials", "stimuli")
RULES = {"folds": Number(2, whole=True, example=5), "folds_of": OneOf(*FOLDS_OF)}
ENTRIES = frozenset("parameters n_voxels single_output groups alpha error".split())


@dataclass(frozen=True)
class SolvedColumns:
    """A block of columns.

    Attributes
    ----------
    block : stages.decoders.ridge.target_blocks.TargetBlock
    alpha : float64 array of shape (n_columns,)
        The penalty of each column.
    error : float64 array of shape (n_columns,)
        Its held-out error: 1 is the error of predicting the mean of the column.
    weights : array of shape (n_voxels, n_columns)
    offset : float64 array of shape (n_columns,)
    predictions : array of shape (n_new, n_columns), or None
    """

    block: TargetBlock
    alpha: np.ndarray
    error: np.ndarray
    weights: np.ndarray
    offset: np.ndarray
    predictions: np.ndarray | None


class KFoldRidgeDecoder(FittedByBlocks):
    """Ridge regression from patterns to one or several targets, a penalty for each column.

    >>> random = np.random.default_rng(0)
    >>> patterns, targets = random.normal(size=(40, 9)), 50 + random.normal(size=(40, 7))
    >>> decoder = KFoldRidgeDecoder(intercept=False).fit(patterns, targets, groups={"latent": 4, "text": 3})
    >>> bool(np.abs(decoder.predict(patterns).mean(axis=0)).max() < 1e-9)
    True
    >>> round(KFoldRidgeDecoder().fit(patterns, targets).predict(patterns).mean())
    50

    Parameters
    ----------
    alphas : float, sequence of float, or dict of str to either
        Penalties to choose from, for standardised voxels. A dict gives each target its own.
    folds : int
        Blocks of neighbouring trials, as equal as they can be; each is held out once.
    folds_of : {"trials", "stimuli"}
        Cut the trials as they come, so that repeats of a stimulus may be fitted and held out at a time; or cut the stimuli,
        and hold out all trials of a stimulus together.
    intercept : bool
        Whether the mean of a column is modelled.
    memory : float, optional
        Bytes that a fit may take; the width of its blocks follows.
    device : str
        Torch device.

    Attributes
    ----------
    groups_ : dict of str to int
        Name and number of columns of each target, in column order.
    alpha_ : dict of str to float
        Median over the columns of each target.
    error_ : dict of str to list of float
        Mean held-out error over the columns of each target.
    """

    def __init__(self, alphas=ALPHAS, folds=5, folds_of="trials", intercept=True, memory=None, device="cpu"):
        self.alphas = alphas
        self.folds = folds
        self.folds_of = folds_of
        self.intercept = intercept
        self.memory = memory
        self.device = device

    def operations(self, n_trials, n_voxels, sizes):
        """Operations of a fit, a multiplication and an addition counted as two: what takes the time, to a third.

        A singular value decomposition for each fold and one of all trials (4 n p r + 22 r³ for rank r); then for every column
        its projection in each of them, held-out predictions under each penalty, and its weights.

        Parameters
        ----------
        n_trials, n_voxels : int
        sizes : mapping of str to int
            Columns of each target.
        """
        rank = min(n_trials, n_voxels)
        decomposed = (self.folds + 1) * (4 * n_trials * n_voxels * rank + 22 * rank**3)
        columns = sum(sizes.values())
        tried = sum(size * len(penalties(self.alphas, name)) for name, size in sizes.items())
        return decomposed + 2 * rank * ((self.folds + 1) * n_trials * columns + n_trials * tried + n_voxels * columns)

    def start(self, X, targets, stimuli=None, stored=None):
        """Check the parameters and decompose the patterns of every fold.

        Parameters
        ----------
        X : array of shape (n_trials, n_voxels), float32 or float64, finite
        targets : mapping of str to array-like of shape (n_stimuli, n_columns)
        stimuli : array of int, shape (n_trials,), optional
        stored : dict of str to array, optional
            What an interrupted fit left; nothing of it is needed.
        """
        check_all(self, RULES)
        n_stimuli = stimuli_shown(len(X), targets, stimuli)
        self.n_features_in_, self._single_output = X.shape[1], False
        self.groups_ = {name: int(target.shape[1]) for name, target in targets.items()}
        self._grids = {name: penalties(self.alphas, name) for name in self.groups_}
        self._trials = Trials(n_stimuli, stimuli)
        self._dtype = torch.from_numpy(np.empty(0, X.dtype)).dtype
        self._n_rows = len(X)
        self.width()  # says so now if memory is too small
        training = TrainingPatterns(X, self.device)
        # scikit-learn's scale: without the degree of freedom that `centre` takes off.
        scale = training.scale * np.sqrt((len(X) - 1) / len(X))
        self._training = TrainingPatterns(X, self.device, training.mean, scale)
        patterns, shown = self._training.standardised(X), torch.from_numpy(self._trials.stimuli)
        self._folds = []
        if any(len(grid) > 1 for grid in self._grids.values()):
            for held_out in self._held_out():
                rest = torch.ones(len(X), dtype=torch.bool)
                rest[held_out] = False
                self._folds.append(_Fold(patterns, shown, rest, self.intercept, self._dtype))
        self._whole = _Fold(patterns, shown, torch.ones(len(X), dtype=torch.bool), self.intercept, self._dtype)
        self.alpha_, self.error_ = {}, {}
        return self

    def _held_out(self):
        """Rows of the trials of each fold."""
        n = self._trials.n_trials if self.folds_of == "trials" else self._trials.n_stimuli
        if n < self.folds:
            raise InputError(f"There are {n:,} {self.folds_of} for {self.folds} folds; pass folds={max(n, 2)}.")
        place = np.arange(n) if self.folds_of == "trials" else self._trials.stimuli
        return [torch.from_numpy(np.flatnonzero(np.isin(place, part))) for part in np.array_split(range(n), self.folds)]

    def width(self, n_new=0):
        """Columns of a block under the memory budget, `n_new` patterns predicted on the way."""
        n, p, size = self._n_rows, self.n_features_in_, torch.empty(0, dtype=self._dtype).element_size()
        rank = min(n, p)
        needed = 8 * (2 * n * p + n * rank + rank * p) + size * (self.folds + 1) * (n * rank + rank * p) + 6e8
        left = np.inf if self.memory is None else self.memory - needed
        if left < 0:
            raise InputError(
                f"A fit of {n:,} trials and {p:,} voxels by {self.folds} folds needs {needed / 1e9:.1f} GB but memory is "
                f"{self.memory / 1e9:.1f} GB; give more with --memory, or choose a smaller roi."
            )
        return width_for(left, n, n_new + n + p, size)

    def layout(self):
        """Tensors of the fitted decoder: dict of name to (shape, dtype)."""
        n_columns, double = sum(self.groups_.values()), np.dtype(np.float64)
        columns = {name: ((n_columns,), double) for name in ("column_alpha_", "column_error_", "offset_")}
        voxels = {name: ((self.n_features_in_,), double) for name in ("voxel_mean_", "voxel_scale_")}
        single = torch.empty(0, dtype=self._dtype).numpy().dtype
        return voxels | columns | {"coef_": ((self.n_features_in_, n_columns), single)}

    def choose(self, targets, progress=SILENT):
        """Write what is known of the patterns into `tensors_`; penalties are chosen with their columns."""
        self.tensors_["voxel_mean_"][...] = self._training.mean
        self.tensors_["voxel_scale_"][...] = self._training.scale

    def solve(self, targets, new_patterns=None, *, width=None, start=0, progress=SILENT):
        """Read the targets once, fill `tensors_`, and yield every `SolvedColumns` on the way."""
        new = None if new_patterns is None else self._training.standardised(new_patterns).to(self._dtype)
        planned = plan(self.groups_, width or self.width(0 if new is None else len(new)))
        for block, values in read_ahead(targets, planned[start:], self._dtype, self._training.device):
            solved = self._solved(block, finite(values, block.name), new)
            place = solved.block.place
            self.tensors_["column_alpha_"][place], self.tensors_["column_error_"][place] = solved.alpha, solved.error
            self.tensors_["offset_"][place], self.tensors_["coef_"][:, place] = solved.offset, solved.weights
            yield solved
            progress("predicting targets", place.stop, sum(self.groups_.values()))

    def _solved(self, block, values, new):
        grid = self._grids[block.name]
        choice, error = np.zeros(values.shape[1], dtype=int), np.full(values.shape[1], np.nan)
        if len(grid) > 1:
            errors = np.mean([fold.errors(values, grid) for fold in self._folds], axis=0)
            choice = errors.argmin(axis=0)
            error = np.take_along_axis(errors, choice[None], axis=0)[0] / self._variance(values)
        weights, offset = self._whole.weights(values, np.array(grid)[choice])
        predictions = None
        if new is not None:
            predictions = (new @ weights + offset.to(weights.dtype)).cpu().numpy()
        weights, offset = weights.cpu().numpy(), offset.cpu().numpy()
        return SolvedColumns(block, np.array(grid)[choice], error, weights, offset, predictions)

    def _variance(self, values):
        """Variance of each column over the trials; NaN for one that does not vary."""
        counts = torch.from_numpy(self._trials.counts).to(values)
        _, scale = centre(values.clone(), counts)
        varies = (values.amax(dim=0) > values.amin(dim=0)).cpu().numpy()
        return np.where(varies, scale**2, np.nan)

    def finish(self):
        """Sum up what the blocks have found, and let go of what only fitting needs."""
        for block in plan(self.groups_, max(self.groups_.values())):
            self.alpha_[block.name] = float(np.median(self.tensors_["column_alpha_"][block.place]))
            errors = np.asarray(self.tensors_["column_error_"][block.place])
            known = errors[~np.isnan(errors)]
            self.error_[block.name] = [float(known.mean()) if len(known) else float("nan")]
        for name in ("_training", "_folds", "_whole", "_trials"):
            vars(self).pop(name, None)
        return self

    # Patterns to come

    def _blocks(self, X, start):
        tensors = self.tensors_
        training = TrainingPatterns(X, self.device, np.array(tensors["voxel_mean_"]), np.array(tensors["voxel_scale_"]))
        rows = training.standardised(X).cpu().numpy().astype(X.dtype)
        for block in plan(self.groups_, max(self.groups_.values()))[start:]:
            values = rows @ tensors["coef_"][:, block.place] + tensors["offset_"][block.place].astype(X.dtype)
            yield block.name, block.columns, values.astype(X.dtype, copy=False)

    def summary(self):
        """A row per target: columns, median penalty, and held-out error (1: the mean's)."""
        return [
            {
                "target": name,
                "columns": n_columns,
                "penalty": self.alpha_[name],
                "held_out_error": self.error_[name][0],
            }
            for name, n_columns in self.groups_.items()
        ]

    # Files

    def describe(self):
        """What the fitted decoder is besides its tensors, JSON-able; where it ran is left out."""
        return {
            "class": type(self).__name__,
            "parameters": plain(self.get_params(deep=False) | {"memory": None, "device": "cpu"}),
            "n_voxels": int(self.n_features_in_),
            "single_output": self._single_output,
            "groups": self.groups_,
            "alpha": self.alpha_,
            "error": plain(self.error_),
            "tensors": shapes_of(self.tensors_),
        }

    @classmethod
    def from_pretrained(cls, folder):
        """Open what `save_pretrained` wrote, the tensors memory-mapped.

        An InputError if files are missing or do not belong together.
        """
        config, tensors = decoder_files.read(cls, folder, ENTRIES)
        decoder = cls(**config["parameters"])
        decoder.tensors_, decoder.groups_, decoder.alpha_ = tensors, config["groups"], config["alpha"]
        decoder.error_ = decoder_files.from_plain(config["error"])
        decoder.n_features_in_, decoder._single_output = config["n_voxels"], config["single_output"]
        return decoder

    def __sklearn_is_fitted__(self):
        return "tensors_" in vars(self) and "_whole" not in vars(self)


class _Fold:
    """Ridge on the trials that are not held out, for every penalty, by X = U S V'.

    Attributes
    ----------
    left : tensor of shape (rank, n_stimuli)
        U', summed over the trials of each stimulus.
    singular : float64 tensor of shape (rank,)
    right : tensor of shape (rank, n_voxels)
        V'.
    """

    def __init__(self, patterns, shown, fitted, intercept, dtype):
        self._intercept, device = intercept, patterns.device
        n_stimuli = int(shown.max()) + 1
        rows = patterns[fitted.to(device)]
        self._mean = rows.mean(dim=0) if intercept else torch.zeros_like(rows[0])
        left, self.singular, right = torch.linalg.svd(rows - self._mean, full_matrices=False)
        own = shown[fitted].to(device)
        self.left = left.new_zeros(len(self.singular), n_stimuli).index_add_(1, own, left.T).to(dtype)
        self.right = right.to(dtype)
        self._counts = torch.bincount(own, minlength=n_stimuli).to(dtype)
        self._new = ((patterns[~fitted.to(device)] - self._mean) @ right.T).to(dtype)
        self._new_shown = shown[~fitted].to(device)

    def _centred(self, values):
        """U' y, and the mean that was taken off."""
        if not self._intercept:
            return self.left @ values, values.new_zeros(values.shape[1])
        mean = (self._counts @ values) / self._counts.sum()
        return self.left @ (values - mean), mean

    def _shrunk(self, alpha):
        """S / (S^2 + alpha)."""
        return (self.singular / (self.singular**2 + alpha)).to(self.left.dtype)

    def errors(self, values, grid):
        """Mean squared error of the held-out trials under each penalty, float64 array (n_alphas, n_columns)."""
        projected, mean = self._centred(values)
        truth = values[self._new_shown] - mean
        return np.stack(
            [
                (self._new @ (self._shrunk(alpha)[:, None] * projected) - truth)
                .square()
                .mean(dim=0, dtype=torch.float64)
                .cpu()
                .numpy()
                for alpha in grid
            ]
        )

    def weights(self, values, alphas):
        """Weights (n_voxels, n_columns) of standardised voxels, and the offset of each column, float64."""
        projected, mean = self._centred(values)
        for alpha in np.unique(alphas):
            own = torch.from_numpy(np.flatnonzero(alphas == alpha)).to(values.device)
            projected[:, own] *= self._shrunk(alpha)[:, None]
        weights = self.right.T @ projected
        offset = mean.double() - self._mean @ weights.double()
        return weights, offset
