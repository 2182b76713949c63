"""How reliable an average of repeats is, from the correlation of two halves of them."""

import numpy as np

from brainrecon.evaluation.statistics.bootstrap import Estimate


def reliability_of_average(correlation, smaller, larger, together=None):
    """Reliability of an average of repeats, from the correlation r of the averages of two halves of them.

    With halves of a and b trials, k = a + b, Horst's (1951) extension of the Spearman-Brown formula to unequal halves gives ::

        q = (sqrt(k² + 4 a b (1/r² - 1)) - k) / 2        noise over signal variance of one trial
        reliability = 1 / (1 + q/k)                      2 r / (1 + r) if a = b

    with the sign of r. Of noise alone r is as often below 0 as above, so that many reliabilities have the mean 0.

    >>> float(reliability_of_average(0.5, 1, 1)).__round__(6)
    0.666667

    Parameters
    ----------
    correlation : float, or array
    smaller, larger : float
        Trials of the halves, a and b.
    together : float, optional
        Trials of the average; a + b unless it says otherwise.

    Returns
    -------
    reliability : float64, of the shape of `correlation`, in -1..1
    """
    correlation, k = np.asarray(correlation, dtype=np.float64), smaller + larger
    # Of nothing, or nearly, the noise has no bounds.
    apart = np.abs(correlation) > 1e-150
    square = np.where(apart, correlation, 1.0) ** 2
    noise = (np.sqrt(k**2 + 4 * smaller * larger * np.maximum(1 / square - 1, 0.0)) - k) / 2
    return np.where(apart, np.sign(correlation) / (1 + noise / (together or k)), 0.0)


def ceiling_of_halves(estimate, smaller, larger):
    """Highest correlation with the average of all repeats that their noise allows, from the correlation of two halves.

    What is without noise correlates with the average by the root of its reliability (Spearman 1904). If numbers of repeats
    differ between stimuli, the noise of their averages has the mean of 1/a, of 1/b and of 1/(a + b) over stimuli, and the formula
    of `reliability_of_average` takes these.

    >>> ceiling_of_halves(Estimate(50, 0.5, 0.4, 0.6), np.full(50, 1), np.full(50, 1)).mean.__round__(6)
    0.816497

    Parameters
    ----------
    estimate : Estimate
        Of the correlation of halves.
    smaller, larger : array of shape (n_stimuli,)
        Trials in the halves of each stimulus, 1 or more.

    Returns
    -------
    ceiling : Estimate, or None
        None if the interval reaches 0, or cannot be told: these repeats do not tell signal from noise.
    """
    if estimate.ci_low is None or not estimate.ci_low > 0:
        return None
    smaller, larger = np.asarray(smaller, dtype=np.float64), np.asarray(larger, dtype=np.float64)
    trials = [float(1 / np.mean(1 / own)) for own in (smaller, larger, smaller + larger)]
    return Estimate(estimate.n, *(float(np.sqrt(reliability_of_average(value, *trials))) for value in estimate[1:]))
