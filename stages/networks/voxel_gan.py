"""From a response to a picture by a network trained end to end: generator and discriminator of Shen et al. 2019.

Shen, Dwivedi, Majima, Horikawa and Kamitani, "End-to-end deep image reconstruction from human brain activity", Frontiers in
Computational Neuroscience 2019, took both networks from Dosovitskiy and Brox, "Generating images with perceptual similarity
metrics based on deep networks", 2016, and gave the generator fMRI patterns to read. Layers have their names there. Sizes
follow from two numbers: `channels` (published: 256, and so three layers of 16 x 256 = 4,096 values) and the picture's side
(published: 227 pixels, cut from 256).
"""

import math
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import leaky_relu

from stages.checkpoints.pretrained import CONFIG_FILE, fill_network, read_network_tensors, save_network
from stages.checkpoints.strict_loading import read_json_object
from stages.ground.checks import Number, OneOf, check
from stages.ground.errors import InputError
from weights.manifest import CheckpointError

# Channels after each enlargement in units of `channels`, and after the convolution that follows it, if one does.
_STAGES = ((1, 2), (1, 1), (1 / 2, 1 / 2), (1 / 4, None), (1 / 8, None))
_SLOPE = 0.3
_SIDE_AT_FIRST = 4
LARGEST_PICTURE = _SIDE_AT_FIRST * 2 ** (len(_STAGES) + 1)


class GANGenerator(nn.Module):
    """Patterns to pictures: three full layers, then enlargements by two.

    Parameters
    ----------
    n_voxels : int
    picture : int
        Side in pixels, 8 to 256. The network draws on the next power of two, from which the middle is cut.
    channels : int
        A multiple of 8.
    brightness : float
        Greys of the network's values: 255 where they are shares of white, 1 where they are grey levels.
    offset : tuple of three floats
        Grey level of red, green and blue where the network says 0.
    seed : int
        Of the initial weights.
    spread : {"caffe", "inputs"}
        What the variance of a convolution's initial weights is divided by. Published are Caffe's deconvolutions, also for the
        layers called convolutions, and "caffe" is what Caffe takes for their inputs: kernel positions times *output* channels,
        the first axis of such a layer's weights being its input channels. "inputs": times input channels, as He et al. mean it.
    """

    def __init__(
        self, n_voxels, picture=227, channels=256, brightness=255.0, offset=(0.0, 0.0, 0.0), seed=0, spread="caffe"
    ):
        super().__init__()
        check("spread", spread, OneOf("caffe", "inputs"))
        check("picture", picture, Number(2 * _SIDE_AT_FIRST, LARGEST_PICTURE, whole=True, example=227))
        if channels < 8 or channels % 8:
            raise InputError(f"channels is {channels}; expected a multiple of 8, such as 64 (published: 256).")
        self.config = {
            "n_voxels": int(n_voxels),
            "picture": int(picture),
            "channels": int(channels),
            "brightness": float(brightness),
            "offset": [float(value) for value in offset],
        }
        self.register_buffer("_offset", torch.tensor(self.config["offset"]).reshape(1, 3, 1, 1), persistent=False)
        hidden = channels * _SIDE_AT_FIRST**2
        self.defc7 = nn.Linear(n_voxels, hidden)
        self.defc6 = nn.Linear(hidden, hidden)
        self.defc5 = nn.Linear(hidden, hidden)
        enlargements = math.ceil(math.log2(picture / _SIDE_AT_FIRST))
        width, number = channels, 5
        for first, second in _STAGES[: enlargements - 1]:
            self.add_module(f"deconv{number}", _enlarging(width, int(first * channels)))
            width = int(first * channels)
            if second is not None:
                self.add_module(f"conv{number}_1", nn.Conv2d(width, int(second * channels), 3, padding=1, bias=False))
                width = int(second * channels)
            number -= 1
        self.deconv0 = _enlarging(width, 3)
        self._hidden_layers = [name for name, _ in self.named_children() if "conv" in name and name != "deconv0"]
        random, gains = torch.Generator().manual_seed(seed), {nn.Linear: 1.0, nn.Conv2d: 0.9, nn.ConvTranspose2d: 1.8}
        for layer in self.children():
            # The convolutions have no biases: the original starts them at zero and keeps them there.
            _initialise(layer, gains[type(layer)], random, by_outputs=spread == "caffe")

    def forward(self, patterns):
        """Draw pictures.

        Parameters
        ----------
        patterns : tensor of shape (n, n_voxels)

        Returns
        -------
        values : tensor of shape (n, 3, picture, picture)
            The network's own; `greys` makes grey levels of them.
        """
        hidden = patterns
        for layer in (self.defc7, self.defc6, self.defc5):
            hidden = leaky_relu(layer(hidden), _SLOPE)
        hidden = hidden.reshape(len(patterns), -1, _SIDE_AT_FIRST, _SIDE_AT_FIRST)
        for name in self._hidden_layers:
            hidden = leaky_relu(self.get_submodule(name)(hidden), _SLOPE)
        drawn = self.deconv0(hidden)
        side = self.config["picture"]
        top = (drawn.shape[-1] - side) // 2
        return drawn[..., top : top + side, top : top + side]

    def greys(self, values):
        """Grey levels (n, 3, picture, picture) of the values; 0 to 255 is the range of pictures, which they may leave."""
        return values * self.config["brightness"] + self._offset

    def values(self, greys):
        """What the network would have to say for grey levels: the inverse of `greys`."""
        return (greys - self._offset) / self.config["brightness"]

    def save_pretrained(self, folder):
        """Write `model.safetensors`, and then `config.json`."""
        save_network(self, folder, self.config, indent=1)

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Read what `save_pretrained` wrote; a CheckpointError names a tensor that is missing, unexpected or misshapen."""
        folder = Path(folder)
        config = read_json_object(folder / CONFIG_FILE, cls.__name__)
        try:
            with torch.device("meta"):
                network = cls(**config)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{folder} holds no generator that can be read ({error}); fit it again.") from None
        fill_network(network, read_network_tensors(folder, remedy="fit it again"), folder)
        network._offset = torch.tensor(config["offset"]).reshape(1, 3, 1, 1)
        return network.to(device).requires_grad_(False)


class GANDiscriminator(nn.Module):
    """Pictures to two logits: that they were shown, and that they were drawn.

    Parameters
    ----------
    channels : int
        As the generator's.
    dropout : float
        Before either full layer; published: 0.5.
    seed : int
        Of the initial weights.
    """

    def __init__(self, channels=256, dropout=0.5, seed=0):
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels // 8, 7, stride=4)
        self.conv2 = nn.Conv2d(channels // 8, channels // 4, 5)
        self.conv3 = nn.Conv2d(channels // 4, channels // 2, 3, stride=2)
        self.conv4 = nn.Conv2d(channels // 2, channels, 3)
        self.conv5 = nn.Conv2d(channels, channels, 3, stride=2)
        self.fc1 = nn.Linear(channels, channels)
        self.fc2 = nn.Linear(channels, 2)
        self.dropout = nn.Dropout(dropout)
        random = torch.Generator().manual_seed(seed + 1)
        for name, layer in self.named_children():
            # The first layer meets grey levels, the last two are to begin undecided.
            if name != "dropout":
                _initialise(layer, 0.1 if name in ("conv1", "fc1", "fc2") else 1.0, random)

    # Below this the last convolution has nothing left to look at.
    SMALLEST_PICTURE = 63

    def forward(self, values):
        """Judge pictures, tensor of shape (n, 3, height, width): logits (n, 2), shown first."""
        hidden = values
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5):
            hidden = torch.relu(layer(hidden))
        # All that is left of 227 pixels is 11 x 11; of other sizes too, all of it is averaged.
        hidden = hidden.mean(dim=(2, 3))
        return self.fc2(self.dropout(torch.relu(self.fc1(self.dropout(hidden)))))


def _enlarging(width_in, width_out):
    return nn.ConvTranspose2d(width_in, width_out, 4, stride=2, padding=1, bias=False)


def _initialise(layer, gain, random, by_outputs=False):
    """Normal weights after He et al. 2015, times a gain, and no biases; `by_outputs` only matters to convolutions."""
    if layer.weight.is_meta:
        return
    if isinstance(layer, nn.Linear):
        inputs = layer.in_features
    else:
        inputs = (layer.out_channels if by_outputs else layer.in_channels) * math.prod(layer.kernel_size)
    nn.init.normal_(layer.weight, std=gain * math.sqrt(2 / inputs), generator=random)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
