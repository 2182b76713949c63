"""Decoded features against the true ones: unit by unit over stimuli, and stimulus by stimulus over units.

A convolution has millions of units. They are read in blocks of columns, once; what is kept of them are sums over units, all of
shape (n_stimuli, n_stimuli) at most.
"""

import numpy as np

from stages.ground.errors import InputError

_VALUES_PER_BLOCK = 2**20
_RUN = 32  # columns that lie together in a feature table


class FeatureCorrelation:
    """Correlations of decoded features with true ones, from blocks of units as they come.

    >>> true = np.array([[0.0, 5.0, 1.0], [1.0, 3.0, 1.0], [2.0, 4.0, 1.0]])
    >>> found = FeatureCorrelation(3)
    >>> found.add(true[:, :1], true[:, :1] * 10)
    >>> found.add(true[:, 1:], -true[:, 1:])
    >>> found.n_units, found.n_constant, found.profile
    (3, 1, 0.0)

    **Profile correlation** is that of one unit over stimuli, averaged over units. With z the values of a unit less their mean
    over the stimuli and divided by their (population) standard deviation over the stimuli, and U units that vary ::

        r_u = mean over i of z_iu z'_iu,    profile = mean over u of r_u

    Units that do not vary over the stimuli, in truth or as they were decoded, have no correlation: they are left out of the mean
    (NumPy's nanmean), and counted.

    Parameters
    ----------
    n_stimuli : int
        Three or more: two points correlate by 1 or -1 whatever they are.

    Attributes
    ----------
    n_units : int
        All that were added.
    n_constant : int
        Of these, units without a profile correlation.
    """

    def __init__(self, n_stimuli):
        if n_stimuli < 3:
            raise InputError(
                f"Features are correlated over {n_stimuli} stimuli; expected at least 3. Score more stimuli together."
            )
        self.n_stimuli, self.n_units, self.n_constant = n_stimuli, 0, 0
        self._profile, self._influence = np.zeros((n_stimuli, n_stimuli)), np.zeros(n_stimuli)
        self._raw, self._standard = _RowSums(n_stimuli), _RowSums(n_stimuli)

    def add(self, true, predicted, training=None):
        """Take in some units.

        Parameters
        ----------
        true, predicted : array of shape (n_stimuli, n_columns)
            The same units of both, finite.
        training : (mean, std), optional
            Of the true features of the training stimuli, arrays that go with (n_stimuli, n_columns); for `patterns`. A standard
            deviation of 0 is taken as 1.

        Raises
        ------
        InputError
            Shapes do not match, or a value is not finite.
        """
        true, predicted = np.asarray(true, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
        if true.ndim != 2 or true.shape != predicted.shape or len(true) != self.n_stimuli:
            raise InputError(
                f"A block of true features has shape {true.shape} and one of decoded features {predicted.shape}; expected "
                f"({self.n_stimuli}, n_columns) of both. Decode the same stimuli again."
            )
        if spoilt := int(sum((~np.isfinite(side)).any(axis=0).sum() for side in (true, predicted))):
            raise InputError(
                f"{spoilt:,} units hold NaN or infinite values; expected finite numbers. Look at what decoded or encoded them."
            )
        self.n_units += true.shape[1]
        self._raw.add(true, predicted)
        if training is not None:
            mean, std = (np.asarray(one, dtype=np.float64) for one in training)
            factor = 1 / np.where(std > 0, std, 1.0)
            self._standard.add((true - mean) * factor, (predicted - mean) * factor)
        varies = np.logical_and(*((side.max(axis=0) > side.min(axis=0)) for side in (true, predicted)))
        self.n_constant += int((~varies).sum())
        one, other = (_standing(side[:, varies]) for side in (true, predicted))
        self._profile += one @ other.T
        products = one * other
        self._influence += products.sum(axis=1) - (one**2 + other**2) @ (products.mean(axis=0) / 2)

    @property
    def n_correlated(self):
        """Units with a profile correlation."""
        return self.n_units - self.n_constant

    @property
    def profile(self):
        """Mean profile correlation over the units that vary, float in -1..1; NaN if none does."""
        return float(np.trace(self.profiles)) / self.n_stimuli

    @property
    def profiles(self):
        """Mean over units of z_iu z'_ju: float64 (n_stimuli, n_stimuli), true i by decoded j; NaN if no unit varies.

        The mean of its diagonal is the profile correlation; the mean of the entries (i, p(i)) is that of decoded features which
        a permutation p assigns to other stimuli.
        """
        return self._profile / self.n_correlated if self.n_correlated else np.full_like(self._profile, np.nan)

    @property
    def profile_values(self):
        """What each stimulus has part in the profile correlation: float64 (n_stimuli,), their mean is `profile`.

        Value i is profile + I_i with the influence of stimulus i on it (infinitesimal jackknife, Efron 1982, chapter 6)::

            I_i = mean over u of [ z_iu z'_iu - r_u (z_iu² + z'_iu²) / 2 ],    which add up to 0

        To first order a resample of stimuli changes the profile correlation as it changes the mean of these values, so that a
        bootstrap of means does for it, and no unit is correlated again. Pairs of matrices are compared stimulus by stimulus.
        """
        if not self.n_correlated:
            return np.full(self.n_stimuli, np.nan)
        return self.profile + self._influence / self.n_correlated

    @property
    def similarity(self):
        """Pearson correlation over units of true pattern i with decoded pattern j, as they are: float64 (n_stimuli, n_stimuli).

        NaN if a pattern is constant over units. For identification.
        """
        return self._raw.correlation(self.n_units)

    @property
    def patterns(self):
        """The same of patterns that were z-scored by mean and deviation of each unit over training stimuli; None without these.

        Its diagonal is the **pattern correlation** of each stimulus.
        """
        return self._standard.correlation(self.n_units) if self._standard.is_used else None


def correlate_features(true, predicted, training=None):
    """Correlate decoded features with the true ones, column block by column block.

    >>> rng = np.random.default_rng(0)
    >>> true = rng.standard_normal((20, 100))
    >>> found = correlate_features(true, true + rng.standard_normal((20, 100)), training=(np.zeros(100), np.ones(100)))
    >>> round(found.profile, 1), round(float(found.patterns.diagonal().mean()), 1)
    (0.7, 0.7)

    Parameters
    ----------
    true, predicted : arrays of one shape (n_stimuli, n_units)
        In memory, or anything with ``shape`` and a method ``columns(start, stop)``, such as a
        `brainrecon.features.table.FeatureTable`: never are both whole in memory, and in float64 a block at a time.
    training : (mean, std), or callable, optional
        Arrays of shape (n_units,), or ``training(start, stop)`` gives those of some columns.

    Returns
    -------
    found : FeatureCorrelation

    Raises
    ------
    InputError
        Shapes do not match, there are fewer than three stimuli, or a value is not finite.
    """
    true, predicted = (one if hasattr(one, "columns") else np.asarray(one) for one in (true, predicted))
    if len(true.shape) != 2 or tuple(true.shape) != tuple(predicted.shape) or not true.shape[1]:
        raise InputError(
            f"True features have shape {tuple(true.shape)} and decoded ones {tuple(predicted.shape)}; expected (n_stimuli, "
            "n_units) of both. Decode the same stimuli and the same layer."
        )
    n_stimuli, n_units = true.shape
    found = FeatureCorrelation(n_stimuli)
    width = columns_at_once(n_stimuli)
    for start in range(0, n_units, width):
        stop = min(start + width, n_units)
        found.add(_columns(true, start, stop), _columns(predicted, start, stop), _of_columns(training, start, stop))
    return found


def columns_at_once(n_stimuli):
    """How many columns to read at a time: whole runs of a feature table, a few megabytes in float64."""
    return max(_VALUES_PER_BLOCK // n_stimuli // _RUN, 1) * _RUN


def _columns(values, start, stop):
    return values.columns(start, stop) if hasattr(values, "columns") else values[:, start:stop]


def _of_columns(training, start, stop):
    if training is None or callable(training):
        return training and training(start, stop)
    return tuple(one[start:stop] for one in training)


def _standing(values):
    """Columns less their means and divided by their population standard deviation; no column is constant."""
    centred = values - values.mean(axis=0)
    # First to 1 at most: squares of very small or large values leave the range of floats.
    centred /= np.abs(centred).max(axis=0)
    return centred / np.sqrt(np.mean(centred**2, axis=0))


class _RowSums:
    """What the correlation over columns of every row of one array with every row of another needs, from blocks of columns."""

    def __init__(self, n):
        self.is_used = False
        self._products, self._sums, self._squares = np.zeros((n, n)), np.zeros((2, n)), np.zeros((2, n))
        self._low, self._high, self._shift = np.full((2, n), np.inf), np.full((2, n), -np.inf), np.zeros((2, n, 1))

    def add(self, *sides):
        sides = np.stack(sides)
        if not self.is_used:
            # Any constant can be taken off a row: near its mean, no digits are lost.
            self._shift, self.is_used = sides.mean(axis=2, keepdims=True), True
        self._low = np.minimum(self._low, sides.min(axis=2))
        self._high = np.maximum(self._high, sides.max(axis=2))
        sides -= self._shift
        self._products += sides[0] @ sides[1].T
        self._sums += sides.sum(axis=2)
        self._squares += np.einsum("sij,sij->si", sides, sides)

    def correlation(self, n_columns):
        """Float64 (n, n); NaN if a row is constant."""
        spread = np.where(self._high > self._low, self._squares - self._sums**2 / n_columns, np.nan)
        # A spread of nothing but rounding is none.
        norms = np.sqrt(np.where(spread > 0, spread, np.nan))
        return (self._products - np.outer(*self._sums) / n_columns) / np.outer(*norms)
