"""The parts of BigGAN's generator: batch normalisation under a condition, residual blocks, attention.

Brock and others (2019), "Large scale GAN training for high fidelity natural image synthesis"; attention after Zhang and
others (2019). Names of parameters and buffers are those of the published weights.
"""

import torch
from torch import nn
from torch.nn import functional

from stages.networks.spectral_norm import SpectralConv2d, SpectralLinear

NORM_EPSILON = 1e-5
_MOMENTUM = 0.1


class BatchNorm(nn.Module):
    """Batch normalisation with a learned gain and bias per channel; stored statistics unless in training."""

    def __init__(self, channels):
        super().__init__()
        self.register_buffer("stored_mean", torch.zeros(channels))
        self.register_buffer("stored_var", torch.ones(channels))
        self.gain = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        """Of (n, channels, height, width), the same."""
        statistics = self.stored_mean, self.stored_var
        return functional.batch_norm(x, *statistics, self.gain, self.bias, self.training, _MOMENTUM, NORM_EPSILON)


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation whose gain (about 1) and bias are linear in a condition."""

    def __init__(self, channels, conditions):
        super().__init__()
        self.gain = SpectralLinear(conditions, channels, bias=False)
        self.bias = SpectralLinear(conditions, channels, bias=False)
        self.register_buffer("stored_mean", torch.zeros(channels))
        self.register_buffer("stored_var", torch.ones(channels))

    def forward(self, x, condition):
        """Of x (n, channels, height, width) and condition (n, conditions), the shape of x."""
        statistics = self.stored_mean, self.stored_var
        x = functional.batch_norm(x, *statistics, None, None, self.training, _MOMENTUM, NORM_EPSILON)
        return x * (1 + self.gain(condition))[..., None, None] + self.bias(condition)[..., None, None]


class GeneratorBlock(nn.Module):
    """A residual block under a condition that doubles the picture's sides, by nearest neighbours."""

    def __init__(self, inputs, outputs, conditions):
        super().__init__()
        self.conv1 = SpectralConv2d(inputs, outputs)
        self.conv2 = SpectralConv2d(outputs, outputs)
        self.conv_sc = SpectralConv2d(inputs, outputs, kernel=1)
        self.bn1 = ConditionalBatchNorm(inputs, conditions)
        self.bn2 = ConditionalBatchNorm(outputs, conditions)

    def forward(self, x, condition):
        """Of (n, inputs, height, width), (n, outputs, 2 * height, 2 * width)."""
        hidden = self.conv1(_doubled(functional.relu(self.bn1(x, condition))))
        hidden = self.conv2(functional.relu(self.bn2(hidden, condition)))
        return hidden + self.conv_sc(_doubled(x))


class SelfAttention(nn.Module):
    """Attention of every place to places at half the resolution, added with a learned gain that starts at 0."""

    def __init__(self, channels):
        super().__init__()
        self.theta = SpectralConv2d(channels, channels // 8, kernel=1, bias=False)
        self.phi = SpectralConv2d(channels, channels // 8, kernel=1, bias=False)
        self.g = SpectralConv2d(channels, channels // 2, kernel=1, bias=False)
        self.o = SpectralConv2d(channels // 2, channels, kernel=1, bias=False)
        self.gamma = nn.Parameter(torch.tensor(0.0))

    def forward(self, x, condition=None):
        """Of (n, channels, height, width), the same; the condition is not read."""
        queries = self.theta(x).flatten(2).transpose(1, 2)
        keys = functional.max_pool2d(self.phi(x), 2).flatten(2)
        values = functional.max_pool2d(self.g(x), 2).flatten(2).transpose(1, 2)
        # Not divided by the root of the width: the weights were trained without that.
        seen = torch.softmax(queries @ keys, dim=-1) @ values
        return x + self.gamma * self.o(seen.transpose(1, 2).reshape(len(x), -1, *x.shape[2:]))


def _doubled(x):
    return functional.interpolate(x, scale_factor=2, mode="nearest")
