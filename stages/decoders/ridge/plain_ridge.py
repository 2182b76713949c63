"""Ridge regression as scikit-learn solves it, with or without an intercept, and ways to give predictions back their spread.

    minimise over w, b   ||y - X w - b||^2 + alpha ||w||^2,   b = 0 without an intercept

LEA (Qian et al. 2024) links two spaces of 1,024 values so, from responses to pictures through the origin. Of voxels, and to
choose a penalty, `stages.decoders.ridge.ridge` is the decoder.
"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from stages.decoders import decoder_files
from stages.decoders.decoder_files import shapes_of
from stages.decoders.solved import SolvedDecoder, finite_columns
from stages.ground.checks import Number, OneOf, check_all, is_constant
from stages.ground.errors import InputError
from stages.ground.progress import SILENT

RESCALINGS = ("none", "folds", "transductive")
_N_FOLDS = 5
_ENTRIES = frozenset(("parameters", "n_features", "groups", "single_output"))


class PlainRidge(SolvedDecoder):
    """Ridge of one penalty.

    >>> random = np.random.default_rng(0)
    >>> latents, embeddings = random.normal(size=(40, 9)), random.normal(size=(40, 4))
    >>> PlainRidge(alpha=10.0, intercept=False).fit(latents, embeddings).predict(np.zeros((1, 9)))
    array([[0., 0., 0., 0.]])

    Parameters
    ----------
    alpha : float
        Penalty, of values as they are. Published: 500.
    intercept : bool
        Whether b is fitted; else predictions go through the origin.
    rescale : {"none", "folds", "transductive"}
        "transductive" gives the predictions that are made together mean and standard deviation of the training targets, by their
        own: (p - mean p) / sd p * sd y + mean y, a degree of freedom taken off each, as published. One alone is refused.
        "folds" takes mean p and sd p of predictions of training rows by fits to the other four fifths, so that each can be made
        alone. "none" leaves them as they are.

    Attributes
    ----------
    groups_ : dict of str to int
        Name and number of columns of each target, in column order.
    """

    def __init__(self, alpha=500.0, intercept=True, rescale="none"):
        self.alpha, self.intercept, self.rescale = alpha, intercept, rescale

    def fit(self, X, y, groups=None):
        """Solve for all targets.

        Parameters
        ----------
        X : array of shape (n_rows, n_values)
        y : array of shape (n_rows, n_targets)
        groups : mapping of str to int, optional
            Name and number of columns of each target, in column order; one called "target" if it is not given.

        Returns
        -------
        self
        """
        check_all(
            self, {"alpha": Number(0, example=500.0), "rescale": OneOf(*RESCALINGS), "intercept": OneOf(True, False)}
        )
        X, y = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
        self._single_output = y.ndim == 1
        y = y.reshape(len(y), -1)
        if X.ndim != 2 or len(X) != len(y) or len(X) < 2:
            raise InputError(
                f"There are inputs of shape {X.shape} for targets of shape {y.shape}; expected as many rows of both, 2 or more."
            )
        finite_columns(X, "The inputs X", "values")
        finite_columns(y, "The targets y", "columns")
        self.groups_ = {"target": y.shape[1]} if groups is None else {name: int(n) for name, n in groups.items()}
        if sum(self.groups_.values()) != y.shape[1]:
            raise InputError(
                f"Groups hold {sum(self.groups_.values()):,} columns but the targets have {y.shape[1]:,}; give each its own."
            )
        self.n_features_in_ = X.shape[1]
        solved = self._solved(X, y)
        self.tensors_ = {"coef": solved.coef_.reshape(y.shape[1], -1), "intercept": np.zeros(y.shape[1])}
        self.tensors_["intercept"] += solved.intercept_
        self.tensors_ |= {"target_mean": y.mean(axis=0), "target_spread": y.std(axis=0, ddof=1)}
        made = self._held_out(X, y) if self.rescale == "folds" else y
        spread = made.std(axis=0, ddof=1)
        spread[is_constant(made.mean(axis=0), spread)] = np.inf
        self.tensors_ |= {"made_mean": made.mean(axis=0), "made_spread": spread}
        return self

    def fit_targets(self, X, targets, stimuli=None, progress=SILENT):
        """Fit to tables of targets (n_stimuli, n_columns) by name; `stimuli` has each row's row of these."""
        columns = {name: np.asarray(values[:], dtype=np.float64) for name, values in targets.items()}
        y = np.hstack(list(columns.values()))
        return self.fit(X, y if stimuli is None else y[stimuli], {name: one.shape[1] for name, one in columns.items()})

    def _solved(self, X, y):
        return Ridge(alpha=self.alpha, fit_intercept=self.intercept).fit(X, y)

    def _held_out(self, X, y):
        made = np.empty_like(y)
        for fitted, rest in KFold(min(_N_FOLDS, len(X))).split(X):
            made[rest] = self._solved(X[fitted], y[fitted]).predict(X[rest]).reshape(len(rest), -1)
        return made

    def _blocks(self, X, start):
        tensors = self.tensors_
        made = self._rescaled(X.astype(np.float64) @ tensors["coef"].T + tensors["intercept"]).astype(X.dtype)
        first = 0
        for place, (name, n_columns) in enumerate(self.groups_.items()):
            if place >= start:
                yield name, slice(0, n_columns), made[:, first : first + n_columns]
            first += n_columns

    def _rescaled(self, made):
        if self.rescale == "none":
            return made
        mean, spread = self.tensors_["made_mean"], self.tensors_["made_spread"]
        if self.rescale == "transductive":
            if len(made) < 2:
                raise InputError(
                    f"rescale is 'transductive' but {len(made)} prediction is made, which has no standard deviation; predict two "
                    "together or more, or fit with rescale='folds'."
                )
            mean, spread = made.mean(axis=0), made.std(axis=0, ddof=1)
            spread[is_constant(mean, spread)] = np.inf
        return (made - mean) / spread * self.tensors_["target_spread"] + self.tensors_["target_mean"]

    def summary(self):
        """A row per target."""
        return [{"target": name, "columns": n, "penalty": float(self.alpha)} for name, n in self.groups_.items()]

    def operations(self, n_rows, n_values, sizes):
        """Operations of a fit, a multiplication and an addition counted as two: products of values, and of these and targets."""
        return 2 * n_rows * n_values * (n_values + sum(sizes.values())) + n_values**3

    def describe(self):
        """What the fitted decoder is besides its tensors, JSON-able."""
        return {
            "class": type(self).__name__,
            "parameters": {"alpha": float(self.alpha), "intercept": bool(self.intercept), "rescale": self.rescale},
            "n_features": int(self.n_features_in_),
            "single_output": self._single_output,
            "groups": self.groups_,
            "tensors": shapes_of(self.tensors_),
        }

    @classmethod
    def from_pretrained(cls, folder):
        """Open what `save_pretrained` wrote; an InputError if files are missing or do not belong together."""
        config, tensors = decoder_files.read(cls, folder, _ENTRIES)
        decoder = cls(**config["parameters"])
        decoder.tensors_, decoder.groups_ = tensors, config["groups"]
        decoder.n_features_in_, decoder._single_output = config["n_features"], config["single_output"]
        return decoder

    def __sklearn_is_fitted__(self):
        return "tensors_" in vars(self)
