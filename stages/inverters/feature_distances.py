r"""How far the features of a picture are from wanted ones, layer by layer.

With features :math:`a` and wanted ones :math:`f` of one layer

- "squares": :math:`\sum (a - f)^2`; a sum, not a mean
- "absolute": :math:`\sum |a - f|`
- "inner product": :math:`-\sum a f`
- "Gram": :math:`\sum (a a^T - f f^T)^2 / (4 N^2 M^2)` of N channels and M places
- "DISTS and squares": :math:`4 D + \sum (a - f)^2 / \sum f^2`

where :math:`D`, after Ding and others (2022), compares means and (co)variances over the places of each channel, or over the
values of a layer without places,

.. math:: D = -\overline{(\alpha s_1 + \beta s_2)} / (\alpha + \beta), \quad
    s_1 = \frac{2 \mu \mu' + \epsilon}{\mu^2 + \mu'^2 + \epsilon}, \quad
    s_2 = \frac{2 c + \epsilon}{v + v' + \epsilon}

The first four are those of KamitaniLab's icnn, the last that of its spurious_reconstruction, with its shares :math:`\alpha` and
:math:`\beta` of each layer of VGG19.
"""

from __future__ import annotations

EPSILON = 1e-6
DISTS_WEIGHT = 4.0
DISTS_SHARES = {
    "conv1_1": (0.0099529, 0.00086543),
    "conv1_2": (0.0038864, 0.0086275),
    "conv2_1": (0.00024056, 0.12889),
    "conv2_2": (0.080842, 0.024723),
    "conv3_1": (0.0068571, 0.00026396),
    "conv3_2": (0.00048879, 0.039779),
    "conv3_3": (0.00019573, 0.00048599),
    "conv3_4": (0.014169, 0.024734),
    "conv4_1": (0.028803, 0.043286),
    "conv4_2": (0.0021717, 0.039983),
    "conv4_3": (0.0040257, 0.51669),
    "conv4_4": (0.030798, 0.71004),
    "conv5_1": (0.085362, 0.0023378),
    "conv5_2": (0.71401, 0.50742),
    "conv5_3": (0.019753, 0.0018776),
    "conv5_4": (0.53104, 0.0012780),
    "fc6": (0.00062903, 0.038458),
    "fc7": (0.038713, 0.044482),
    "fc8": (0.066615, 0.0083048),
}
"""Shares of means and of covariances; of other layers they count alike."""


def squares(found, wanted, layer=""):
    """Sum of squared differences of each picture.

    >>> import torch
    >>> squares(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 0.0]])).tolist()
    [5.0]

    Parameters
    ----------
    found, wanted : float tensor of shape (n, ...)
    layer : str, optional

    Returns
    -------
    distances : float tensor of shape (n,)
    """
    return (found - wanted).square().flatten(1).sum(1)


def absolute(found, wanted, layer=""):
    """Sum of absolute differences of each picture.

    >>> import torch
    >>> absolute(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, 0.0]])).tolist()
    [3.0]

    Parameters
    ----------
    found, wanted, layer
        As of `squares`.
    """
    return (found - wanted).abs().flatten(1).sum(1)


def inner_product(found, wanted, layer=""):
    """Inner product of each picture, negative.

    >>> import torch
    >>> inner_product(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])).tolist()
    [-11.0]

    Parameters
    ----------
    found, wanted, layer
        As of `squares`.
    """
    return -(found * wanted).flatten(1).sum(1)


def gram(found, wanted, layer=""):
    """Squared difference of Gram matrices over places; a layer without places has one.

    >>> import torch
    >>> gram(torch.tensor([[[[2.0, 0.0]]]]), torch.tensor([[[[0.0, 0.0]]]])).tolist()
    [1.0]

    Parameters
    ----------
    found, wanted, layer
        As of `squares`.
    """
    found, wanted = (each.flatten(2) if each.ndim > 2 else each[:, :, None] for each in (found, wanted))
    n_values = found.shape[1] * found.shape[2]
    difference = found @ found.transpose(1, 2) - wanted @ wanted.transpose(1, 2)
    return difference.square().sum((1, 2)) / (4 * n_values**2)


def dists(found, wanted, layer=""):
    """Likeness of means and of covariances of each picture, negative: -1 of equal features.

    >>> import torch
    >>> features = torch.rand(2, 3, 4, 4)
    >>> [round(value, 5) for value in dists(features, features, "conv1_1").tolist()]
    [-1.0, -1.0]

    Parameters
    ----------
    found, wanted, layer
        As of `squares`.
    """
    share, other = DISTS_SHARES.get(layer, (1.0, 1.0))
    found, wanted = (each.flatten(2) if each.ndim > 2 else each[:, None] for each in (found, wanted))
    means, wanted_means = found.mean(2), wanted.mean(2)
    centred, wanted_centred = found - means[..., None], wanted - wanted_means[..., None]
    variance, wanted_variance = centred.square().mean(2), wanted_centred.square().mean(2)
    covariance = (centred * wanted_centred).mean(2)
    of_means = (2 * means * wanted_means + EPSILON) / (means.square() + wanted_means.square() + EPSILON)
    of_places = (2 * covariance + EPSILON) / (variance + wanted_variance + EPSILON)
    return -(share * of_means + other * of_places).mean(1) / (share + other)


def normalised_squares(found, wanted, layer=""):
    """Sum of squared differences by that of the wanted features: 1 where nothing is found.

    >>> import torch
    >>> normalised_squares(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]])).tolist()
    [1.0]

    Parameters
    ----------
    found, wanted, layer
        As of `squares`.
    """
    size = wanted.square().flatten(1).sum(1)
    return squares(found, wanted) / size.clamp(min=1e-30)


def dists_and_squares(found, wanted, layer=""):
    """Four times `dists`, and `normalised_squares`.

    >>> import torch
    >>> features = torch.rand(1, 3, 4, 4)
    >>> [round(value, 4) for value in dists_and_squares(features, features, "conv1_1").tolist()]
    [-4.0]

    Parameters
    ----------
    found, wanted, layer
        As of `squares`.
    """
    return DISTS_WEIGHT * dists(found, wanted, layer) + normalised_squares(found, wanted)


DISTANCES = {
    "squares": squares,
    "absolute": absolute,
    "inner product": inner_product,
    "Gram": gram,
    "DISTS and squares": dists_and_squares,
}
"""By the name that settings have for it: ``distance(found, wanted, layer)``."""
