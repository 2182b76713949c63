"""Banded ridge: a penalty of its own for every group of voxels, such as a visual area.

Ordinary ridge holds every voxel to the same penalty, so that an area that knows nothing of a target adds its noise to
the prediction. Banded ridge (Nunez-Elizalde, Huth & Gallant 2019, NeuroImage 197:482) gives each band b of voxels a
penalty a_b:

    minimise over w   ||Y - sum_b X_b w_b||^2 + sum_b a_b ||w_b||^2

The penalties are found by `stages.decoders.ridge.band_search`. Once they are known the problem is ridge with a penalty of 1 on
voxels scaled by 1 / sqrt(a_b). That is solved as any other ridge, exactly, so that a fitted decoder predicts without
himalaya.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.utils.validation import check_array, validate_data

from stages.decoders import decoder_files
from stages.decoders.decoder_files import from_plain, plain, shapes_of
from stages.decoders.ridge.band_search import band_of_each_voxel, band_penalties
from stages.decoders.ridge.factorisation import TrainingPatterns
from stages.decoders.ridge.leave_one_out import Trials
from stages.decoders.ridge.ridge import ALPHAS
from stages.decoders.ridge.ridge_solver import ALPHA_RULE, RidgeSolver, rescaled
from stages.decoders.ridge.target_blocks import plan
from stages.decoders.solved import SolvedDecoder, finite_columns, mean_correlation
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError

RESCALINGS = ("held_out", "none")
RULES = {
    "alphas": ALPHA_RULE,
    "n_iter": Number(1, whole=True, example=60),
    "folds": Number(2, whole=True, example=5),
    "rescale": OneOf(*RESCALINGS),
    "seed": Number(0, whole=True),
}
# Stored of each column: as `SolvedBlock` calls it, in the order in which `rescaled` takes it.
STATISTICS = ("mean", "scale", "predicted_mean", "predicted_scale")
ENTRIES = frozenset("parameters bands n_voxels single_output groups band_penalty held_out_correlation".split())


class BandedRidgeDecoder(SolvedDecoder):
    """Ridge regression from voxels to one or several targets with a penalty for each band of voxels.

    >>> rng = np.random.default_rng(0)
    >>> patterns = rng.standard_normal((60, 20)).astype(np.float32)
    >>> targets = patterns[:, :2]
    >>> bands = {"V1": np.arange(20) < 5, "V2": np.arange(20) >= 15}
    >>> decoder = BandedRidgeDecoder(bands, alphas=[1.0, 100.0], n_iter=5).fit(patterns, targets)
    >>> penalty = decoder.band_penalty_["target"]
    >>> list(penalty), penalty["V1"] < penalty["V2"]
    (['V1', 'V2', 'rest'], True)

    Parameters
    ----------
    bands : mapping of str to bool array of shape (n_voxels,), optional
        Voxels of each band; no voxel may be in two. Voxels in none form a band called "rest". Without bands, all voxels
        are one, called "all": ordinary ridge.
    alphas : float or sequence of float
        Penalties to choose from, in units of ridge on standardised voxels. A penalty stands for what a voxel gets where
        all bands weigh the same; a band of weight g gets alpha / g, and the weights have mean 1. By default 22 from 1 to
        10,000,000, evenly spread on a logarithmic scale.
    n_iter : int
        How many weightings of the bands to try. The first weighs them equally, which is ordinary ridge; the others are
        drawn from Dirichlet distributions.
    folds : int
        Folds of the cross-validation that scores them. Trials of a stimulus share a fold.
    rescale : {"held_out", "none"}
        Ridge predictions vary less than what they predict. "held_out" gives every column of a prediction the
        mean and standard deviation it has in training, measured against exact predictions of the training stimuli
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
        Mean over columns of the correlation, over stimuli, between targets and predictions from trials of other stimuli.

    Notes
    -----
    Voxels are standardised by the training trials once, before the folds are cut, as usual with himalaya. A
    target's columns share one set of penalties, those with the least squared error averaged over its columns, each
    column scaled to unit variance. A target of more than 512 columns is scored through 512 random combinations of
    them (random signs), whose squared error has the same expectation.
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
            penalties. One target called "target" if it is not given.
        stimuli : int array of shape (n_trials,), optional
            The row of `y` that each trial belongs to; row i for trial i if it is not given. Rows that no trial
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
        names, band_of_voxel = band_of_each_voxel(self.bands, X.shape[1])
        training = TrainingPatterns(X)
        options = dict(alphas=alphas, n_iter=self.n_iter, folds=self.folds, seed=self.seed)
        found = band_penalties(training, band_of_voxel, y, groups, Trials(len(y), stimuli), **options)

        self.groups_, self.band_names_, self.held_out_correlation_ = groups, names, {}
        self.band_penalty_ = {name: dict(zip(names, map(float, row))) for name, row in zip(groups, found)}
        self.tensors_ = {"band_of_voxel_": band_of_voxel, "voxel_mean_": training.mean, "voxel_scale_": training.scale}
        self.tensors_ |= {name: np.empty(y.shape[1]) for name in STATISTICS}
        self.tensors_["coef_"] = np.empty((min(X.shape), y.shape[1]), dtype=X.dtype)
        if training.dual:
            self.tensors_["training_patterns_"] = X.copy()
        for target in self._targets():
            self._solve(target, X, y[:, target.place], stimuli)
        return self

    def _solve(self, target, X, values, stimuli):
        """Fill in what is kept of one target."""
        groups, training = {target.name: values.shape[1]}, self._scaled(X, target.name)
        solver = RidgeSolver(X, groups, len(values), alphas=1.0, stimuli=stimuli, held_out="all").factorise(training)
        correlations = []
        for solved in solver.solve({target.name: values}, weights="trials" if training.dual else True):
            place = slice(target.place.start + solved.block.place.start, target.place.start + solved.block.place.stop)
            for name in STATISTICS:
                self.tensors_[name][place] = getattr(solved, name)
            self.tensors_["coef_"][:, place] = solved.weights
            correlations.append(solved.correlation)
        self.held_out_correlation_[target.name] = mean_correlation(np.concatenate(correlations))

    def _scaled(self, patterns, name):
        """Patterns whose voxels are scaled so that the penalty of one target is 1."""
        penalty = np.array([self.band_penalty_[name][band] for band in self.band_names_])[self.band_of_voxel_]
        scale = self.tensors_["voxel_scale_"] * np.sqrt(penalty)
        return TrainingPatterns(patterns, mean=self.tensors_["voxel_mean_"], scale=scale)

    def _targets(self):
        return plan(self.groups_, max(self.groups_.values()))

    def _blocks(self, X, start):
        """Predict each target from number `start` on."""
        tensors = self.tensors_
        for target in self._targets()[start:]:
            if "training_patterns_" in tensors:
                rows = self._scaled(tensors["training_patterns_"], target.name).cross(X)
            else:
                rows = self._scaled(X, target.name).standardised(X)
            centred = rows.numpy().astype(X.dtype) @ tensors["coef_"][:, target.place]
            statistics = (tensors[name][target.place] for name in STATISTICS)
            yield target.name, target.columns, rescaled(centred, self.rescale, *statistics).astype(X.dtype, copy=False)

    @property
    def band_of_voxel_(self):
        return self.tensors_["band_of_voxel_"]

    def summary(self):
        """A row per target: columns, held-out correlation, and the penalty of a voxel of each band."""
        return [
            {
                "target": name,
                "columns": n_columns,
                "penalty": self._penalty_of_a_voxel(name),
                "held_out_correlation": self.held_out_correlation_[name],
            }
            | {f"penalty_{band}": penalty for band, penalty in self.band_penalty_[name].items()}
            for name, n_columns in self.groups_.items()
        ]

    def _penalty_of_a_voxel(self, name):
        """The geometric mean over voxels."""
        penalties = np.array([self.band_penalty_[name][band] for band in self.band_names_])
        return float(np.exp(np.mean(np.log(penalties[self.band_of_voxel_]))))

    def describe(self):
        """What the fitted decoder is besides its tensors, JSON-able."""
        whole = {name: int(getattr(self, name)) for name in ("n_iter", "folds", "seed")}
        return {
            "class": type(self).__name__,
            "parameters": {"alphas": self._check_parameters(), "rescale": self.rescale} | whole,
            "bands": None if self.bands is None else self.band_names_,
            "n_voxels": int(self.n_features_in_),
            "single_output": self._single_output,
            "groups": self.groups_,
            "band_penalty": self.band_penalty_,
            "held_out_correlation": plain(self.held_out_correlation_),
            "tensors": shapes_of(self.tensors_),
        }

    @classmethod
    def from_pretrained(cls, folder):
        """Open what `save_pretrained` wrote, the tensors memory-mapped.

        An InputError if files are missing or do not belong together.
        """
        config, tensors = decoder_files.read(cls, folder, ENTRIES)
        decoder = cls(**config["parameters"])
        decoder.tensors_, decoder.band_names_ = tensors, config["bands"] or ["all"]
        if config["bands"] is not None:
            decoder.bands = {name: decoder.band_of_voxel_ == band for band, name in enumerate(decoder.band_names_)}
        decoder.groups_, decoder.band_penalty_ = config["groups"], config["band_penalty"]
        decoder.held_out_correlation_ = from_plain(config["held_out_correlation"])
        decoder.n_features_in_, decoder._single_output = config["n_voxels"], config["single_output"]
        return decoder

    def __sklearn_is_fitted__(self):
        return "tensors_" in vars(self)

    # What is refused

    def _check_parameters(self):
        """The penalties as a list of float."""
        check_all(self, RULES)
        return [float(alpha) for alpha in np.ravel(self.alphas)]

    def _check_data(self, X, y, stimuli):
        """X and y (n_stimuli, n_targets) as floating point, y without rows of no trial, and the row of each trial."""
        if y is None:
            raise InputError(f"{type(self).__name__} requires y to be passed, but the target y is None; pass targets.")
        X = validate_data(self, X, dtype=(np.float64, np.float32), ensure_all_finite=False, ensure_min_samples=2)
        y = check_array(y, ensure_2d=False, dtype=(np.float64, np.float32), ensure_all_finite=False, input_name="y")
        self._single_output = y.ndim == 1
        y = y.reshape(len(y), -1)
        finite_columns(X, "The patterns X", "voxels")
        finite_columns(y, "The targets y", "columns")
        shown, stimuli = np.unique(_checked_stimuli(stimuli, len(X), len(y)), return_inverse=True)
        if len(shown) < self.folds:
            raise InputError(
                f"There are {len(shown):,} stimuli for {self.folds} folds; "
                f"pass folds={max(len(shown), 2)}, or trials of more stimuli."
            )
        return X, y if len(shown) == len(y) else y[shown], stimuli


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
