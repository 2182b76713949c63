"""Banded ridge: a penalty of its own for every group of voxels, such as a visual area.

Ordinary ridge holds every voxel to the same penalty, so that an area that knows nothing of a target adds its noise to
the prediction. Banded ridge (Nunez-Elizalde, Huth & Gallant 2019, NeuroImage 197:482) gives each band b of voxels a
penalty a_b:

    minimise over w   ||Y - sum_b X_b w_b||^2 + sum_b a_b ||w_b||^2

The penalties are found by random search over weightings of the bands, scored in cross-validation, with the solvers of
himalaya (Dupre la Tour, Eickenberg, Nunez-Elizalde & Gallant 2022, NeuroImage 264:119728). Once they are known the
problem is ridge with a penalty of 1 on voxels scaled by 1 / sqrt(a_b). That is solved here, exactly and in float64, so
that a fitted decoder predicts without himalaya.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import contextmanager
from itertools import cycle, islice
from numbers import Integral
from pathlib import Path

import numpy as np
import scipy.linalg
from safetensors.numpy import load_file, save_file
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from stages.errors import InputError
from stages.whole_files import whole_file, write_text

ALPHAS = tuple(float(alpha) for alpha in np.logspace(0, 7, 22))
RESCALINGS = ("held_out", "none")
REST = "rest"
"""Name of the band of the voxels that no other band holds."""

SKETCH_COLUMNS = 512
CONCENTRATIONS = (0.1, 1.0)  # of the Dirichlet distributions, in turn: few bands matter, or any mixture does
LEAST_WEIGHT = 1e-6  # of a band, where equal weights are 1: weights of 0 make himalaya's primal solver divide 0 by 0
COLUMNS_PER_BLOCK = 2048


class BandedRidgeDecoder(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression from voxels to one or several targets with a penalty for each band of voxels.

    Parameters
    ----------
    bands : mapping of str to bool array of shape (n_voxels,), optional
        Voxels of each band; no voxel may be in two. Voxels in none form a band called "rest". Without bands, all voxels
        are one, called "all": ordinary ridge.
    alphas : float or sequence of float
        Penalties to choose from, in units of ridge on standardised voxels. A penalty stands for what a voxel gets where
        all bands weigh the same; a band of weight g gets alpha / g, and the weights have mean 1.
    n_iter : int
        How many weightings of the bands to try. The first weighs them equally, which is ordinary ridge; the others are
        drawn from Dirichlet distributions.
    folds : int
        Folds of the cross-validation that scores them. Trials of a stimulus share a fold.
    rescale : {"held_out", "none"}
        Ridge predictions vary less than what they predict. "held_out" gives every column of a prediction the
        mean and standard deviation it has in training, measured against exact predictions of the training trials
        from trials of other stimuli. "none" leaves predictions as they are.
    seed : int
        Of the weightings, the folds and the sketches, 0 or more. The same seed and data give the same decoder.

    Attributes
    ----------
    groups_ : dict of str to int
        Name and number of columns of each target, in column order.
    band_names_ : list of str
    band_of_voxel_ : array of shape (n_voxels,), int32
        Position in `band_names_`.
    band_penalty_ : dict of str to dict of str to float
        For each target the penalty of each band, in units of ridge on standardised voxels.
    held_out_correlation_ : dict of str to float
        Mean over columns of the correlation, over trials, between targets and predictions from trials of other stimuli.

    Notes
    -----
    Voxels are standardised by the training trials once, before the folds are cut, as usual with himalaya. A
    target's columns share one set of penalties, those with the least squared error averaged over its columns, each
    column scaled to unit variance. A target of more than 512 columns is scored through 512 random combinations of
    them (random signs), whose squared error has the same expectation.

    Where there are more trials than voxels the search is himalaya's group ridge on the voxels, otherwise its multiple
    kernel ridge on a linear kernel per band; that takes 2 n_bands n_trials^2 numbers in the precision of X. Either
    factorises the training trials of every fold once per weighting, on the processor.
    """

    def __init__(self, bands=None, alphas=ALPHAS, n_iter=60, folds=5, rescale="held_out", seed=0):
        self.bands = bands
        self.alphas = alphas
        self.n_iter = n_iter
        self.folds = folds
        self.rescale = rescale
        self.seed = seed

    def fit(self, X, y, groups: Mapping[str, int] | None = None, stimuli=None):
        """Find the penalties of all targets and solve for them.

        Parameters
        ----------
        X : array of shape (n_trials, n_voxels)
            Training responses: single trials, or patterns averaged over them.
        y : array of shape (n_stimuli, n_targets)
            Targets side by side.
        groups : mapping of str to int, optional
            Name and number of columns of each target, in column order; they sum to n_targets. Each gets its own
            penalties. One target called "target" where it is not given.
        stimuli : int array of shape (n_trials,), optional
            The row of `y` that each trial belongs to; row i for trial i where it is not given. Rows that no trial
            names are not used.

        Returns
        -------
        self

        Raises
        ------
        InputError
            Parameters or arrays that do not fit together, values that are not finite, fewer stimuli than folds, or
            no himalaya.
        """
        alphas = self._check_parameters()
        X, y, stimuli = self._check_data(X, y, stimuli)
        groups = _checked_groups(groups, y.shape[1])
        self.band_names_, self.band_of_voxel_ = _band_of_each_voxel(self.bands, X.shape[1])

        ones = np.ones(len(X))
        counts = np.bincount(stimuli, minlength=len(y)).astype(np.float64)
        self.voxel_mean_, self.voxel_scale_ = _mean_and_scale(X, ones)
        self.target_mean_, self.target_scale_ = _mean_and_scale(y, counts)
        patterns = (X.astype(np.float64) - self.voxel_mean_) / self.voxel_scale_
        penalties = self._search(patterns, y, groups, stimuli, alphas, precision=X.dtype)

        for name in ("coef_", "training_patterns_", "dual_coef_"):
            vars(self).pop(name, None)  # an earlier fit may have had the other shape
        primal = X.shape[1] <= X.shape[0]
        coefficients = np.empty((X.shape[1] if primal else X.shape[0], y.shape[1]), dtype=X.dtype)
        self.predicted_mean_ = np.empty_like(self.target_mean_)
        self.predicted_scale_ = np.empty_like(self.target_scale_)
        self.groups_, self.band_penalty_, self.held_out_correlation_ = groups, {}, {}
        for (name, columns), penalty in zip(_slices(groups).items(), penalties):
            self.band_penalty_[name] = {band: float(value) for band, value in zip(self.band_names_, penalty)}
            weights = 1 / penalty[self.band_of_voxel_]
            ridge = UnitPenaltyRidge(patterns * np.sqrt(weights), stimuli)
            correlations = []
            for block in _blocks(columns):
                centred = (y[:, block] - self.target_mean_[block].astype(np.float64))[stimuli]
                dual = ridge.dual(centred)
                held_out = ridge.held_out(centred, dual)
                correlations.append(column_correlations(centred, held_out))
                mean, self.predicted_scale_[block] = _mean_and_scale(held_out, ones)
                self.predicted_mean_[block] = mean + self.target_mean_[block]
                coefficients[:, block] = weights[:, None] * (patterns.T @ dual) if primal else dual
            self.held_out_correlation_[name] = _mean_of_finite(np.concatenate(correlations))
        if primal:
            self.coef_ = coefficients
        else:
            self.training_patterns_, self.dual_coef_ = patterns.astype(X.dtype), coefficients
        return self

    def predict(self, X):
        """Predict all targets.

        Parameters
        ----------
        X : array of shape (n_stimuli, n_voxels)
            Patterns, in the units of the training responses.

        Returns
        -------
        array of shape (n_stimuli, n_targets)
            Targets side by side, in the order of `groups_`.
        """
        check_is_fitted(self)
        X = self._check_voxels(X)
        patterns = (X - self.voxel_mean_) / self.voxel_scale_
        if hasattr(self, "coef_"):
            predictions = patterns @ self.coef_
        else:
            predictions = np.empty((len(X), len(self.target_mean_)), dtype=X.dtype)
            for name, columns in _slices(self.groups_).items():
                penalty = np.array([self.band_penalty_[name][band] for band in self.band_names_])
                weights = (1 / penalty).astype(X.dtype)[self.band_of_voxel_]
                kernel = (patterns * weights) @ self.training_patterns_.T
                predictions[:, columns] = kernel @ self.dual_coef_[:, columns]
        predictions = predictions + self.target_mean_
        if self.rescale == "held_out":
            ratio = self.target_scale_ / self.predicted_scale_
            predictions = (predictions - self.predicted_mean_) * ratio + self.target_mean_
        predictions = predictions.astype(X.dtype, copy=False)
        return predictions[:, 0] if self._single_output else predictions

    def split(self, predictions):
        """Cut an array of shape (n_stimuli, n_targets) into a dict of name to (n_stimuli, n_columns)."""
        return {name: predictions[:, columns] for name, columns in _slices(self.groups_).items()}

    def save_pretrained(self, folder):
        """Write `config.json` and `model.safetensors` into `folder`."""
        check_is_fitted(self)
        folder = Path(folder)
        tensors = {
            name: np.ascontiguousarray(value) for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        tensors = {name: value for name, value in tensors.items() if name.endswith("_") and value.dtype.kind in "fi"}
        config = {
            "class": "BandedRidgeDecoder",
            "parameters": {
                "alphas": self._check_parameters(),
                "n_iter": int(self.n_iter),
                "folds": int(self.folds),
                "rescale": self.rescale,
                "seed": int(self.seed),
            },
            "bands": None if self.bands is None else self.band_names_,
            "n_voxels": int(self.n_features_in_),
            "single_output": self._single_output,
            "groups": self.groups_,
            "band_penalty": self.band_penalty_,
            "held_out_correlation": self.held_out_correlation_,
            "tensors": {name: list(value.shape) for name, value in tensors.items()},
        }
        with whole_file(folder / "model.safetensors") as partial:
            save_file(tensors, partial)
        # The configuration comes last: where it stands, the decoder is whole.
        write_text(folder / "config.json", json.dumps(config, indent=1) + "\n")

    @classmethod
    def from_pretrained(cls, folder):
        """Read what `save_pretrained` wrote; an InputError where files are missing or do not belong together."""
        folder = Path(folder)
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            tensors = load_file(folder / "model.safetensors")
        except FileNotFoundError as error:
            raise InputError(
                f"No decoder in {folder}: {Path(error.filename).name} is missing; "
                "fit one and write it with save_pretrained."
            ) from None
        except Exception as error:
            raise InputError(
                f"The decoder in {folder} cannot be read ({error}); fit it again and write it with save_pretrained."
            ) from None
        if config.get("class") != "BandedRidgeDecoder":
            raise InputError(
                f"{folder} holds a {config.get('class')!r}, expected a 'BandedRidgeDecoder'; name another folder."
            )
        shapes = {name: list(value.shape) for name, value in tensors.items()}
        if shapes != config["tensors"]:
            names = sorted(shapes.keys() | config["tensors"].keys())
            wrong = [name for name in names if shapes.get(name) != config["tensors"].get(name)]
            raise InputError(
                f"model.safetensors in {folder} does not fit its config.json at {', '.join(wrong)}; "
                "fit the decoder again and write it with save_pretrained."
            )
        decoder = cls(**config["parameters"])
        vars(decoder).update(tensors)
        decoder.band_names_ = config["bands"] or ["all"]
        if config["bands"] is not None:
            decoder.bands = {name: decoder.band_of_voxel_ == band for band, name in enumerate(decoder.band_names_)}
        decoder.groups_, decoder.band_penalty_ = config["groups"], config["band_penalty"]
        decoder.held_out_correlation_ = config["held_out_correlation"]
        decoder.n_features_in_, decoder._single_output = config["n_voxels"], config["single_output"]
        return decoder

    # The search

    def _search(self, patterns, y, groups, stimuli, alphas, precision):
        """Penalty of each band for each target, float64 (n_groups, n_bands)."""
        kernel_ridge, group_ridge = _solvers()
        generator = np.random.default_rng(self.seed)
        n_bands = len(self.band_names_)
        candidates = _weightings(n_bands, self.n_iter, generator)
        folds = _folds(stimuli, self.folds, generator)
        sketches = [self._sketch(y, columns, generator) for columns in _slices(groups).values()]
        targets = np.concatenate(sketches, axis=1)[stimuli].astype(precision)
        share = scipy.linalg.block_diag(*(np.full((size, size), 1 / size) for size in (s.shape[1] for s in sketches)))
        options = {
            "n_iter": candidates,
            "alphas": np.array(alphas),
            "score_func": _shared_loss(share.astype(precision)),
            "cv": folds,
            "n_alphas_batch": 1,
            "progress_bar": False,
        }
        in_bands = [patterns[:, self.band_of_voxel_ == band] for band in range(n_bands)]
        with _numpy_backend():
            if len(patterns) > patterns.shape[1]:
                spaces = [band.astype(precision) for band in in_bands]
                log_weights = group_ridge(spaces, targets, warn=False, **options)[0]
            else:
                kernels = np.empty((n_bands, len(patterns), len(patterns)), dtype=precision)
                for kernel, band in zip(kernels, in_bands):
                    kernel[:] = band @ band.T
                log_weights = kernel_ridge(kernels, targets, **options)[0]
        # himalaya gives log(weight / alpha) in the precision of the patterns; the pair that it chose has more digits.
        tried = np.log(candidates[:, None] / np.array(alphas)[:, None]).reshape(-1, n_bands)
        starts = np.cumsum([0, *(sketch.shape[1] for sketch in sketches[:-1])])
        nearest = [np.argmin(((tried - log_weights[:, start]) ** 2).sum(axis=1)) for start in starts]
        return np.exp(-tried[nearest])

    def _sketch(self, y, columns, generator):
        """Standardised columns, float64 (n_stimuli, n_columns), or SKETCH_COLUMNS random combinations of them."""
        n_columns = columns.stop - columns.start
        sketch = np.zeros((len(y), SKETCH_COLUMNS))
        for block in _blocks(columns):
            values = (y[:, block] - self.target_mean_[block].astype(np.float64)) / self.target_scale_[block]
            if n_columns <= SKETCH_COLUMNS:
                return values
            signs = 2.0 * generator.integers(2, size=(values.shape[1], SKETCH_COLUMNS)) - 1
            sketch += values @ signs
        return sketch / np.sqrt(n_columns)

    # What is refused

    def _check_parameters(self):
        """The penalties as a list of float."""
        if self.rescale not in RESCALINGS:
            raise InputError(
                f"rescale is {self.rescale!r}; expected one of {', '.join(map(repr, RESCALINGS))}: "
                "pass rescale='held_out' for statistics of held-out training predictions."
            )
        for name, least in {"n_iter": 1, "folds": 2, "seed": 0}.items():
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise InputError(
                    f"{name} is {value!r}; expected a whole number from {least} on: pass {name}={least + 3}."
                )
        try:
            alphas = [float(alpha) for alpha in np.ravel(self.alphas)]
        except (TypeError, ValueError):
            alphas = []
        if not alphas or not all(0 < alpha < np.inf for alpha in alphas):
            raise InputError(
                f"alphas is {' '.join(repr(self.alphas).split())}; expected one or more positive numbers, "
                "for example alphas=[1e3, 1e4, 1e5]."
            )
        return alphas

    def _check_data(self, X, y, stimuli):
        """X and y (n_stimuli, n_targets) as floating point, and the row of y of each trial."""
        if y is None:
            raise InputError(f"{type(self).__name__} requires y to be passed, but the target y is None; pass targets.")
        X = validate_data(self, X, dtype=(np.float64, np.float32), ensure_all_finite=False, ensure_min_samples=2)
        y = check_array(y, ensure_2d=False, dtype=(np.float64, np.float32), ensure_all_finite=False, input_name="y")
        self._single_output = y.ndim == 1
        y = y.reshape(len(y), -1)
        _check_finite(X, "X", "voxels")
        _check_finite(y, "y", "targets")
        stimuli = _checked_stimuli(stimuli, len(X), len(y))
        if (n_stimuli := len(np.unique(stimuli))) < self.folds:
            raise InputError(
                f"There are {n_stimuli:,} stimuli for {self.folds} folds; "
                f"pass folds={max(n_stimuli, 2)}, or trials of more stimuli."
            )
        return X, y, stimuli

    def _check_voxels(self, X):
        shape = getattr(X, "shape", ())
        if len(shape) == 2 and shape[1] != self.n_features_in_ and not hasattr(self, "feature_names_in_"):
            # scikit-learn's own wording comes first: its conformance tests look for it.
            raise InputError(
                f"X has {shape[1]} features, but BandedRidgeDecoder is expecting {self.n_features_in_} features as input: "
                f"patterns have {shape[1]:,} voxels but the decoder was fitted on {self.n_features_in_:,}; "
                "load the same subject and roi, or fit a decoder on these."
            )
        X = validate_data(self, X, reset=False, dtype=(np.float64, np.float32), ensure_all_finite=False)
        _check_finite(X, "X", "voxels")
        return X


class UnitPenaltyRidge:
    """Ridge with a penalty of 1 and an intercept on centred, scaled patterns Z, through the smaller Gram matrix.

    All there is to know lies in A = (ZZ' + I)^-1: its product with centred targets gives the dual coefficients, which
    are also the residuals, and its diagonal blocks turn residuals into those of a fit without a stimulus.

    Parameters
    ----------
    scaled : array of shape (n_trials, n_voxels), float64
        Columns have mean zero.
    stimuli : int array of shape (n_trials,)
        Trials of equal number are of one stimulus.
    """

    def __init__(self, scaled, stimuli):
        n_trials, n_voxels = scaled.shape
        if n_trials <= n_voxels:
            gram = scaled @ scaled.T
            gram.flat[:: n_trials + 1] += 1
            factor = scipy.linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
            self._inverse, self._root = scipy.linalg.cho_solve(factor, np.eye(n_trials), overwrite_b=True), None
        else:
            # A = I - R'R with R = L^-1 Z' and LL' = Z'Z + I, so that nothing is n_trials x n_trials.
            gram = scaled.T @ scaled
            gram.flat[:: n_voxels + 1] += 1
            lower = scipy.linalg.cholesky(gram, lower=True, overwrite_a=True, check_finite=False)
            self._inverse, self._root = None, scipy.linalg.solve_triangular(lower, scaled.T, lower=True)
        self._blocks = [(rows, self._block(rows)) for rows in trials_by_count(stimuli)]

    def dual(self, targets):
        """Dual coefficients of centred targets, (n_trials, n_columns); Z' times them are the weights of Z."""
        if self._root is None:
            return self._inverse @ targets
        return targets - self._root.T @ (self._root @ targets)

    def held_out(self, targets, dual):
        """Predictions of every trial from the trials of all other stimuli, the intercept refitted each time.

        `targets` (n_trials, n_columns) are centred, `dual` is what `dual` made of them. Predictions are given about
        the mean of the trials they were made from: that mean lacks the stimulus itself, and would otherwise
        anticorrelate with it.
        """
        n_trials = len(targets)
        held_out = np.empty_like(targets)
        for rows, block in self._blocks:
            count = rows.shape[1]
            held_out[rows] = targets[rows] * (1 + count / (n_trials - count)) - np.linalg.solve(block, dual[rows])
        return held_out

    def _block(self, rows):
        """I - H over each row of `rows` (n, count), where the smoother H includes the intercept; (n, count, count)."""
        count = rows.shape[1]
        if self._root is None:
            block = self._inverse[rows[:, :, None], rows[:, None, :]]
        else:
            columns = self._root[:, rows]
            block = np.eye(count) - np.einsum("vnc,vnd->ncd", columns, columns)
        n_trials = (self._inverse if self._root is None else self._root).shape[1]
        # A trial that only its own stimulus can predict leaves nothing but rounding.
        return block - 1 / n_trials + 1e-10 * np.eye(count)


def trials_by_count(stimuli):
    """Group trials by stimulus, and stimuli by how many trials they have.

    Parameters
    ----------
    stimuli : int array of shape (n_trials,)

    Returns
    -------
    list of int array of shape (n_stimuli_of_this_count, count)
        Trial numbers; a row holds all trials of one stimulus.
    """
    order = np.argsort(stimuli, kind="stable")
    _, starts, counts = np.unique(stimuli[order], return_index=True, return_counts=True)
    return [order[starts[counts == count][:, None] + np.arange(count)] for count in np.unique(counts)]


def column_correlations(targets, predictions):
    """Correlation of each column over rows, float64 (n_columns,); NaN where either is constant."""
    targets, predictions = targets - targets.mean(axis=0), predictions - predictions.mean(axis=0)
    norm = np.sqrt((targets**2).sum(axis=0) * (predictions**2).sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(norm > 0, (targets * predictions).sum(axis=0) / norm, np.nan)


def _solvers():
    """The random searches of himalaya, over kernels and over voxels."""
    try:
        from himalaya.kernel_ridge import solve_multiple_kernel_ridge_random_search
        from himalaya.ridge import solve_group_ridge_random_search
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "himalaya":
            raise
        raise InputError(
            "Banded ridge searches its penalties with himalaya, which is not installed here; "
            "install it with `pip install 'brainrecon[banded]'`."
        ) from None
    return solve_multiple_kernel_ridge_random_search, solve_group_ridge_random_search


@contextmanager
def _numpy_backend():
    """Set himalaya's backend, which is one for the whole process, to NumPy and then back to what it was."""
    from himalaya.backend import get_backend, set_backend

    before = get_backend()
    set_backend("numpy")
    try:
        yield
    finally:
        set_backend(before)


def _shared_loss(share):
    """Make the score himalaya maximises: minus the squared error, averaged over the columns of each target.

    himalaya chooses for every column alone or for all together. Columns that are given the mean of their target all
    choose the same, and one search serves all targets. `share` (n_columns, n_columns) takes these means.
    """

    def loss(truth, predictions):
        return -((predictions - truth) ** 2).mean(axis=-2) @ share

    return loss


def _weightings(n_bands, n_iter, generator):
    """Weights of bands to try, mean 1, float64 (n_iter, n_bands); equal weights first."""
    if n_bands == 1:
        return np.ones((1, 1))
    drawn = [generator.dirichlet([c] * n_bands) for c in islice(cycle(CONCENTRATIONS), n_iter - 1)]
    weights = np.maximum(np.reshape(drawn, (-1, n_bands)) * n_bands, LEAST_WEIGHT)
    return np.concatenate([np.ones((1, n_bands)), weights / weights.mean(axis=1, keepdims=True)])


def _folds(stimuli, n_folds, generator):
    """List of (training trials, held-out trials); stimuli are dealt at random, their trials stay together."""
    distinct, stimulus_of_trial = np.unique(stimuli, return_inverse=True)
    fold_of_stimulus = generator.permutation(np.arange(len(distinct)) % n_folds)
    fold = fold_of_stimulus[stimulus_of_trial]
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(n_folds)]


def _band_of_each_voxel(bands, n_voxels):
    """Names of the bands, and the position among them of each voxel's, int32 (n_voxels,)."""
    if bands is None:
        return ["all"], np.zeros(n_voxels, dtype=np.int32)
    if not isinstance(bands, Mapping) or not bands:
        raise InputError(
            f"bands is {'empty' if isinstance(bands, Mapping) else f'a {type(bands).__name__}'}; "
            "expected names and masks: pass bands={'V1': mask, 'V2': mask}."
        )
    names = [str(name) for name in bands]
    band_of_voxel = np.full(n_voxels, -1, dtype=np.int32)
    for band, (name, mask) in enumerate(zip(names, map(np.asarray, bands.values()))):
        if mask.dtype != bool or mask.shape != (n_voxels,):
            raise InputError(
                f"Band {name!r} is an array of {mask.dtype} and shape {mask.shape}; expected a bool for each of the "
                f"{n_voxels:,} voxels: pass masks over the voxels of X."
            )
        if not mask.any():
            raise InputError(f"Band {name!r} holds none of the {n_voxels:,} voxels; leave it out of bands.")
        if (shared := mask & (band_of_voxel >= 0)).any():
            other = names[band_of_voxel[shared][0]]
            raise InputError(
                f"Bands {other!r} and {name!r} share {int((mask & (band_of_voxel == names.index(other))).sum()):,} voxels; "
                f"a voxel may be in one band only: take them out of one, for example {name!r}: mask & ~other."
            )
        band_of_voxel[mask] = band
    if (band_of_voxel < 0).any():
        if REST in names:
            raise InputError(
                f"Band {REST!r} is given but {int((band_of_voxel < 0).sum()):,} of {n_voxels:,} voxels are in no band, and "
                f"would form a band of that name; add them to it, or call it something else."
            )
        names.append(REST)
        band_of_voxel[band_of_voxel < 0] = len(names) - 1
    return names, band_of_voxel


def _checked_groups(groups, n_targets):
    groups = {"target": n_targets} if groups is None else {str(name): int(n) for name, n in groups.items()}
    if sum(groups.values()) != n_targets or min(groups.values(), default=0) < 1:
        raise InputError(
            f"Groups hold {', '.join(f'{n:,}' for n in groups.values()) or 'no'} columns but the targets have "
            f"{n_targets:,}; pass groups={{name: number of columns}} in column order."
        )
    return groups


def _checked_stimuli(stimuli, n_trials, n_rows):
    if stimuli is None:
        if n_trials != n_rows:
            raise InputError(
                f"There are {n_trials:,} trials but {n_rows:,} rows of targets; pass one row per trial, "
                "or stimuli=array that gives the row of each trial."
            )
        return np.arange(n_trials)
    stimuli = np.asarray(stimuli)
    if stimuli.shape != (n_trials,) or stimuli.dtype.kind not in "iu":
        raise InputError(
            f"stimuli is an array of {stimuli.dtype} and shape {stimuli.shape} for {n_trials:,} trials; "
            "pass a whole number per trial, the row of y that it belongs to."
        )
    if stimuli.min() < 0 or stimuli.max() >= n_rows:
        raise InputError(
            f"stimuli goes from {stimuli.min():,} to {stimuli.max():,} but y has {n_rows:,} rows; "
            f"pass rows from 0 to {n_rows - 1:,}."
        )
    return stimuli.astype(np.int64)


def _check_finite(values, name, columns):
    bad = ~np.isfinite(values).all(axis=0)
    if bad.any():
        raise InputError(
            f"{name} holds NaN or infinity (inf) in {int(bad.sum()):,} of {values.shape[1]:,} {columns}, the first being "
            f"number {int(np.argmax(bad))}; leave these out, or estimate them again."
        )


def _mean_and_scale(values, counts):
    """Mean and standard deviation (ddof 1) of each column; a scale of 1 where nothing varies.

    Row i counts `counts[i]` times. Computed in float64, given in the precision of `values`.
    """
    n, dtype = counts.sum(), values.dtype
    mean, scale = np.empty((2, values.shape[1]), dtype=np.float64)
    for block in _blocks(slice(0, values.shape[1])):
        part = values[:, block].astype(np.float64)
        mean[block] = counts @ part / n
        scale[block] = np.sqrt(counts @ (part - mean[block]) ** 2 / (n - 1))
    constant = scale <= 1e-7 * np.maximum(np.abs(mean), np.finfo(np.float32).tiny)
    return mean.astype(dtype), np.where(constant, 1, scale).astype(dtype)


def _mean_of_finite(values):
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else 0.0


def _blocks(columns):
    for start in range(columns.start, columns.stop, COLUMNS_PER_BLOCK):
        yield slice(start, min(start + COLUMNS_PER_BLOCK, columns.stop))


def _slices(groups):
    ends = np.cumsum(list(groups.values()))
    return {name: slice(int(end - n), int(end)) for (name, n), end in zip(groups.items(), ends)}
