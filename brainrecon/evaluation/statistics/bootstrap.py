"""What all bootstrap intervals share: draws with replacement, and percentiles of what was computed from them."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from stages.ground.errors import InputError

CONFIDENCE = 0.95
N_RESAMPLES = 10_000

_DRAWS_PER_BLOCK = 1_000_000


class Estimate(NamedTuple):
    """A mean with its interval. The interval is None if too few values give none."""

    n: int
    mean: float
    ci_low: float | None
    ci_high: float | None


def drawn_blocks(n, n_resamples, seed):
    """Resamples of n units with replacement, in blocks so that memory stays bounded.

    Yields
    ------
    drawn : int32 array of shape (n_in_block, n), values in 0..n - 1
        One resample per row; the blocks together hold `n_resamples` rows. The same for the same arguments.
    """
    generator = np.random.default_rng(seed)
    per_block = max(1, _DRAWS_PER_BLOCK // n)
    for start in range(0, n_resamples, per_block):
        yield generator.integers(n, size=(min(per_block, n_resamples - start), n), dtype=np.int32)


def percentile_interval(resampled, n, confidence):
    """Widened percentiles (see `bootstrap_mean`) of a statistic's resamples, as (low, high).

    Parameters
    ----------
    resampled : float array of shape (n_resamples,)
    n : int
        Units that were resampled, at least 2.
    confidence : float

    Returns
    -------
    low, high : float
    """
    t = stats.t.ppf((1 - confidence) / 2, df=n - 1)
    tail = float(stats.norm.cdf(np.sqrt(n / (n - 1)) * t))
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)


def check_options(confidence, n_resamples):
    """Refuse a confidence that is no probability, and too few resamples for a percentile."""
    if not 0 < confidence < 1:
        raise InputError(f"The confidence is {confidence}; expected a fraction between 0 and 1, such as 0.95.")
    if n_resamples < 2_000:
        raise InputError(f"{n_resamples} resamples are too few for a percentile interval; ask for at least 2000.")
