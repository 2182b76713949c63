"""What decoders that are solved, not trained, have in common."""

from __future__ import annotations

import math

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from stages.decoders import decoder_files
from stages.ground.checks import finite
from stages.ground.errors import InputError


class SolvedDecoder(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """A scikit-learn regressor that is a `stages.decoders.decoder.Decoder`.

    A subclass has ``fit``, `_blocks` (which predicts checked patterns), ``summary``, ``describe`` and ``from_pretrained``, and
    after a fit ``tensors_``, its arrays by name.

    Attributes
    ----------
    groups_ : dict of str to int
        Name and number of columns of each target, in column order.
    """

    # What patterns may be in; others are converted to the first.
    _dtypes = (np.float64, np.float32)

    @property
    def gives(self):
        check_is_fitted(self)
        return {name: (n_columns,) for name, n_columns in self.groups_.items()}

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
        predictions = self._side_by_side(X)
        return predictions[:, 0] if self._single_output else predictions

    def _side_by_side(self, X):
        check_is_fitted(self)
        X = self.checked(X)
        first, offsets = 0, {}
        for name, shape in self.gives.items():
            offsets[name] = first
            first += math.prod(shape)
        predictions = np.empty((len(X), first), dtype=X.dtype)
        for name, columns, values in self._blocks(X, 0):
            predictions[:, offsets[name] + columns.start : offsets[name] + columns.stop] = values
        return predictions

    def predict_blocks(self, patterns, *, subject=None, start=0):
        """As `stages.decoders.decoder.Decoder.predict_blocks`; there is one subject, whatever its name."""
        check_is_fitted(self)
        return self._blocks(self.checked(patterns), start)

    def split(self, targets):
        """Cut an array of shape (n_stimuli, n_targets) into a dict of name to (n_stimuli, n_columns)."""
        ends = np.cumsum(list(self.groups_.values()))[:-1]
        return dict(zip(self.groups_, np.split(targets, ends, axis=1)))

    def checked(self, X):
        """Patterns as an array of floats, finite, with the voxels that the decoder was fitted on; or an InputError."""
        shape = getattr(X, "shape", ())
        if len(shape) == 2 and shape[1] != self.n_features_in_ and not hasattr(self, "feature_names_in_"):
            # scikit-learn's own wording comes first: its conformance tests look for it.
            raise InputError(
                f"X has {shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} features as input: "
                f"patterns have {shape[1]:,} voxels but the decoder was fitted on {self.n_features_in_:,}; "
                "load the same subject and roi, or fit a decoder on these."
            )
        X = validate_data(self, X, reset=False, dtype=self._dtypes, ensure_all_finite=False)
        return finite_columns(X, "The patterns", "voxels")

    @property
    def needs_targets(self):
        """Whether predictions read the training targets again, which `attach` says where to find."""
        return False

    def notes(self):
        """Nothing else; a subclass may have something to say."""
        return []

    def curves(self):
        """None: nothing is trained."""
        return {}

    def save_pretrained(self, folder):
        """Write `config.json` and `model.safetensors` into `folder`."""
        check_is_fitted(self)
        decoder_files.save(self, folder)


def finite_columns(values, name, columns):
    """Return an array (n_rows, n_columns) that is finite; an InputError that counts the `columns` which are not."""
    return finite(values, name, axis=1, units=columns, fix="leave these out, or estimate them again")


def mean_correlation(correlations):
    """Mean of correlations of columns, of those that are known; NaN if none is."""
    known = correlations[~np.isnan(correlations)]
    return float(known.mean()) if len(known) else float("nan")
