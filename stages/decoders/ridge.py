"""Ridge regression from voxels to targets: one factorisation for every target and every penalty.

Stage one of Brain-Diffuser (Ozcelik & VanRullen 2023) is a ridge regression for each target. Its published scripts
type the penalties in, factorise the same voxels once per token, and rescale the predictions with statistics of
the test set. Here the voxels are factorised once, the penalty of each target is chosen by exact leave-one-out
error on the training stimuli, and predictions are rescaled with statistics of held-out training predictions, so
that one pattern can be decoded alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.linalg
from safetensors.numpy import load_file, save_file
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from stages.errors import InputError
from stages.whole_files import whole_file, write_text

ALPHAS = tuple(float(alpha) for alpha in np.logspace(0, 7, 22))
RESCALINGS = ("held_out", "none", "transductive")


@dataclass(frozen=True)
class RidgeFactor:
    """Thin eigendecomposition of centred patterns, X = U diag(sqrt(s)) V'.

    Attributes
    ----------
    left : array of shape (n_stimuli, rank), float64
        U, orthonormal columns, each orthogonal to the constant vector.
    eigenvalues : array of shape (rank,), float64
        s, of the Gram matrix XX'.
    """

    left: np.ndarray
    eigenvalues: np.ndarray

    def shrinkage(self, alpha):
        """What is left of each direction under penalty `alpha`, s / (s + alpha), shape (rank,)."""
        return self.eigenvalues / (self.eigenvalues + alpha)

    def leverage(self, alpha):
        """Diagonal of the smoother, the intercept's 1/n included; shape (n_stimuli,)."""
        return 1 / len(self.left) + (self.left**2) @ self.shrinkage(alpha)

    def held_out(self, targets, projected, alpha):
        """Exact leave-one-out predictions, the intercept refitted each time.

        `targets` (n_stimuli, n_targets) are centred, `projected` is U' times them.
        """
        fitted = self.left @ (self.shrinkage(alpha)[:, None] * projected)
        return targets - (targets - fitted) / np.maximum(1 - self.leverage(alpha), 1e-10)[:, None]

    def dual(self, projected, alpha):
        """Dual coefficients, the part of (XX' + alpha)^-1 Y that patterns can see; `projected` is U'Y."""
        return self.left @ (projected / (self.eigenvalues + alpha)[:, None])


def factorise(patterns):
    """Factorise centred patterns through the smaller of the two Gram matrices.

    Parameters
    ----------
    patterns : array of shape (n_stimuli, n_voxels)
        Columns have mean zero.

    Returns
    -------
    RidgeFactor
        In float64, whatever came in: a float32 Gram matrix loses the small eigenvalues of duplicated voxels.
    """
    patterns = np.asarray(patterns, dtype=np.float64)
    n_stimuli, n_voxels = patterns.shape
    if n_stimuli <= n_voxels:
        eigenvalues, left = scipy.linalg.eigh(patterns @ patterns.T)
    else:
        eigenvalues, right = scipy.linalg.eigh(patterns.T @ patterns)
        left = patterns @ right
    keep = eigenvalues > max(n_stimuli, n_voxels) * np.finfo(np.float64).eps * max(eigenvalues[-1], 0)
    eigenvalues, left = eigenvalues[keep], left[:, keep]
    if n_stimuli > n_voxels:
        left = left / np.sqrt(eigenvalues)
    return RidgeFactor(np.ascontiguousarray(left), eigenvalues)


def target_gram(targets):
    """Gram matrix of the varying columns of centred targets, each scaled to a leave-one-out variance of one.

    Parameters
    ----------
    targets : array of shape (n_stimuli, n_targets), float64
        Centred.

    Returns
    -------
    array of shape (n_stimuli, n_stimuli)
        Mean over columns of the outer products y y' / v, with v the mean squared error of predicting each stimulus
        by the mean of the others; zero where no column varies.
    """
    n_stimuli = len(targets)
    variance = (targets**2).mean(axis=0) * (n_stimuli / (n_stimuli - 1)) ** 2
    varying = variance > 1e-12 * max(variance.max(initial=0), np.finfo(np.float64).tiny)
    scaled = targets[:, varying] / np.sqrt(variance[varying] * max(varying.sum(), 1))
    return scaled @ scaled.T


def leave_one_out_error(factor, gram, alphas):
    """Mean squared leave-one-out error of each penalty, averaged over all targets at once.

    The squared residuals of stimulus i, summed over targets, are the i-th diagonal entry of (I - H) G (I - H) with the
    smoother H and the targets' Gram matrix G: a penalty costs one product of n_stimuli-sized matrices, however many
    targets there are.

    Parameters
    ----------
    factor : RidgeFactor
    gram : array of shape (n_stimuli, n_stimuli)
        From `target_gram`.
    alphas : sequence of float

    Returns
    -------
    array of shape (n_alphas,)
        1 is what predicting the mean of the other stimuli gives.
    """
    if not gram.any():
        return np.ones(len(alphas))
    projected = factor.left.T @ gram
    inner = projected @ factor.left
    errors = []
    for alpha in alphas:
        shrunk = factor.left * factor.shrinkage(alpha)
        squared = np.diag(gram) - 2 * (shrunk * projected.T).sum(axis=1) + ((shrunk @ inner) * shrunk).sum(axis=1)
        errors.append((squared / np.maximum(1 - factor.leverage(alpha), 1e-10) ** 2).mean())
    return np.array(errors)


class RidgeDecoder(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression from patterns to one or several targets.

    Parameters
    ----------
    alphas : float, sequence of float, or dict of str to either
        Penalties to choose from, in units of standardised voxels. One value fixes the penalty; a dict gives each
        target its own.
    rescale : {"held_out", "none", "transductive"}
        Ridge predictions vary less than what they predict. "held_out" gives every column of a prediction the
        mean and standard deviation it has in training, measured against exact leave-one-out predictions of the
        training stimuli. "transductive" is the published recipe: against the very patterns that are passed
        to `predict`, all together, so that predicting one item is impossible. "none" leaves predictions as they are.

    Attributes
    ----------
    groups_ : dict of str to int
        Name and number of columns of each target, in column order.
    alpha_ : dict of str to float
        The penalty chosen for each target.
    error_ : dict of str to list of float
        Leave-one-out error of each penalty; 1 is the error of the training mean.
    held_out_correlation_ : dict of str to float
        Mean over columns of the correlation between targets and leave-one-out predictions.
    """

    def __init__(self, alphas=ALPHAS, rescale="held_out"):
        self.alphas = alphas
        self.rescale = rescale

    def fit(self, X, y, groups: Mapping[str, int] | None = None):
        """Fit all targets.

        Parameters
        ----------
        X : array of shape (n_stimuli, n_voxels)
            Patterns of the training stimuli.
        y : array of shape (n_stimuli, n_targets)
            Targets side by side.
        groups : mapping of str to int, optional
            Name and number of columns of each target, in column order; they sum to n_targets. Each gets its own
            penalty. One target called "target" where it is not given.

        Returns
        -------
        self
        """
        if self.rescale not in RESCALINGS:
            raise InputError(
                f"rescale is {self.rescale!r}; expected one of {', '.join(map(repr, RESCALINGS))}: "
                "pass rescale='held_out' for statistics of held-out training predictions."
            )
        X, y = validate_data(
            self, X, y, multi_output=True, y_numeric=True, dtype=(np.float64, np.float32), ensure_min_samples=3
        )
        self._single_output = y.ndim == 1
        y = y.reshape(len(y), -1).astype(np.result_type(y.dtype, np.float32), copy=False)
        groups = {"target": y.shape[1]} if groups is None else {name: int(n) for name, n in groups.items()}
        if sum(groups.values()) != y.shape[1]:
            raise InputError(
                f"Groups hold {sum(groups.values()):,} columns but the targets have {y.shape[1]:,}; "
                "pass groups={name: number of columns} in column order."
            )
        alphas = {name: self._penalties(name) for name in groups}

        for name in ("coef_", "training_patterns_", "dual_coef_"):
            vars(self).pop(name, None)  # an earlier fit may have had the other shape
        self.voxel_mean_, self.voxel_scale_ = _mean_and_scale(X)
        patterns = (X - self.voxel_mean_) / self.voxel_scale_
        factor = factorise(patterns)
        self.target_mean_, self.target_scale_ = _mean_and_scale(y)
        self.groups_, self.alpha_, self.error_, self.held_out_correlation_ = groups, {}, {}, {}
        self.predicted_mean_ = np.empty_like(self.target_mean_)
        self.predicted_scale_ = np.empty_like(self.target_scale_)
        dual = np.empty((len(y), y.shape[1]), dtype=X.dtype)
        for name, columns in _slices(groups).items():
            centred = y[:, columns].astype(np.float64) - self.target_mean_[columns]
            errors = leave_one_out_error(factor, target_gram(centred), alphas[name])
            alpha = alphas[name][int(np.argmin(errors))]
            self.alpha_[name], self.error_[name] = alpha, [float(error) for error in errors]
            projected = factor.left.T @ centred
            held_out = factor.held_out(centred, projected, alpha)
            # About the mean of the stimuli it was predicted from: that mean lacks the stimulus itself, and would
            # otherwise anticorrelate with it.
            held_out = held_out + centred / (len(centred) - 1)
            self.held_out_correlation_[name] = _mean_correlation(centred, held_out)
            mean, self.predicted_scale_[columns] = _mean_and_scale(held_out)
            self.predicted_mean_[columns] = mean + self.target_mean_[columns]
            dual[:, columns] = factor.dual(projected, alpha)
        if X.shape[1] <= X.shape[0]:
            self.coef_ = (patterns.T @ dual).astype(X.dtype)
        else:
            self.training_patterns_, self.dual_coef_ = patterns.astype(X.dtype), dual
        return self

    def predict(self, X):
        """Predict all targets.

        Parameters
        ----------
        X : array of shape (n_stimuli, n_voxels)
            Patterns, in the units of the training patterns.

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
            predictions = (patterns @ self.training_patterns_.T) @ self.dual_coef_
        predictions = predictions + self.target_mean_
        if self.rescale == "held_out":
            predictions = _rescaled(
                predictions, self.predicted_mean_, self.predicted_scale_, self.target_mean_, self.target_scale_
            )
        elif self.rescale == "transductive":
            if len(predictions) < 2:
                raise InputError(
                    "Transductive rescaling got 1 pattern; it needs the whole test set at once: pass all patterns "
                    "together, or fit with rescale='held_out'."
                )
            predictions = _rescaled(predictions, *_mean_and_scale(predictions), self.target_mean_, self.target_scale_)
        predictions = predictions.astype(X.dtype, copy=False)
        return predictions[:, 0] if self._single_output else predictions

    def split(self, targets):
        """Cut an array of shape (n_stimuli, n_targets) into a dict of name to (n_stimuli, n_columns)."""
        return {name: targets[:, columns] for name, columns in _slices(self.groups_).items()}

    def save_pretrained(self, folder):
        """Write `config.json` and `model.safetensors` into `folder`."""
        check_is_fitted(self)
        folder = Path(folder)
        tensors = {
            name: np.ascontiguousarray(value)
            for name, value in vars(self).items()
            if isinstance(value, np.ndarray) and value.dtype.kind == "f"
        }
        config = {
            "class": "RidgeDecoder",
            "parameters": {
                "alphas": {name: self._penalties(name) for name in self.groups_},
                "rescale": self.rescale,
            },
            "n_voxels": int(self.n_features_in_),
            "single_output": self._single_output,
            "groups": self.groups_,
            "alpha": self.alpha_,
            "error": self.error_,
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
            config = json.loads((folder / "config.json").read_text())
            tensors = load_file(folder / "model.safetensors")
        except FileNotFoundError as error:
            raise InputError(
                f"No decoder in {folder}: {Path(error.filename).name} is missing; run `brainrecon fit`."
            ) from None
        except Exception as error:
            raise InputError(
                f"The decoder in {folder} cannot be read ({error}); fit it again with `brainrecon fit`."
            ) from None
        if config.get("class") != "RidgeDecoder":
            raise InputError(
                f"{folder} holds a {config.get('class')!r}, expected a 'RidgeDecoder'; name another folder."
            )
        shapes = {name: list(value.shape) for name, value in tensors.items()}
        if shapes != config["tensors"]:
            wrong = sorted(
                name
                for name in shapes.keys() | config["tensors"].keys()
                if shapes.get(name) != config["tensors"].get(name)
            )
            raise InputError(
                f"model.safetensors in {folder} does not fit its config.json at {', '.join(wrong)}; "
                "fit the decoder again with `brainrecon fit`."
            )
        decoder = cls(**config["parameters"])
        decoder.groups_, decoder.alpha_, decoder.error_ = config["groups"], config["alpha"], config["error"]
        decoder.held_out_correlation_ = config["held_out_correlation"]
        decoder.n_features_in_, decoder._single_output = config["n_voxels"], config["single_output"]
        vars(decoder).update(tensors)
        return decoder

    def _penalties(self, name):
        alphas = self.alphas[name] if isinstance(self.alphas, Mapping) and name in self.alphas else self.alphas
        if isinstance(alphas, Mapping):
            raise InputError(f"alphas names {', '.join(alphas)} but not target {name!r}; give that one a penalty too.")
        alphas = [float(alpha) for alpha in np.atleast_1d(alphas)]
        if not alphas or not min(alphas) > 0:
            raise InputError(
                f"The penalties of target {name!r} are {alphas}; expected positive numbers, for example [1e3, 1e4, 1e5]."
            )
        return alphas

    def _check_voxels(self, X):
        shape = getattr(X, "shape", ())
        if len(shape) == 2 and shape[1] != self.n_features_in_ and not hasattr(self, "feature_names_in_"):
            # scikit-learn's own wording comes first: its conformance tests look for it.
            raise InputError(
                f"X has {shape[1]} features, but RidgeDecoder is expecting {self.n_features_in_} features as input: "
                f"patterns have {shape[1]:,} voxels but the decoder was fitted on {self.n_features_in_:,}; "
                "load the same subject and roi, or fit a decoder on these."
            )
        return validate_data(self, X, reset=False, dtype=(np.float64, np.float32))


def _mean_and_scale(values):
    """Mean and standard deviation (ddof 1) of each column in float64 precision; a scale of 1 where nothing varies."""
    mean = values.mean(axis=0, dtype=np.float64)
    scale = values.std(axis=0, ddof=1, dtype=np.float64)
    constant = scale <= 1e-7 * np.maximum(np.abs(mean), np.finfo(np.float32).tiny)
    dtype = values.dtype
    return mean.astype(dtype), np.where(constant, 1, scale).astype(dtype)


def _rescaled(predictions, from_mean, from_scale, to_mean, to_scale):
    return (predictions - from_mean) / from_scale * to_scale + to_mean


def _mean_correlation(targets, predictions):
    predictions = predictions - predictions.mean(axis=0)
    norm = np.sqrt((targets**2).sum(axis=0) * (predictions**2).sum(axis=0))
    valid = norm > 0
    return float(((targets * predictions).sum(axis=0)[valid] / norm[valid]).mean()) if valid.any() else 0.0


def _slices(groups):
    ends = np.cumsum(list(groups.values()))
    return {name: slice(int(end - n), int(end)) for (name, n), end in zip(groups.items(), ends)}
