"""The blocks of a very deep VAE: their grammar, the encoder and the decoder.

Child, 2021, "Very deep VAEs generalize autoregressive models and can outperform them on images". The block
strings and the names of the parameters are those of the published checkpoints, which therefore load key for
key.
"""

import re
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from stages.ground.errors import InputError


class BlockSpec(NamedTuple):
    """One block: resolution; pooling factor after the block; source resolution to mix in before it."""

    resolution: int
    pool: int | None = None
    source: int | None = None


def parse_blocks(text):
    """Read a block string such as ``64x11,64d2`` or ``1x2,4m1,4x3``.

    ``RxN`` is N blocks at resolution R, ``RdK`` one followed by average pooling with kernel K, ``AmB`` one at
    A that first adds what resolution B holds, enlarged. A bare ``R`` is one block.

    Parameters
    ----------
    text : str

    Returns
    -------
    blocks : list of BlockSpec

    Raises
    ------
    InputError
        For a part outside this grammar.
    """
    blocks = []
    for part in text.split(","):
        match = re.fullmatch(r"([1-9]\d*)(?:([xdm])([1-9]\d*))?", part.strip())
        if match is None:
            raise InputError(
                f"Block {part.strip()!r} in {text!r} is not one of RxN, RdK, AmB or R (for example 64x11, "
                "64d2, 4m1); correct the block string."
            )
        resolution, letter, number = int(match[1]), match[2], int(match[3] or 1)
        if letter == "d":
            blocks.append(BlockSpec(resolution, pool=number))
        elif letter == "m":
            blocks.append(BlockSpec(resolution, source=number))
        else:
            blocks.extend([BlockSpec(resolution)] * number)
    return blocks


def parse_widths(text):
    """Read ``64:32,32:48`` as ``{64: 32, 32: 48}``, channels per resolution; an empty string as none."""
    widths = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"([1-9]\d*):([1-9]\d*)", part)
        if match is None:
            raise InputError(f"Width {part!r} in {text!r} is not resolution:channels (for example 64:32); correct it.")
        widths[int(match[1])] = int(match[2])
    return widths


def match_channels(x, channels):
    """Cut ``x`` (n, channels, height, width) to its first channels, or fill it up with zeros."""
    missing = channels - x.shape[1]
    return F.pad(x, (0, 0, 0, 0, 0, missing)) if missing > 0 else x[:, :channels]


class Bottleneck(nn.Module):
    """Four convolutions, each after a GELU: into fewer channels, two of 3x3 there, and out again.

    At resolutions 1 and 2 the middle ones are 1x1, since a 3x3 window would mostly see padding.
    """

    def __init__(self, n_in, n_middle, n_out, resolution, residual=False, pool=None):
        super().__init__()
        size = 3 if resolution > 2 else 1
        self.c1 = nn.Conv2d(n_in, n_middle, 1)
        self.c2 = nn.Conv2d(n_middle, n_middle, size, padding=size // 2)
        self.c3 = nn.Conv2d(n_middle, n_middle, size, padding=size // 2)
        self.c4 = nn.Conv2d(n_middle, n_out, 1)
        self.residual = residual
        self.pool = pool
        for convolution in self.children():
            nn.init.zeros_(convolution.bias)

    def forward(self, x):
        """Map (n, n_in, resolution, resolution) to (n, n_out, resolution / pool, resolution / pool)."""
        y = x
        for convolution in (self.c1, self.c2, self.c3, self.c4):
            y = convolution(F.gelu(y))
        if self.residual:
            y = x.to(y.dtype) + y
        return F.avg_pool2d(y, self.pool) if self.pool else y


class Encoder(nn.Module):
    """Bottom-up pass: an activation for every resolution.

    Parameters
    ----------
    blocks : list of BlockSpec
    widths : callable, resolution -> channels
    bottleneck : callable, channels -> channels in the middle of a block
    """

    def __init__(self, blocks, widths, bottleneck):
        super().__init__()
        self._width_at = widths
        first = blocks[0].resolution
        self.in_conv = nn.Conv2d(3, widths(first), 3, padding=1)
        nn.init.zeros_(self.in_conv.bias)
        self.enc_blocks = nn.ModuleList()
        for block in blocks:
            width = widths(block.resolution)
            self.enc_blocks.append(
                Bottleneck(width, bottleneck(width), width, block.resolution, residual=True, pool=block.pool)
            )
        for module in self.enc_blocks:
            module.c4.weight.data /= len(blocks) ** 0.5

    def forward(self, x):
        """Take (n, 3, size, size); return {resolution: (n, channels, resolution, resolution)}."""
        x = self.in_conv(x)
        activations = {x.shape[2]: x}
        for block in self.enc_blocks:
            x = block(x)
            x = match_channels(x, self._width_at(x.shape[2]))
            activations[x.shape[2]] = x
        return activations


class DecoderBlock(nn.Module):
    """One layer of latents on the way down: a prior from above, a posterior that also sees the picture."""

    def __init__(self, block, width, middle, latent_channels, n_blocks):
        super().__init__()
        self.resolution, self.source = block.resolution, block.source
        self.width, self.latent_channels = width, latent_channels
        self.enc = Bottleneck(2 * width, middle, 2 * latent_channels, block.resolution)
        self.prior = Bottleneck(width, middle, 2 * latent_channels + width, block.resolution)
        self.z_proj = nn.Conv2d(latent_channels, width, 1)
        self.resnet = Bottleneck(width, middle, width, block.resolution, residual=True)
        # As published: priors start at the unit Gaussian, and n blocks together keep the stream's variance.
        nn.init.zeros_(self.prior.c4.weight)
        nn.init.zeros_(self.z_proj.bias)
        self.z_proj.weight.data /= n_blocks**0.5
        self.resnet.c4.weight.data /= n_blocks**0.5

    def enter(self, states, n):
        """The block's input (n, width, resolution, resolution), from what the resolutions hold so far."""
        x = states.get(self.resolution)
        if x is None:
            x = self.z_proj.weight.new_zeros(1, self.width, self.resolution, self.resolution)
        if self.source is not None:
            below = match_channels(states[self.source], self.width)
            x = x.to(below.dtype) + F.interpolate(below, scale_factor=self.resolution // self.source)
        return x if x.shape[0] == n else x.expand(n, -1, -1, -1)

    def expect(self, x):
        """Prior mean, prior log standard deviation, and what the prior adds to the stream."""
        lengths = (self.latent_channels, self.latent_channels, self.width)
        mean, log_std, features = self.prior(x).split(lengths, dim=1)
        return mean.float(), log_std.float(), features

    def infer(self, x, activation):
        """Posterior mean and log standard deviation, given the encoder's activation at this resolution."""
        mean, log_std = self.enc(torch.cat((x, activation), dim=1)).chunk(2, dim=1)
        return mean.float(), log_std.float()

    def absorb(self, x, z):
        """Write the latents into the stream."""
        return self.resnet(x + self.z_proj(z))


class OutputHead(nn.Module):
    """The parameters of ``stages.networks.logistic_mixture`` for every pixel."""

    def __init__(self, width, n_mixtures):
        super().__init__()
        self.out_conv = nn.Conv2d(width, 10 * n_mixtures, 1)
        nn.init.zeros_(self.out_conv.bias)

    def forward(self, x):
        """Map (n, width, size, size) to (n, 10 * n_mixtures, size, size)."""
        return self.out_conv(x)


class Decoder(nn.Module):
    """Top-down pass: layer after layer of latents, from one pixel to the whole picture.

    Parameters
    ----------
    blocks : list of BlockSpec
    widths : callable, resolution -> channels
    bottleneck : callable, channels -> channels in the middle of a block
    latent_channels, n_mixtures, no_bias_above : int
    """

    def __init__(self, blocks, widths, bottleneck, latent_channels, n_mixtures, no_bias_above):
        super().__init__()
        self.dec_blocks = nn.ModuleList()
        for block in blocks:
            width = widths(block.resolution)
            middle = bottleneck(width)
            self.dec_blocks.append(DecoderBlock(block, width, middle, latent_channels, len(blocks)))
        resolutions = sorted({block.resolution for block in blocks})
        self.bias_xs = nn.ParameterList(
            nn.Parameter(torch.zeros(1, widths(resolution), resolution, resolution))
            for resolution in resolutions
            if resolution <= no_bias_above
        )
        self.image_size = resolutions[-1]
        width = widths(self.image_size)
        self.out_net = OutputHead(width, n_mixtures)
        self.gain = nn.Parameter(torch.ones(1, width, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, n, choose, n_layers=None):
        """Walk down the layers.

        Parameters
        ----------
        n : int
            Pictures.
        choose : callable (layer, block, x, prior_mean, prior_log_std) -> z
            Settles the latents of a layer: drawn, given, or the prior's mean; x is the layer's input.
        n_layers : int or None
            Stop after so many layers and return None; None walks to the end.

        Returns
        -------
        parameters : tensor of shape (n, 10 * n_mixtures, size, size), or None
        """
        states = {bias.shape[2]: bias for bias in self.bias_xs}
        for layer, block in enumerate(self.dec_blocks[:n_layers]):
            x = block.enter(states, n)
            prior_mean, prior_log_std, features = block.expect(x)
            z = choose(layer, block, x, prior_mean, prior_log_std)
            states[block.resolution] = block.absorb(x.to(features.dtype) + features, z)
        if n_layers is not None:
            return None
        x = states[self.image_size]
        return self.out_net(x * self.gain.to(x.dtype) + self.bias.to(x.dtype))
