"""A mixture of discretised logistics over the colours of a pixel.

The output head of the VDVAE (Salimans et al., 2017, "PixelCNN++", section 2): each pixel's three colours
follow a mixture of ``n_mixtures`` components; within a component green leans linearly on red, and blue on
red and green. Colours live in [-1, 1]; the two extreme levels take the whole tail.

The parameters of a picture have the shape ``(n, 10 * n_mixtures, height, width)``. Along the second axis
come the mixture logits, then for red, green and blue in turn: means, log scales and (before a tanh) the
coefficients of the lean, ``n_mixtures`` values each. The coefficients filed under red, green and blue are
green's on red, blue's on red and blue's on green.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

SMALLEST_LOG_SCALE = -7.0
LARGEST_LOG_SCALE = 7.0  # of the expectation alone: flat over [-1, 1], and float32 still resolves it
EDGE = 0.999  # beyond it a colour in [-1, 1] is one of the two extreme levels


class Mixture(NamedTuple):
    """The parameters of a picture's pixels, taken apart.

    ``logits`` has shape (n, n_mixtures, height, width); ``means`` and ``log_scales`` have
    (n, 3, n_mixtures, height, width); so do ``coefficients``, with green on red, blue on red and blue on
    green along the second axis.
    """

    logits: torch.Tensor
    means: torch.Tensor
    log_scales: torch.Tensor
    coefficients: torch.Tensor


def unpack(parameters):
    """Take the head's output apart, in float32.

    Parameters
    ----------
    parameters : tensor of shape (n, 10 * n_mixtures, height, width)

    Returns
    -------
    mixture : Mixture
    """
    n, channels, height, width = parameters.shape
    n_mixtures = channels // 10
    parameters = parameters.float()
    logits, per_colour = parameters.split((n_mixtures, 9 * n_mixtures), dim=1)
    means, log_scales, coefficients = per_colour.reshape(n, 3, 3, n_mixtures, height, width).unbind(2)
    return Mixture(logits, means, log_scales.clamp(min=SMALLEST_LOG_SCALE), torch.tanh(coefficients))


def _conditional_means(mixture, red, green):
    """Means of the three colours given red and green, each (n, 1 or n_mixtures, height, width)."""
    of_red, of_green, of_blue = mixture.means.unbind(1)
    green_on_red, blue_on_red, blue_on_green = mixture.coefficients.unbind(1)
    return torch.stack(
        (of_red, of_green + green_on_red * red, of_blue + blue_on_red * red + blue_on_green * green), dim=1
    )


def negative_log_likelihood(parameters, images, bits=8):
    """How unlikely the pictures are, in nats per value.

    Parameters
    ----------
    parameters : tensor of shape (n, 10 * n_mixtures, height, width)
    images : tensor of shape (n, 3, height, width)
        Colours in [-1, 1].
    bits : int
        A colour has ``2 ** bits`` levels; a level is ``2 / (2 ** bits - 1)`` wide.

    Returns
    -------
    nats : tensor of shape (n,), float32
        Summed over the values of a picture, divided by their number.
    """
    mixture = unpack(parameters)
    images = images.float()
    half_level = 1.0 / (2**bits - 1)
    colours = images.unsqueeze(2)
    distance = colours - _conditional_means(mixture, images[:, :1], images[:, 1:2])
    inverse_scales = torch.exp(-mixture.log_scales)
    # The probability of a level is sigmoid(upper) - sigmoid(lower). Written as
    # sigmoid(upper) * sigmoid(-lower) * (1 - exp(lower - upper)) its logarithm needs no special cases.
    below_upper = F.logsigmoid(inverse_scales * (distance + half_level))
    above_lower = F.logsigmoid(-inverse_scales * (distance - half_level))
    inside = below_upper + above_lower + torch.log(-torch.expm1(-2 * half_level * inverse_scales))
    of_colour = torch.where(colours < -EDGE, below_upper, torch.where(colours > EDGE, above_lower, inside))
    of_component = of_colour.sum(1) + F.log_softmax(mixture.logits, dim=1)
    return -torch.logsumexp(of_component, dim=1).sum((1, 2)) / images[0].numel()


def mean(parameters):
    """The expected picture.

    A colour's expectation is that of the logistic clipped to [-1, 1], in closed form; the lean of green and
    blue is carried by the expectations of the colours before them.

    Parameters
    ----------
    parameters : tensor of shape (n, 10 * n_mixtures, height, width)

    Returns
    -------
    images : tensor of shape (n, 3, height, width), float32
        Colours in [-1, 1].
    """
    mixture = unpack(parameters)
    of_red, of_green, of_blue = mixture.means.unbind(1)
    red_scale, green_scale, blue_scale = mixture.log_scales.clamp(max=LARGEST_LOG_SCALE).exp().unbind(1)
    green_on_red, blue_on_red, blue_on_green = mixture.coefficients.unbind(1)

    def clipped(means, scale):
        return scale * (F.softplus((means + 1) / scale) - F.softplus((means - 1) / scale)) - 1

    red = clipped(of_red, red_scale)
    green = clipped(of_green + green_on_red * red, green_scale)
    blue = clipped(of_blue + blue_on_red * red + blue_on_green * green, blue_scale)
    weights = F.softmax(mixture.logits, dim=1).unsqueeze(1)
    return (weights * torch.stack((red, green, blue), dim=1)).sum(2)


def sample(parameters, uniform):
    """Draw a picture: a component per pixel, then red, green and blue in turn.

    Parameters
    ----------
    parameters : tensor of shape (n, 10 * n_mixtures, height, width)
    uniform : tensor of shape (n, n_mixtures + 3, height, width)
        Independent draws from (0, 1): the component's, then one for each colour.

    Returns
    -------
    images : tensor of shape (n, 3, height, width), float32
        Colours in [-1, 1].
    """
    mixture = unpack(parameters)
    uniform = uniform.float().clamp(1e-5, 1 - 1e-5)
    n_mixtures = mixture.logits.shape[1]
    gumbel = -torch.log(-torch.log(uniform[:, :n_mixtures]))
    chosen = torch.argmax(mixture.logits + gumbel, dim=1, keepdim=True)
    index = chosen.unsqueeze(1).expand(-1, 3, -1, -1, -1)
    means, log_scales, lean = (values.gather(2, index).squeeze(2) for values in mixture[1:])
    noise = log_scales.exp() * torch.logit(uniform[:, n_mixtures:])
    red = (means[:, 0] + noise[:, 0]).clamp(-1, 1)
    green = (means[:, 1] + lean[:, 0] * red + noise[:, 1]).clamp(-1, 1)
    blue = (means[:, 2] + lean[:, 1] * red + lean[:, 2] * green + noise[:, 2]).clamp(-1, 1)
    return torch.stack((red, green, blue), dim=1)
