"""Whether two things that are each scored under two conditions differ in what the conditions do to them."""

import numpy as np

from brainrecon.evaluation.statistics.intervals import bootstrap_mean
from stages.ground.errors import InputError


def bootstrap_interaction(first, second, **options):
    """Difference of differences with its interval over stimuli: (a - b) - (c - d).

    With the correlation r[layer, region] of decoded features with true ones, early layers belong to early regions and late layers
    to higher ones as far as ::

        (r[early, early] - r[late, early]) - (r[early, late] - r[late, late]) > 0

    A layer that is decoded better from everywhere, and a region with more voxels or less noise, cancel.

    >>> early_region = [0.6, 0.7, 0.5], [0.3, 0.5, 0.2]  # by stimulus: the early layer, the late one
    >>> higher_region = [0.4, 0.4, 0.3], [0.5, 0.5, 0.4]
    >>> round(bootstrap_interaction(early_region, higher_region).mean, 6)
    0.366667

    Parameters
    ----------
    first, second : pair of arrays of shape (n_stimuli,)
        (a, b) and (c, d): scores of the same stimuli in the same order, or what each stimulus has part in a score.
    **options
        As for `brainrecon.evaluation.statistics.intervals.bootstrap_mean`.

    Returns
    -------
    estimate : Estimate
        (n, mean, ci_low, ci_high) of the difference.

    Raises
    ------
    InputError
        The four differ in shape, or a score is not finite.
    """
    sides = [np.asarray(one, dtype=np.float64) for one in (*first, *second)]
    if len(sides) != 4 or len({one.shape for one in sides}) > 1:
        raise InputError(
            f"An interaction compares scores of shapes {', '.join(str(one.shape) for one in sides)}; expected two and two of one "
            "shape (n_stimuli,). Keep the stimuli that all four have."
        )
    a, b, c, d = sides
    return bootstrap_mean((a - b) - (c - d), **options)
