"""Decoding by an encoding model that is inverted, as VanRullen and Reddy (2019) decode faces.

For latents Z (n_trials, n_latents) of what was shown and patterns Y (n_trials, n_voxels), the encoding model is

    Y = [Z 1] W,    W of shape (n_latents + 1, n_voxels), the bias last,

with W by least squares. A pattern y is decoded by the pseudo-inverse

    [z b] = y W' (W W')^-1,

which is the least-squares solution of y = [z b] W: every latent and the bias explain the pattern together. Then b is dropped.
That is not the same as a model without a bias, nor as one whose bias is taken to be known.

The authors estimate W in a general linear model of the time series, with the latents as parametric regressors of the events.
From single-trial or averaged patterns, as here, it is the regression above. `InverseEncodingDecoder.from_encoding` takes a W
that was estimated elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from stages.decoders import decoder_files
from stages.decoders.decoder_files import from_plain, plain, shapes_of
from stages.decoders.encoding_inversion import encoding_weights, inverse_encoding
from stages.decoders.ridge.by_blocks import stimuli_shown
from stages.decoders.ridge.target_blocks import plan, read_columns
from stages.decoders.solved import SolvedDecoder, finite_columns, mean_correlation
from stages.ground.checks import Number, check_all, is_constant
from stages.ground.errors import InputError
from stages.ground.progress import SILENT

RULES = {"encoding_penalty": Number(0, example=1.0), "inverse_penalty": Number(0, example=1.0)}
ENTRIES = frozenset("parameters n_voxels single_output groups rank condition training_correlation".split())


class InverseEncodingDecoder(SolvedDecoder):
    """Latents from patterns by the pseudo-inverse of an encoding model.

    >>> random = np.random.default_rng(0)
    >>> latents, weights = random.normal(size=(30, 4)), random.normal(size=(4, 20))
    >>> patterns = latents @ weights + 50
    >>> decoder = InverseEncodingDecoder().fit(patterns, latents)
    >>> bool(np.abs(decoder.predict(patterns) - latents).max() < 1e-9)
    True

    With several targets all their columns are latents of one model. The inverse exists if there are as many voxels as latents and
    bias, and as many trials. If it does not, the smallest latents that fit are taken, and `notes` says so.

    Parameters
    ----------
    encoding_penalty : float
        Of the squared weights of the latents in the encoding model, not of the bias; in squared units of the latents, summed over
        trials. Published: 0, least squares.
    inverse_penalty : float
        Of the squared latents when a pattern is decoded, not of the bias; in squared units of the weights, summed over voxels.
        Published: 0, the plain inverse. Latents whose weights are small or alike make that one uncertain.

    Attributes
    ----------
    groups_ : dict of str to int
        Name and number of columns of each target, in column order.
    rank_ : int
        Of W.
    condition_ : float
        Largest by smallest singular value of W, of those that count for the rank. NaN if W is 0.
    training_correlation_ : dict of str to float
        Mean over the columns of each target of the correlation between latents and decoded latents of the training trials, which
        the model knows. NaN if W was given.
    tensors_ : dict of str to array
        ``encoding_`` is W, and ``coef_`` (n_voxels, n_latents) decodes.
    """

    def __init__(self, encoding_penalty=0.0, inverse_penalty=0.0):
        self.encoding_penalty = encoding_penalty
        self.inverse_penalty = inverse_penalty

    def fit(self, X, y, groups: Mapping[str, int] | None = None, stimuli=None):
        """Fit the encoding model, and invert it.

        Parameters
        ----------
        X : array of shape (n_trials, n_voxels)
            Patterns of the training stimuli, or single trials.
        y : array of shape (n_stimuli, n_latents)
            Latents; several targets side by side.
        groups : mapping of str to int, optional
            Name and number of columns of each target, in column order. One target called "target" if it is not given.
        stimuli : array of int, shape (n_trials,), optional
            Row of `y` for each trial; trial i shows stimulus i if it is not given.

        Returns
        -------
        self
        """
        kinds = dict(dtype=self._dtypes, ensure_min_samples=2)
        if stimuli is None:
            X, y = validate_data(self, X, y, multi_output=True, y_numeric=True, **kinds)
        else:
            X, y = validate_data(self, X, **kinds), check_array(y, ensure_2d=False, **kinds)
        latents = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        return self._fitted(X, latents, _named(groups, latents.shape[1]), stimuli, np.ndim(y) == 1)

    def fit_targets(self, X, targets, stimuli=None, progress=SILENT):
        """Fit targets that are separate, and may be on disk; they are read into memory together.

        Parameters
        ----------
        X : array of shape (n_trials, n_voxels), float32 or float64, finite
        targets : mapping of str to array-like of shape (n_stimuli, n_columns)
            In memory, or anything with ``shape`` and a method ``columns(start, stop)``.
        stimuli : array of int, shape (n_trials,), optional
        progress : callable, optional
            Called with (label, done, total).

        Returns
        -------
        self
        """
        X = validate_data(self, X, dtype=self._dtypes, ensure_min_samples=2)
        groups = {name: int(target.shape[1]) for name, target in targets.items()}
        parts = []
        for block in plan(groups, max(groups.values())):
            values = np.array(read_columns(targets[block.name], block.columns), dtype=np.float64)
            parts.append(finite_columns(values, f"Values of {block.name}", "columns"))
            progress("reading targets", block.place.stop, sum(groups.values()))
        stimuli_shown(len(X), targets, stimuli)
        return self._fitted(X, np.hstack(parts), groups, stimuli, False)

    def _fitted(self, X, latents, groups, stimuli, single_output):
        check_all(self, RULES)
        stimuli_shown(len(X), {"latents": latents}, stimuli)
        shown = latents if stimuli is None else latents[np.asarray(stimuli)]
        weights = encoding_weights(shown, X, self.encoding_penalty)
        self._inverted(weights, groups, X.dtype, single_output)
        decoded = X.astype(np.float64) @ self.tensors_["coef_"]
        correlations = _correlations(shown, decoded)
        self.training_correlation_ = {
            block.name: mean_correlation(correlations[block.place]) for block in plan(groups, max(groups.values()))
        }
        return self

    def _inverted(self, weights, groups, dtype, single_output):
        inverse, self.rank_, self.condition_ = inverse_encoding(weights, self.inverse_penalty)
        self.groups_, self.n_features_in_, self._single_output = groups, weights.shape[1], single_output
        # Dropped after the inversion: the bias takes its share of a pattern.
        self.tensors_ = {"encoding_": weights.astype(dtype), "coef_": inverse[:, :-1].astype(dtype)}

    @classmethod
    def from_encoding(cls, weights, groups: Mapping[str, int] | None = None, inverse_penalty=0.0):
        """Make a decoder of an encoding model that was estimated elsewhere.

        >>> weights = np.array([[1.0, 0, -1], [0, 2, 0], [5, 5, 5]])
        >>> decoder = InverseEncodingDecoder.from_encoding(weights)
        >>> decoder.predict(np.array([[3.0, -1, -3]]) + 5).round(9).tolist()
        [[3.0, -0.5]]

        Parameters
        ----------
        weights : array of shape (n_latents + 1, n_voxels), float32 or float64
            W, the bias last.
        groups : mapping of str to int, optional
            Name and number of columns of each target, without the bias.
        inverse_penalty : float
            As for the class.

        Returns
        -------
        InverseEncodingDecoder

        Raises
        ------
        InputError
            No array of two rows or more, values that are not finite, or groups of another number of latents.
        """
        weights = np.asarray(weights)
        if weights.ndim != 2 or len(weights) < 2 or weights.dtype not in (np.float64, np.float32):
            raise InputError(
                f"Encoding weights are {weights.dtype} of shape {weights.shape}; expected floats (n_latents + 1, n_voxels), the "
                "bias last: transpose them, or add the row of the bias."
            )
        weights = finite_columns(weights, "The encoding weights", "voxels")
        decoder = cls(inverse_penalty=inverse_penalty)
        check_all(decoder, RULES)
        groups = _named(groups, len(weights) - 1)
        decoder._inverted(weights.astype(np.float64), groups, weights.dtype, False)
        decoder.training_correlation_ = dict.fromkeys(groups, float("nan"))
        return decoder

    def encoded(self, latents):
        """Patterns that the encoding model expects.

        Parameters
        ----------
        latents : array of shape (n, n_latents)

        Returns
        -------
        array of shape (n, n_voxels)
            In the units of the training patterns.
        """
        check_is_fitted(self)
        weights = self.tensors_["encoding_"]
        latents = np.asarray(latents)
        if latents.ndim != 2 or latents.shape[1] != len(weights) - 1:
            raise InputError(
                f"Latents have shape {latents.shape}; expected (n, {len(weights) - 1:,}) as in the fit, without the bias: "
                "leave its column out."
            )
        return latents @ weights[:-1] + weights[-1]

    def _blocks(self, X, start):
        for block in plan(self.groups_, max(self.groups_.values()))[start:]:
            values = X @ self.tensors_["coef_"][:, block.place]
            yield block.name, block.columns, values.astype(X.dtype, copy=False)

    def summary(self):
        """A row per target: columns, and the correlation of its decoded columns in the training trials."""
        return [
            {"target": name, "columns": columns, "training_correlation": self.training_correlation_[name]}
            for name, columns in self.groups_.items()
        ]

    def notes(self):
        """The rank of W and its condition."""
        rows = len(self.tensors_["encoding_"])
        said = f"The encoding model has {rows:,} rows, the bias with them, of rank {self.rank_:,}"
        notes = [f"{said} and condition {self.condition_:.3g}."]
        if self.rank_ < rows and not self.inverse_penalty:
            notes.append(
                "It has no plain inverse: the smallest latents that fit a pattern are decoded; more voxels or trials, or an "
                "inverse_penalty, make it one."
            )
        return notes

    # Files

    def describe(self):
        """What the fitted decoder is besides its tensors, JSON-able."""
        return {
            "class": type(self).__name__,
            "parameters": plain(self.get_params(deep=False)),
            "n_voxels": int(self.n_features_in_),
            "single_output": self._single_output,
            "groups": self.groups_,
            "rank": self.rank_,
            "condition": plain(self.condition_),
            "training_correlation": plain(self.training_correlation_),
            "tensors": shapes_of(self.tensors_),
        }

    @classmethod
    def from_pretrained(cls, folder):
        """Open what `save_pretrained` wrote, the tensors memory-mapped.

        An InputError if files are missing or do not belong together.
        """
        config, tensors = decoder_files.read(cls, folder, ENTRIES)
        decoder = cls(**config["parameters"])
        decoder.tensors_, decoder.groups_, decoder.rank_ = tensors, config["groups"], config["rank"]
        decoder.condition_ = from_plain(config["condition"])
        decoder.training_correlation_ = from_plain(config["training_correlation"])
        decoder.n_features_in_, decoder._single_output = config["n_voxels"], config["single_output"]
        return decoder

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # One latent of many voxels: least squares of the patterns, and not of the latents.
        tags.regressor_tags.poor_score = True
        return tags


def _named(groups, n_latents):
    groups = {"target": n_latents} if groups is None else {name: int(n) for name, n in groups.items()}
    if sum(groups.values()) != n_latents:
        raise InputError(
            f"Groups hold {sum(groups.values()):,} columns but there are {n_latents:,} latents; pass "
            "groups={name: number of columns} in column order."
        )
    return groups


def _correlations(first, second):
    """Correlation of each column; NaN for one that does not vary."""
    constant = is_constant(first.mean(axis=0), first.std(axis=0)) | is_constant(second.mean(axis=0), second.std(axis=0))
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    size = np.linalg.norm(first, axis=0) * np.linalg.norm(second, axis=0)
    return np.divide((first * second).sum(axis=0), size, out=np.full(len(size), np.nan), where=~constant & (size > 0))
