"""An attribute of pictures, such as gender, along an axis of their latents.

VanRullen and Reddy (2019) tell the gender of a face by where its decoded latents lie between the mean latents of men and women.
"""

import numpy as np

from stages.ground.errors import InputError

ORIGINS = ("zero", "midpoint")


def on_attribute_axis(values, first, second, origin="zero"):
    """Project latents on the axis from the mean of one group to the mean of another.

    ``a = mean(first) - mean(second)`` is the axis, and ``p = (z - o) a / |a|`` where latents z lie along it, o its origin.

    >>> men, women = np.array([[2.0, 1], [2, 3]]), np.array([[-2.0, 2], [-2, 2]])
    >>> on_attribute_axis([[3.0, 9], [-0.5, 9]], men, women).tolist()
    [3.0, -0.5]

    Parameters
    ----------
    values : array of shape (n_stimuli, n_latents)
        Decoded latents, or true ones.
    first, second : array of shape (n_of_group, n_latents)
        True latents of pictures with either value of the attribute, none of them tested.
    origin : {"zero", "midpoint"}
        Where 0 of the axis is: at latents of 0, as in a third party's analysis of these data, or half way between the means.

    Returns
    -------
    projections : array of shape (n_stimuli,), float64
        Above 0 towards the first group, below towards the second.

    Raises
    ------
    InputError
        An empty group, other numbers of latents, groups with one mean, or an unknown origin.
    """
    values, first, second = (np.asarray(part, dtype=np.float64) for part in (values, first, second))
    if any(part.ndim != 2 or not len(part) for part in (first, second)) or values.ndim != 2:
        raise InputError(
            f"Latents have shapes {values.shape}, {first.shape} and {second.shape}; expected (n, n_latents) each, and a "
            "picture or more in either group."
        )
    if len({part.shape[1] for part in (values, first, second)}) > 1:
        raise InputError(
            f"There are {values.shape[1]:,} latents to project, {first.shape[1]:,} and {second.shape[1]:,} of the groups; take "
            "all from one network."
        )
    if origin not in ORIGINS:
        raise InputError(f"origin is {origin!r}; expected {' or '.join(ORIGINS)}: pass origin='zero'.")
    means = first.mean(axis=0), second.mean(axis=0)
    axis = means[0] - means[1]
    length = np.linalg.norm(axis)
    if not length > 0:
        raise InputError("Both groups have the same mean latents, between which no axis lies; give other groups.")
    shift = (means[0] + means[1]) / 2 if origin == "midpoint" else 0.0
    return (values - shift) @ axis / length
