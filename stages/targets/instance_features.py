"""What IC-GAN calls an instance: the features of a picture from a network that learned without labels, of unit length.

Casanova and others (2021) condition on SwAV's ResNet-50, 2,048 values behind the average pooling; Ozcelik and others (2022)
predict them from fMRI. The embedded IC-GAN is conditioned on the pooled image vector of the embedded CLIP model. Which of
the two a folder holds, its files tell.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from stages.checkpoints.open_clip_folder import CONFIG_FILE, load_open_clip
from stages.ground.checks import uint8_pictures
from stages.ground.pictures import check_levels
from stages.networks.frozen_backbones import SwAVResNet50
from stages.networks.icgan import to_pictures

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class InstanceFeatures:
    """Features of pictures as a target, and of pictures that are still being made, with gradients.

    Attributes
    ----------
    size : int
        Pixels on a side that shown pictures are brought to first.
    n_targets : int
        Values of the features.
    device : torch.device
    """

    name = "instance"
    takes = "images"

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Load the network of a folder: an open_clip model where it holds that one's configuration, else SwAV's ResNet-50.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or belongs to another network.
        """
        kind = CLIPInstanceFeatures if (Path(folder) / CONFIG_FILE).exists() else SwAVInstanceFeatures
        return kind.load(folder, device)

    @property
    def shape(self):
        """One axis."""
        return (self.n_targets,)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        return {
            "crop": "centre square",
            "resize": [self.size, self.size],
            "interpolation": "bicubic, antialiased, 8 bit",
            "network_input": self.network_input,
            "features": "of unit length",
        }

    def features(self, pictures):
        """Features of pictures, gradients included.

        Parameters
        ----------
        pictures : float tensor of shape (n, 3, size, size)
            -1 to 1.

        Returns
        -------
        features : float tensor of shape (n, n_targets)
            Rows of unit length.
        """
        return functional.normalize(self._features((pictures + 1) / 2), dim=1)

    @torch.no_grad()
    def encode(self, items, batch_size=32):
        """Compute the features of pictures.

        Parameters
        ----------
        items : array of shape (n, height, width, 3), uint8
            Any size; their centre square is resized.
        batch_size : int
            Changes the result by float rounding only.

        Returns
        -------
        values : array of shape (n, n_targets), float32

        Raises
        ------
        InputError
            For anything but uint8 colour pictures, and for several that hold 0 and 1 alone.
        """
        check_levels(items, "pictures")
        values = np.empty((len(items), self.n_targets), dtype=np.float32)
        for start in range(0, len(items), batch_size):
            part = square_pictures(items[start : start + batch_size], self.size)
            pictures = to_pictures(torch.from_numpy(part).to(self.device).permute(0, 3, 1, 2))
            values[start : start + len(part)] = self.features(pictures).cpu().numpy()
        return values


class SwAVInstanceFeatures(InstanceFeatures):
    """SwAV's ResNet-50 behind its average pooling, as both papers take it.

    Pictures of 256 pixels are normalised as for ImageNet and then enlarged or reduced to 224, bicubic, corner pixels on
    corner pixels, without a filter.

    Parameters
    ----------
    network : stages.networks.frozen_backbones.SwAVResNet50
    """

    size = 256
    n_targets = 2048
    network_input = "224 x 224, bicubic, corners aligned, no filter; ImageNet's mean and standard deviation"

    def __init__(self, network):
        self._network = network

    @classmethod
    def load(cls, folder, device="cpu"):
        return cls(SwAVResNet50.from_pretrained(folder, "avgpool", device))

    @property
    def device(self):
        return self._network.device

    def _features(self, pictures):
        mean, std = (pictures.new_tensor(values)[:, None, None] for values in (_IMAGENET_MEAN, _IMAGENET_STD))
        prepared = functional.interpolate((pictures - mean) / std, size=224, mode="bicubic", align_corners=True)
        return self._network.features(prepared)


class CLIPInstanceFeatures(InstanceFeatures):
    """The pooled image vector of an open_clip model; pictures are brought to the model's own size at once.

    Parameters
    ----------
    model : open_clip.CustomTextCLIP
    """

    def __init__(self, model):
        self._visual = model.visual.requires_grad_(False)
        self._mean, self._std = (torch.tensor(model.visual.preprocess_cfg[name]) for name in ("mean", "std"))
        self.size, self.n_targets = model.visual.image_size[0], model.visual.output_dim

    @classmethod
    def load(cls, folder, device="cpu"):
        return cls(load_open_clip(folder, device)[0])

    @property
    def device(self):
        return self._visual.conv1.weight.device

    @property
    def network_input(self):
        """Mean and standard deviation of the channels."""
        return {"mean": self._mean.tolist(), "std": self._std.tolist()}

    def _features(self, pictures):
        if pictures.shape[-1] != self.size:
            pictures = functional.interpolate(
                pictures, size=self.size, mode="bicubic", antialias=True, align_corners=False
            )
        mean, std = (values.to(pictures)[:, None, None] for values in (self._mean, self._std))
        return self._visual((pictures - mean) / std)[0]


def square_pictures(images, size):
    """Centre squares of uint8 pictures (n, height, width, 3), resized (Pillow, bicubic): uint8 (n, size, size, 3)."""
    images = uint8_pictures(images, "IC-GAN")
    height, width = images.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    images = images[:, top : top + side, left : left + side]
    if side == size:
        return np.ascontiguousarray(images)
    pictures = (Image.fromarray(np.ascontiguousarray(image)) for image in images)
    resized = [np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC)) for picture in pictures]
    return np.stack(resized) if resized else np.empty((0, size, size, 3), np.uint8)
