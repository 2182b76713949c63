r"""Spectral normalisation as BigGAN's published weights carry it: beside each weight the vector that finds its norm.

A weight :math:`W`, flattened to (outputs, everything else), is divided by an estimate of its largest singular value. The
estimate is one step of the power method from the stored left vector :math:`u`:

.. math:: v = W^T u / |W^T u|, \quad s = |W v|

torch's own ``spectral_norm`` keeps :math:`v` as well and takes :math:`u^T W v` without a further step, which is another
estimate where :math:`u` has not converged; and names its tensors otherwise. Miyato and others (2018), "Spectral
normalization for generative adversarial networks"; names as in Brock and others (2019).
"""

import torch
from torch import nn
from torch.nn import functional

# The published trainings' own; it only matters for a weight of zeros.
EPSILON = 1e-6


def estimated_norm(weight, u, eps=EPSILON):
    """Estimate the largest singular value of a weight by one step of the power method.

    Parameters
    ----------
    weight : tensor of shape (outputs, ...)
        Its further axes count as one.
    u : tensor of shape (1, outputs)
        An estimate of the left singular vector, of any length.
    eps : float
        Vectors shorter than this are not brought to unit length.

    Returns
    -------
    norm : tensor of shape ()
        At most the largest singular value. Its gradient takes both vectors for constants, as the published training does.
    u : tensor of shape (1, outputs)
        The better estimate of the left vector, of unit length.
    """
    matrix = weight.flatten(1)
    with torch.no_grad():
        v = functional.normalize(u @ matrix, dim=1, eps=eps)
        u = functional.normalize(v @ matrix.t(), dim=1, eps=eps)
    return (v @ matrix.t() @ u.t()).squeeze(), u


class _SpectralNorm:
    """What the two layers share. ``sv0`` is the norm as the training last saw it, kept because the files hold it."""

    def _prepare(self):
        self.register_buffer("u0", torch.randn(1, self.weight.shape[0]))
        self.register_buffer("sv0", torch.ones(1))
        self.divided = False

    def normalised(self):
        """The weight over its estimated norm; in training the estimate improves with every call."""
        if self.divided:
            return self.weight
        norm, u = estimated_norm(self.weight, self.u0)
        if self.training:
            with torch.no_grad():
                self.u0.copy_(u)
                self.sv0.fill_(norm.detach())
        return self.weight / norm

    @torch.no_grad()
    def divide(self):
        """Divide the weight itself, once and for all: drawing then costs no more than without the norm."""
        if not self.divided:
            divided = self.weight / estimated_norm(self.weight, self.u0)[0]
            self.weight = nn.Parameter(divided, requires_grad=self.weight.requires_grad)
            self.divided = True


class SpectralLinear(_SpectralNorm, nn.Linear):
    """A linear layer under the norm."""

    def __init__(self, inputs, outputs, bias=True):
        super().__init__(inputs, outputs, bias)
        self._prepare()

    def forward(self, x):
        """Of (n, inputs), (n, outputs)."""
        return functional.linear(x, self.normalised(), self.bias)


class SpectralConv2d(_SpectralNorm, nn.Conv2d):
    """A convolution under the norm, of odd kernels, that keeps the picture's size."""

    def __init__(self, inputs, outputs, kernel=3, bias=True):
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
        self._prepare()

    def forward(self, x):
        """Of (n, inputs, height, width), (n, outputs, height, width)."""
        return functional.conv2d(x, self.normalised(), self.bias, padding=self.padding)
