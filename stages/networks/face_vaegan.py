"""Faces to latents and back: the encoder and the generator of VanRullen and Reddy's VAE-GAN.

VanRullen and Reddy, "Reconstructing faces from fMRI patterns using deep generative neural networks", Communications Biology
2:193, 2019. Layers, sizes and the order of values are read from rufinv/VAE-GAN-CelebA at 4c5fc97. The discriminator and the
training were never published, and are not here.

The network was written for TensorFlow 1. Its padding "SAME" puts the odd row and column at the end: a convolution of 3 x 3
with stride 2 on an even side n gives

    y[i, j] = sum over k, l in 0..2 of w[k, l] x[2 i + k, 2 j + l],    x = 0 outside,

and the transposed layer is the adjoint of that. Values are flattened row by row, the channels of a place together.
"""

import dataclasses
import math
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from stages.checkpoints.pretrained import CONFIG_FILE, fill_network, read_network_tensors, save_network
from stages.checkpoints.strict_loading import read_json_object, refusing_values
from stages.ground.checks import Number, check, check_all
from stages.ground.errors import InputError
from stages.networks.face_vaegan_names import with_own_names

ARCHITECTURE = "FaceVAEGAN"
NORM_EPSILON = 1e-6
_MOMENTUM = 0.1  # published as a decay of 0.9
_COLOURS = 3


@dataclasses.dataclass(frozen=True)
class FaceVAEGANConfig:
    """The content of a network's ``config.json``; the defaults are published.

    Attributes
    ----------
    picture : int
        Pixels on a side; a multiple of 2 to the number of `channels`.
    channels : tuple of int
        After each convolution of the encoder. The generator has them in reverse order, without the last, and then 3 colours.
    hidden : int
        Values between the convolutions and the latents.
    latents : int
        Values of `mu`; the generator begins with as many channels.
    """

    picture: int = 128
    channels: tuple[int, ...] = (192, 256, 384, 512, 768)
    hidden: int = 1024
    latents: int = 1024

    def __post_init__(self):
        some = Number(1, whole=True)
        object.__setattr__(self, "channels", tuple(self.channels))
        check_all(self, {"picture": some, "hidden": some, "latents": some})
        for width in self.channels:
            check("channels", width, some)
        if not self.channels or self.picture % 2 ** len(self.channels):
            raise InputError(
                f"picture is {self.picture} pixels for {len(self.channels)} halvings; expected one halving or more, and a "
                f"multiple of {2 ** len(self.channels)}: pass picture={2 ** max(len(self.channels), 1)}."
            )

    @property
    def bottom(self):
        """Places on a side behind the last convolution."""
        return self.picture // 2 ** len(self.channels)


PUBLISHED = FaceVAEGANConfig()


class FaceVAEGAN(nn.Module):
    """Encoder and generator, in one file.

    >>> network = FaceVAEGAN(FaceVAEGANConfig(picture=8, channels=(4, 6), hidden=5, latents=7))
    >>> mu, log_sigma = network.encoder(torch.zeros(2, 3, 8, 8))
    >>> tuple(mu.shape), tuple(network.generator(mu).shape)
    ((2, 7), (2, 3, 8, 8))

    Parameters
    ----------
    config : FaceVAEGANConfig
    seed : int
        Of the initial weights: Glorot's uniform distribution, with biases of 0.
    """

    def __init__(self, config=PUBLISHED, seed=0):
        super().__init__()
        self.config = config
        self.encoder = FaceEncoder(config)
        self.generator = FaceGenerator(config)
        random = torch.Generator().manual_seed(seed)
        for name, value in self.named_parameters():
            if value.dim() > 1 and not value.is_meta:
                nn.init.xavier_uniform_(value, generator=random)
            elif name.endswith(".bias"):
                nn.init.zeros_(value)

    @property
    def device(self):
        """Where the network computes."""
        return self.encoder.fc.weight.device

    def save_pretrained(self, folder):
        """Write ``model.safetensors``, and then ``config.json``, each whole or not at all."""
        save_network(self, folder, {"architecture": ARCHITECTURE, **dataclasses.asdict(self.config)})

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Read what `save_pretrained` wrote, or the converted published file; CheckpointError if absent or another one."""
        path = Path(folder) / CONFIG_FILE
        entries = read_json_object(path, ARCHITECTURE)
        with refusing_values(ARCHITECTURE, path), torch.device("meta"):
            if (named := entries.pop("architecture", ARCHITECTURE)) != ARCHITECTURE:
                raise ValueError(f"architecture is {named!r}")
            network = cls(FaceVAEGANConfig(**entries))
        tensors = with_own_names(read_network_tensors(folder))
        return fill_network(network, tensors, folder).to(device).requires_grad_(False)


class FaceEncoder(nn.Module):
    """Pictures to the mean and the spread of their latents.

    Parameters
    ----------
    config : FaceVAEGANConfig
    """

    def __init__(self, config):
        super().__init__()
        widths = (_COLOURS, *config.channels)
        for number, (inputs, outputs) in enumerate(zip(widths, widths[1:]), start=1):
            self.add_module(f"layer{number}", _Layer("conv2d", SameConv2d(inputs, outputs), outputs))
        self.fc = nn.Linear(config.channels[-1] * config.bottom**2, config.hidden)
        self.variational = nn.ModuleDict({
            "mu": nn.Linear(config.hidden, config.latents),
            "log_sigma": nn.Linear(config.hidden, config.latents),
        })  # fmt: skip
        self._n_layers = len(config.channels)

    def forward(self, pictures):
        """Encode pictures.

        Parameters
        ----------
        pictures : tensor of shape (n, 3, picture, picture)
            0 to 1.

        Returns
        -------
        mu : tensor of shape (n, latents)
            Between -1 and 1.
        log_sigma : tensor of shape (n, latents)
            Natural logarithm of the standard deviation, between -0.5 and 0.5.
        """
        hidden = pictures
        for number in range(1, self._n_layers + 1):
            hidden = self.get_submodule(f"layer{number}")(hidden)
        hidden = self.fc(hidden.permute(0, 2, 3, 1).flatten(1))
        return torch.tanh(self.variational["mu"](hidden)), 0.5 * torch.tanh(self.variational["log_sigma"](hidden))


class FaceGenerator(nn.Module):
    """Latents to pictures.

    Parameters
    ----------
    config : FaceVAEGANConfig
    """

    def __init__(self, config):
        super().__init__()
        self.fc = nn.Linear(config.latents, config.latents * config.bottom**2)
        widths = (config.latents, *reversed(config.channels[:-1]), _COLOURS)
        for number, (inputs, outputs) in enumerate(zip(widths, widths[1:]), start=1):
            self.add_module(f"layer{number}", _Layer("deconv2d", SameConvTranspose2d(inputs, outputs), outputs))
        self._n_layers, self._bottom = len(config.channels), config.bottom

    def forward(self, latents):
        """Draw pictures.

        Parameters
        ----------
        latents : tensor of shape (n, latents)

        Returns
        -------
        values : tensor of shape (n, 3, picture, picture)
            The last layer is normalised and goes through ELU as the others do: above -1, without an upper end. Published
            pictures are these divided by a maximum, and cut off at 0 and 1.
        """
        hidden = functional.elu(self.fc(latents))
        hidden = hidden.unflatten(1, (self._bottom, self._bottom, -1)).permute(0, 3, 1, 2)
        for number in range(1, self._n_layers + 1):
            hidden = self.get_submodule(f"layer{number}")(hidden)
        return hidden


class _Layer(nn.Module):
    """A convolution that is called `name`, batch normalisation, ELU."""

    def __init__(self, name, convolution, outputs):
        super().__init__()
        self.add_module(name, convolution)
        self.bn = BatchNorm(outputs)
        self._name = name

    def forward(self, x):
        return functional.elu(self.bn(self.get_submodule(self._name)(x)))


class SameConv2d(nn.Conv2d):
    """A convolution of 3 x 3 with stride 2 of even sides; the row and column of zeros are at the end."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, 3, stride=2)

    def forward(self, x):
        """Of (n, inputs, 2 height, 2 width), an array (n, outputs, height, width)."""
        return super().forward(functional.pad(x, (0, 1, 0, 1)))


class SameConvTranspose2d(nn.ConvTranspose2d):
    """The adjoint of `SameConv2d`, and a bias."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, 3, stride=2)

    def forward(self, x):
        """Of (n, inputs, height, width), an array (n, outputs, 2 height, 2 width)."""
        return super().forward(x)[..., :-1, :-1]


class BatchNorm(nn.Module):
    """Batch normalisation by stored statistics; in training by the batch's, of which a moving average is stored.

    The variance that is stored divides by the number of values, as in TensorFlow 1. PyTorch's own layer divides by one less.
    """

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        """Of (n, channels, height, width), the same."""
        if self.training:
            variance, mean = torch.var_mean(x.detach(), dim=(0, 2, 3), correction=0)
            self.running_mean.lerp_(mean, _MOMENTUM)
            self.running_var.lerp_(variance, _MOMENTUM)
            return functional.batch_norm(x, None, None, self.weight, self.bias, True, eps=NORM_EPSILON)
        statistics = self.running_mean, self.running_var
        return functional.batch_norm(x, *statistics, self.weight, self.bias, eps=NORM_EPSILON)


def sampled(mu, log_sigma, random=None):
    """Latents drawn about their mean: mu + exp(log_sigma) eps, eps standard normal.

    Parameters
    ----------
    mu, log_sigma : tensor of shape (n, latents)
    random : torch.Generator, optional

    Returns
    -------
    tensor of shape (n, latents)
    """
    noise = torch.randn(mu.shape, generator=random, dtype=mu.dtype, device=mu.device)
    return mu + noise * log_sigma.exp()


def divergence(mu, log_sigma):
    """Kullback-Leibler divergence from the standard normal distribution, in nats.

    -1/2 times the sum over latents of 1 + 2 log_sigma - mu^2 - exp(2 log_sigma).

    >>> divergence(torch.zeros(1, 4), torch.zeros(1, 4)).abs().tolist()
    [0.0]

    Parameters
    ----------
    mu, log_sigma : tensor of shape (n, latents)

    Returns
    -------
    tensor of shape (n,)
    """
    return -0.5 * (1 + 2 * log_sigma - mu.square() - (2 * log_sigma).exp()).sum(dim=1)


def n_parameters(network):
    """Number of values that training changes."""
    return sum(math.prod(value.shape) for value in network.parameters())
