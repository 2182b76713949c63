"""The generator of IC-GAN with BigGAN's layout: noise and the features of an instance to a picture.

Casanova and others (2021), "Instance-conditioned GAN". The noise comes in chunks of equal length: the first becomes the
4 x 4 start of the picture by a linear layer, each other one conditions a block beside the instance's features. Ozcelik
and others (2022) also enter behind that linear layer, with its output as they predict it: the dense vector.

Parameters bear the names of the published weights (``icgan_biggan_imagenet_res256`` is `PUBLISHED_256`).
"""

import dataclasses
from pathlib import Path

import torch
from torch import nn

from stages.checkpoints.pretrained import CONFIG_FILE, save_network
from stages.checkpoints.published_weights import put_weights, read_weights, weights_file
from stages.checkpoints.strict_loading import read_json_object, refusing_values
from stages.ground.checks import Number, OneOf, check, check_all
from stages.ground.errors import InputError
from stages.networks.icgan_blocks import BatchNorm, GeneratorBlock, SelfAttention
from stages.networks.spectral_norm import SpectralConv2d, SpectralLinear

ARCHITECTURE = "ICGAN"
BOTTOM = 4  # pixels on a side of what the first linear layer gives

# Channels before the first block and after each, in units of `ICGANConfig.channels`; every block doubles the sides.
WIDTHS = {
    64: (16, 16, 8, 4, 2),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
}
# The table of a class-conditional sibling, which the published file holds and an instance-conditioned network never reads.
_NEVER_READ = ("shared.",)


@dataclasses.dataclass(frozen=True)
class ICGANConfig:
    """The content of an IC-GAN's ``config.json``.

    Attributes
    ----------
    image_size : {64, 128, 256}
        Pixels on a side.
    channels : int
        After the last block, per unit of `WIDTHS`.
    noise : int
        Values of the noise asked for; the network takes the largest multiple of its chunks that is not larger.
    instance_features, shared_features : int
        Values of an instance's features, and what a first linear layer makes of them.
    attention : int
        Pixels on a side behind whose block there is attention; 0 for none.
    """

    image_size: int
    channels: int
    noise: int = 120
    instance_features: int = 2048
    shared_features: int = 512
    attention: int = 64

    def __post_init__(self):
        check("image_size", self.image_size, OneOf(*WIDTHS))
        some = Number(1, whole=True)
        noise = Number(self.n_chunks, whole=True)
        check_all(self, {"channels": some, "noise": noise, "instance_features": some, "shared_features": some})
        if self.attention and not BOTTOM < self.attention <= self.image_size:
            raise InputError(
                f"attention is at {self.attention} pixels; expected one of the sizes 8 to {self.image_size}, or 0 for none."
            )

    @property
    def widths(self):
        """Channels before the first block and after each."""
        return tuple(self.channels * width for width in WIDTHS[self.image_size])

    @property
    def n_chunks(self):
        """Chunks of the noise: one for the linear layer, one for each block."""
        return len(WIDTHS[self.image_size])

    @property
    def n_noise(self):
        """Values of the noise that the network takes."""
        return self.noise // self.n_chunks * self.n_chunks

    @property
    def n_dense(self):
        """Values of the dense vector."""
        return self.widths[0] * BOTTOM**2


PUBLISHED_256 = ICGANConfig(image_size=256, channels=96)


class ICGAN(nn.Module):
    """The generator.

    Parameters
    ----------
    config : ICGANConfig
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        chunk = config.n_noise // config.n_chunks
        self.shared_feat = SpectralLinear(config.instance_features, config.shared_features)
        self.linear = SpectralLinear(chunk, config.n_dense)
        self.blocks = nn.ModuleList()
        widths = config.widths
        for i, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
            parts = [GeneratorBlock(inputs, outputs, config.shared_features + chunk)]
            if BOTTOM * 2 ** (i + 1) == config.attention:
                parts.append(SelfAttention(outputs))
            self.blocks.append(nn.ModuleList(parts))
        self.output_layer = nn.Sequential(BatchNorm(widths[-1]), nn.ReLU(), SpectralConv2d(widths[-1], 3))

    @property
    def device(self):
        """Where the network computes."""
        return self.linear.weight.device

    def dense(self, noise):
        """What the first linear layer makes of the noise (n, n_noise): the dense vector (n, n_dense)."""
        return self.linear(noise[:, : self.linear.in_features])

    @torch.no_grad()
    def dense_spread(self):
        """Standard deviation of the dense vector's values, over places and standard normal noise."""
        return self.linear.normalised().square().sum(1).mean().sqrt().item()

    def forward(self, noise, instance, dense=None):
        """Draw pictures.

        Parameters
        ----------
        noise : float tensor of shape (n, n_noise)
        instance : float tensor of shape (n, instance_features)
            Features of unit length.
        dense : float tensor of shape (n, n_dense), optional
            In place of what the linear layer makes of the first chunk of the noise, which is not read then.

        Returns
        -------
        pictures : float tensor of shape (n, 3, image_size, image_size)
            -1 to 1.
        """
        first, *others = noise.chunk(self.config.n_chunks, dim=1)
        shared = self.shared_feat(instance)
        x = (self.linear(first) if dense is None else dense).unflatten(1, (-1, BOTTOM, BOTTOM))
        for parts, chunk in zip(self.blocks, others):
            condition = torch.cat([shared, chunk], dim=1)
            for part in parts:
                x = part(x, condition)
        return torch.tanh(self.output_layer(x))

    def divide(self):
        """Put every spectral norm into its weight, for drawing; returns the network, which is not to be saved then."""
        for module in self.modules():
            if isinstance(module, (SpectralLinear, SpectralConv2d)):
                module.divide()
        return self

    # Files

    def save_pretrained(self, folder, dtype=torch.float16):
        """Write ``config.json`` and ``model.safetensors``, each whole or not at all, tensors stored as `dtype`."""
        if self.linear.divided:
            raise InputError(
                "The weights have lost their spectral norms for drawing; save the network as it was trained."
            )
        save_network(self, folder, {"architecture": ARCHITECTURE, **dataclasses.asdict(self.config)}, dtype)

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Load a folder with ``config.json`` and one file of weights, for drawing.

        Parameters
        ----------
        folder : path
        device : str or torch.device

        Returns
        -------
        network : ICGAN
            In evaluation mode, in float32, without gradients, its weights divided by their norms.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or the tensors are not those that the configuration asks for.
        """
        folder = Path(folder)
        config = read_config(folder / CONFIG_FILE)
        path = weights_file(folder)
        with torch.device("meta"):
            network = cls(config)
        put_weights(network, read_weights(path), cls.__name__, path, _NEVER_READ)
        # Convolutions are a quarter faster in this layout, on the CPU as well.
        return network.to(device).divide().to(memory_format=torch.channels_last)


def read_config(path):
    """Read an IC-GAN's ``config.json``; CheckpointError if it is absent or describes no IC-GAN."""
    entries = read_json_object(path, ARCHITECTURE)
    with refusing_values(ARCHITECTURE, path):
        if (named := entries.pop("architecture", ARCHITECTURE)) != ARCHITECTURE:
            raise ValueError(f"architecture is {named!r}")
        return ICGANConfig(**entries)


def to_pictures(images):
    """uint8 pictures (n, 3, size, size) on any device as floats from -1 to 1: what the network draws of them."""
    return images.float() / 127.5 - 1


def to_bytes(pictures):
    """Pictures (n, 3, size, size) from -1 to 1 as a uint8 tensor (n, size, size, 3), on their device."""
    return ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
