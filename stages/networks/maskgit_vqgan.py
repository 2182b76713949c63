"""MaskGIT's VQGAN: a picture to a grid of code vectors, and back (Chang et al. 2022).

Names of parameters are those of LEA's code (Qian et al. 2024), into which the published JAX weights were converted. diffusers'
``VQModel`` has another layout: it halves by strided convolutions, where this one averages, has one block more on the way up, and
its convolutions have biases. Two traits of the published network are kept: no convolution inside a block has a bias, and where a
block changes the number of channels, its shortcut reads what the block has just computed rather than what it was given.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from stages.checkpoints.pretrained import CONFIG_FILE, fill_network, read_network_tensors, save_network
from stages.checkpoints.strict_loading import read_json_object, refusing_values
from stages.ground.checks import Number, Numbers, check_all
from weights.manifest import CheckpointError

ARCHITECTURE = "MaskGITVQGAN"


@dataclass(frozen=True)
class MaskGITVQGANConfig:
    """The content of the network's ``config.json``; defaults are those of the published 256-pixel network.

    Attributes
    ----------
    size : int
        Pixels on a side.
    channels : int
        After the first convolution.
    multiples : tuple of int
        Of `channels`, at each size from the largest to the smallest; all but the last are halved.
    n_blocks : int
        At each size, and between encoder and codes.
    groups : int
        Of the normalisations.
    n_codes, code : int
        Codes, and values of each.
    """

    size: int = 256
    channels: int = 128
    multiples: tuple[int, ...] = (1, 1, 2, 2, 4)
    n_blocks: int = 2
    groups: int = 32
    n_codes: int = 1024
    code: int = 256

    def __post_init__(self):
        object.__setattr__(self, "multiples", tuple(self.multiples))
        some = Number(1, whole=True)
        rules = dict.fromkeys(("size", "channels", "n_blocks", "groups", "n_codes", "code"), some)
        check_all(self, rules | {"multiples": Numbers(some, example=(1, 2))})

    @property
    def side(self):
        """Codes on a side of the grid."""
        return self.size // 2 ** (len(self.multiples) - 1)


class MaskGITVQGAN(nn.Module):
    """The encoder, the codes and the decoder.

    >>> network = MaskGITVQGAN(MaskGITVQGANConfig(8, 4, (1, 2), 1, groups=2, n_codes=5, code=3)).eval()
    >>> codes = network.encode(torch.rand(2, 3, 8, 8))
    >>> codes.shape, network.decode(codes).shape
    (torch.Size([2, 4, 4]), torch.Size([2, 3, 8, 8]))

    Parameters
    ----------
    config : MaskGITVQGANConfig
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.encoder, self.decoder = _Encoder(config), _Decoder(config)
        self.quantizer = Quantiser(config.n_codes, config.code)

    def encode(self, pixels):
        """Codes of pictures (n, 3, size, size), 0 to 1: whole numbers (n, side, side)."""
        return self.quantizer.nearest(self.encoder(pixels))

    def decode(self, codes):
        """Pictures of codes (n, side, side): (n, 3, size, size), 0 to 1 and a little beyond."""
        return self.decoder(self.quantizer.vectors(codes))

    def forward(self, pixels):
        """Pictures through their codes, for training, and the squared distances of vectors to codes, whose mean is a loss.

        Returns
        -------
        pictures : tensor of shape (n, 3, size, size)
        to_codes, to_vectors : tensors without dimensions
            The error whose gradient moves the codes, and the one whose gradient moves the encoder (commitment).
        """
        vectors = self.encoder(pixels)
        through, to_codes, to_vectors = self.quantizer(vectors)
        return self.decoder(through), to_codes, to_vectors

    def save_pretrained(self, folder, dtype=None):
        """Write ``config.json`` and ``model.safetensors``, each whole or not at all."""
        save_network(self, folder, {"architecture": ARCHITECTURE, **asdict(self.config)}, dtype)

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Load a folder with ``config.json`` and ``model.safetensors``; CheckpointError if they are damaged or of another."""
        path = Path(folder) / CONFIG_FILE
        entries = read_json_object(path, ARCHITECTURE)
        with refusing_values(ARCHITECTURE, path):
            if (named := entries.pop("architecture", None)) != ARCHITECTURE:
                raise CheckpointError(f"architecture is {named!r}")
            config = MaskGITVQGANConfig(**entries)
        with torch.device("meta"):
            network = cls(config)
        return fill_network(network, read_network_tensors(folder), folder).to(device).requires_grad_(False)


class Quantiser(nn.Module):
    """A table of code vectors: to each vector the nearest.

    >>> quantiser = Quantiser(2, 1)
    >>> _ = quantiser.embedding.weight.data.copy_(torch.tensor([[0.0], [10.0]]))
    >>> quantiser.nearest(torch.tensor([[[[1.0, 9.0]]]])).tolist()
    [[[0, 1]]]
    """

    def __init__(self, n_codes, code):
        super().__init__()
        self.embedding = nn.Embedding(n_codes, code)
        nn.init.uniform_(self.embedding.weight, -1 / n_codes, 1 / n_codes)

    def nearest(self, vectors):
        """Number of the nearest code to each vector of (n, code, height, width): (n, height, width)."""
        rows, codes = vectors.permute(0, 2, 3, 1), self.embedding.weight
        # The vector's own square is the same for all codes.
        return (codes.square().sum(dim=1) - 2 * rows @ codes.T).argmin(dim=-1)

    def vectors(self, codes):
        """Vectors of codes (n, height, width): (n, code, height, width)."""
        return self.embedding(codes).permute(0, 3, 1, 2)

    def forward(self, vectors):
        """Nearest code vectors, whose gradient is handed on as it is (straight through), and both errors."""
        found = self.vectors(self.nearest(vectors))
        to_codes = functional.mse_loss(found, vectors.detach())
        to_vectors = functional.mse_loss(vectors, found.detach())
        return vectors + (found - vectors).detach(), to_codes, to_vectors


class _Block(nn.Module):
    def __init__(self, inputs, outputs, groups):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(groups, inputs), nn.GroupNorm(groups, outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.nin_shortcut = nn.Conv2d(outputs, outputs, 1, bias=False) if inputs != outputs else None

    def forward(self, values):
        found = self.conv1(functional.silu(self.norm1(values)))
        found = self.conv2(functional.silu(self.norm2(found)))
        return found + (values if self.nin_shortcut is None else self.nin_shortcut(found))


class _Level(nn.Module):
    """The blocks of a size, and the way to the next."""

    def __init__(self, inputs, outputs, config):
        super().__init__()
        self.block = nn.Sequential(*_blocks(inputs, outputs, config))


class _Doubled(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, values):
        return self.conv(functional.interpolate(values, scale_factor=2.0, mode="nearest"))


class _Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        widths = [config.channels * multiple for multiple in (1, *config.multiples)]
        self.conv_in = nn.Conv2d(3, config.channels, 3, padding=1, bias=False)
        self.down = nn.ModuleList(_Level(*pair, config) for pair in zip(widths, widths[1:]))
        self.mid = nn.ModuleList(_blocks(widths[-1], widths[-1], config))
        self.norm_out = nn.GroupNorm(config.groups, widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], config.code, 1)

    def forward(self, pixels):
        values = self.conv_in(pixels)
        for place, level in enumerate(self.down):
            values = level.block(values if place == 0 else functional.avg_pool2d(values, 2))
        for block in self.mid:
            values = block(values)
        return self.conv_out(functional.silu(self.norm_out(values)))


class _Decoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        multiples = config.multiples
        widths = [config.channels * multiple for multiple in (multiples[-1], *reversed(multiples))]
        self.conv_in = nn.Conv2d(config.code, widths[0], 3, padding=1)
        self.mid = nn.ModuleList(_blocks(widths[0], widths[0], config))
        self.up = nn.ModuleList(_Level(*pair, config) for pair in zip(widths, widths[1:]))
        for level, width in zip(self.up[:-1], widths[1:]):
            level.upsample = _Doubled(width)
        self.norm_out = nn.GroupNorm(config.groups, widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, vectors):
        values = self.conv_in(vectors)
        for block in self.mid:
            values = block(values)
        for level in self.up:
            values = level.block(values)
            values = level.upsample(values) if hasattr(level, "upsample") else values
        return self.conv_out(functional.silu(self.norm_out(values)))


def _blocks(inputs, outputs, config):
    return [_Block(inputs if place == 0 else outputs, outputs, config.groups) for place in range(config.n_blocks)]
