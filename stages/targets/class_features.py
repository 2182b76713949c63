"""Features from which a network tells the class of a picture, with its own head for them.

Ferrante and others (2022) decode what ImageNet's ResNet-50 has behind its average pooling, 2,048 values, and have its head name
what was seen. The embedded network of the drawn world does the same for drawn pictures. Which of the two a folder holds, its
files tell.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from stages.checkpoints.pretrained import CONFIG_FILE
from stages.ground.checks import Number, OneOf, check, uint8_pictures
from stages.ground.class_labels import labels_of_classes
from stages.ground.errors import InputError
from stages.ground.pictures import check_levels
from stages.networks.bottleneck_resnet import load_bottleneck_resnet, norm_by_batch, pooled
from stages.networks.evaluation_network import EvaluationNetwork

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BATCH_NORMS = OneOf("eval", "train")
_TRAINED_TOGETHER = 64
_HEAD = "category"


class ClassFeatures:
    """Features of pictures, and the classes that follow from them.

    >>> from weights import store
    >>> target = ClassFeatures.from_pretrained(store.path("tiny-evaluation"))
    >>> target.n_targets, len(target.labels), target.labels[4]
    (64, 26, 'boat')
    >>> target.logits(np.zeros((2, 64), np.float32)).shape
    (2, 26)

    Attributes
    ----------
    labels : tuple of str
        A label for each class, see `stages.ground.class_labels`.
    n_targets : int
        Values per picture.
    preprocessing : dict
        What happens to a picture, as plain data; part of the feature store's key.
    """

    name = "class_features"
    takes = "images"

    @classmethod
    def from_pretrained(cls, folder, device="cpu", **options):
        """Load a folder: the embedded network if it holds that one's configuration, else a ResNet of torchvision.

        Parameters
        ----------
        folder : path
        device : str or torch.device
        **options
            `size` and `batchnorm` of `ResNetFeatures`; the embedded network has its own size.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or belongs to another network.
        InputError
            An option has another value, or nothing says what the classes are.
        """
        if (Path(folder) / CONFIG_FILE).exists():
            check("batchnorm", options.get("batchnorm", "eval"), OneOf("eval"))
            return DrawnClassFeatures(EvaluationNetwork.from_pretrained(folder, device))
        network = load_bottleneck_resnet(folder).to(device)
        return ResNetFeatures(network, labels_of_classes(folder, network.fc.out_features), **options)

    @property
    def shape(self):
        """One axis."""
        return (self.n_targets,)

    @torch.inference_mode()
    def encode(self, items, batch_size=32):
        """Compute the features of pictures.

        Parameters
        ----------
        items : array of shape (n, height, width, 3), uint8
            Any size.
        batch_size : int
            Changes the result by float rounding only, unless the batch takes part in it.

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
        for start in range(0, len(items), size := self._together(batch_size)):
            part = uint8_pictures(items[start : start + size], "a network that names classes")
            values[start : start + len(part)] = self._features(part).cpu().numpy()
        return values

    @torch.inference_mode()
    def logits(self, features):
        """Scores of the classes of features, by the network's own head.

        Parameters
        ----------
        features : array of shape (n, n_targets)
            True or decoded ones; one at a time, so that rounding does not depend on who else is there.

        Returns
        -------
        logits : array of shape (n, n_classes), float32

        Raises
        ------
        InputError
            They have another length.
        """
        features = np.asarray(features, dtype=np.float32)
        if features.ndim != 2 or features.shape[1] != self.n_targets:
            raise InputError(
                f"Features have shape {features.shape} but the head takes (n, {self.n_targets:,}); give features of this network."
            )
        logits = np.empty((len(features), len(self.labels)), dtype=np.float32)
        for row, own in enumerate(features):
            logits[row] = self._classes(torch.tensor(own[None], device=self.device))[0].cpu().numpy()
        return logits

    def top(self, features, n=5):
        """Return the numbers of the `n` likeliest classes of each row of features, int (n_rows, n), the likeliest first.

        Of equal ones the first stands first. What a softmax makes of the scores has the same order.
        """
        check("n", n, Number(1, len(self.labels), whole=True))
        return np.argsort(-self.logits(features), axis=1, kind="stable")[:, :n]

    def _together(self, batch_size):
        """Pictures in a batch."""
        return batch_size


class ResNetFeatures(ClassFeatures):
    """What a ResNet of torchvision has behind its average pooling; its head is the layer `fc`.

    The short side of a picture is resized to `size` pixels (Pillow, bilinear, 8 bit), nothing is cropped, and the channels are
    normalised as for ImageNet.

    Parameters
    ----------
    network : torchvision.models.resnet.ResNet
        In evaluation mode.
    labels : sequence of str
        For each class.
    size : int
        Pixels of the short side.
    batchnorm : {"eval", "train"}
        Normalise by the statistics that were learned, or by those of each 64 pictures that are encoded together, as the
        published notebooks do because they leave the network in training mode. Features of a picture then depend on the other
        pictures of its 64, and two data sets give one picture two features.
    """

    def __init__(self, network, labels, size=224, batchnorm="eval"):
        self.size = check("size", size, Number(1, whole=True, example=224))
        self.batchnorm = check("batchnorm", batchnorm, _BATCH_NORMS)
        self.network = norm_by_batch(network) if batchnorm == "train" else network
        self.labels = tuple(labels)

    @property
    def n_targets(self):
        """Values per picture, 2,048."""
        return self.network.fc.in_features

    @property
    def device(self):
        """Where the network computes."""
        return self.network.fc.weight.device

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        together = {} if self.batchnorm == "eval" else {"batch norm": f"of each {_TRAINED_TOGETHER} pictures in order"}
        return {
            "resize": f"short side to {self.size}",
            "interpolation": "bilinear, antialiased, 8 bit",
            "mean": list(MEAN),
            "std": list(STD),
            "layer": "average pooling",
        } | together

    def _together(self, batch_size):
        return batch_size if self.batchnorm == "eval" else _TRAINED_TOGETHER

    def _features(self, images):
        pictures = torch.from_numpy(short_sides_resized(images, self.size)).to(self.device).permute(0, 3, 1, 2) / 255
        mean, std = (torch.tensor(values, device=self.device)[:, None, None] for values in (MEAN, STD))
        return pooled(self.network, (pictures - mean) / std)

    def _classes(self, features):
        return self.network.fc(features)


class DrawnClassFeatures(ClassFeatures):
    """Features of the embedded network that names what is drawn, and its head for the kind of thing.

    Parameters
    ----------
    network : stages.networks.evaluation_network.EvaluationNetwork
        In evaluation mode.
    """

    def __init__(self, network):
        self.network, self.labels = network, tuple(network.labels[_HEAD])

    @property
    def n_targets(self):
        """Values per picture, 64."""
        return self.network.features.out_features

    @property
    def device(self):
        """Where the network computes."""
        return self.network.features.weight.device

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        side = self.network.config["image_size"]
        return {"resize": [side, side], "interpolation": "bilinear, antialiased", "layer": "features"}

    def _features(self, images):
        return torch.from_numpy(self.network.embed(np.ascontiguousarray(images)))

    def _classes(self, features):
        return self.network.heads[_HEAD](torch.relu(features))


def short_sides_resized(images, size):
    """Uint8 pictures (n, height, width, 3) whose short side becomes `size`: uint8 (n, height, width, 3), writable.

    The long side is cut off to whole pixels, as torchvision's Resize has it.
    """
    height, width = images.shape[1:3]
    short, long = min(height, width), max(height, width)
    longer = int(size * long / short)
    sides = (size, longer) if width <= height else (longer, size)
    return np.stack(
        [
            np.array(Image.fromarray(np.ascontiguousarray(one)).resize(sides, Image.Resampling.BILINEAR))
            for one in images
        ]
    )
