"""A small convolutional network that judges pictures of the drawn world.

It plays the part that ImageNet and CLIP networks play for photographs: its features say how alike two
pictures are in what they show, and its heads name what that is. No other network is trained with it or on
its features, so that it can judge them all.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from stages.checkpoints.pretrained import CONFIG_FILE, fill_network, read_network_tensors, save_network
from stages.checkpoints.strict_loading import read_json_object, refusing_values
from stages.ground.checks import uint8_pictures
from stages.ground.errors import InputError
from weights.manifest import CheckpointError
from weights.suggestions import did_you_mean

HEADS = ("category", "colour", "background", "digit")


class _Residual(nn.Module):
    """Two 3 x 3 convolutions around which the input passes unchanged."""

    def __init__(self, width):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)

    def forward(self, hidden):
        change = functional.relu(self.first_norm(self.first(hidden)))
        return functional.relu(hidden + self.second_norm(self.second(change)))


class _Halving(nn.Module):
    """A convolution with stride two."""

    def __init__(self, width_in, width_out, kernel=3):
        super().__init__()
        self.convolution = nn.Conv2d(width_in, width_out, kernel, stride=2, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(width_out)

    def forward(self, hidden):
        return functional.relu(self.norm(self.convolution(hidden)))


class EvaluationNetwork(nn.Module):
    """Features and four classifications of a picture.

    Parameters
    ----------
    labels : dict of str to list of str
        The names that each head can give, for all of ``HEADS``.
    widths : tuple of int
        Channels after each halving of the resolution.
    n_features : int
        Length of the feature vector.
    image_size : int
        Side of the pictures that `forward` takes, a multiple of two to the power of ``len(widths) + 1``.

    Attributes
    ----------
    config : dict
        The parameters above, as they are written to ``config.json``.
    """

    def __init__(self, labels, widths=(32, 64, 104), n_features=64, image_size=64):
        super().__init__()
        if set(labels) != set(HEADS) or any(not names for names in labels.values()):
            raise InputError(
                f"The evaluation network got labels for {', '.join(sorted(labels)) or 'nothing'}, but it "
                f"takes a list of names for each of {', '.join(HEADS)}; pass all four."
            )
        self.config = {
            "labels": {head: [str(name) for name in labels[head]] for head in HEADS},
            "widths": [int(width) for width in widths],
            "n_features": int(n_features),
            "image_size": int(image_size),
        }
        layers, width_in = [], 3
        for level, width in enumerate(widths):
            layers += [_Halving(width_in, width, kernel=5 if level == 0 else 3), _Residual(width)]
            width_in = width
        self.trunk = nn.Sequential(*layers)
        # Four quadrants, because where something is belongs to what a picture shows.
        self.features = nn.Linear(4 * width_in, n_features)
        self.heads = nn.ModuleDict({head: nn.Linear(n_features, len(self.labels[head])) for head in HEADS})

    @property
    def labels(self):
        """Names that each head can give: dict of str to list of str."""
        return self.config["labels"]

    def forward(self, images):
        """Judge pictures.

        Parameters
        ----------
        images : tensor of shape (n, 3, image_size, image_size), float
            Values in 0..1.

        Returns
        -------
        dict of str to tensor
            ``features`` (n, n_features) and for each head its logits (n, n_names).
        """
        hidden = self.trunk(images * 2 - 1)
        quadrants = functional.adaptive_avg_pool2d(hidden, 2).flatten(1)
        features = self.features(quadrants)
        return {"features": features} | {name: head(functional.relu(features)) for name, head in self.heads.items()}

    @torch.no_grad()
    def embed(self, images, batch_size=256):
        """Features of pictures of any size.

        Parameters
        ----------
        images : array of shape (n, height, width, 3), uint8
            Resized to the network's size, antialiased.
        batch_size : int
            Pictures at a time; the features do not depend on it beyond float rounding.

        Returns
        -------
        features : array of shape (n, n_features), float32

        Raises
        ------
        InputError
            `images` has another shape or type.
        """
        return self._judge(images, batch_size)["features"].numpy()

    @torch.no_grad()
    def classify(self, images, batch_size=256):
        """Most likely name from every head, for pictures of any size.

        Parameters
        ----------
        images : array of shape (n, height, width, 3), uint8
            Resized to the network's size, antialiased.
        batch_size : int
            Pictures at a time.

        Returns
        -------
        dict of str to list of str
            For each head a name per picture.

        Raises
        ------
        InputError
            `images` has another shape or type.
        """
        logits = self._judge(images, batch_size)
        return {head: [self.labels[head][k] for k in logits[head].argmax(1).tolist()] for head in HEADS}

    def prepared(self, images):
        """Bring uint8 pictures (n, height, width, 3) to what `forward` takes, where the network is: resized, antialiased."""
        # Copied where it must be: torch knows no rows in reversed order.
        size, images = self.config["image_size"], torch.from_numpy(np.ascontiguousarray(images))
        batch = images.to(self.features.weight.device).permute(0, 3, 1, 2).float() / 255
        if tuple(batch.shape[2:]) != (size, size):
            batch = functional.interpolate(batch, (size, size), mode="bilinear", antialias=True)
        return batch

    def _judge(self, images, batch_size):
        images = uint8_pictures(images, "the evaluation network")
        training = self.training
        self.eval()
        parts = []
        for start in range(0, max(len(images), 1), batch_size):
            batch = self.prepared(images[start : start + batch_size])
            parts.append({name: values.float().cpu() for name, values in self(batch).items()})
        self.train(training)
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def save_pretrained(self, folder, dtype=torch.float16):
        """Write ``config.json`` and ``model.safetensors``, each whole or not at all.

        Parameters
        ----------
        folder : path
            Made if it does not exist.
        dtype : torch.dtype
            What the tensors are stored in; counters stay integers.
        """
        save_network(self, folder, {"architecture": type(self).__name__, **self.config}, dtype)

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Load a folder with ``config.json`` and ``model.safetensors``; computed in float32.

        Parameters
        ----------
        folder : path
            Where `save_pretrained` wrote.
        device : str or torch.device
            Where the network is put.

        Returns
        -------
        EvaluationNetwork
            In evaluation mode.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or belongs to another network; the message names what is wrong.
        """
        folder = Path(folder)
        config = _read_config(cls.__name__, folder / CONFIG_FILE)
        with refusing_values(cls.__name__, folder / CONFIG_FILE), torch.device("meta"):
            network = cls(**config)
        return fill_network(network, read_network_tensors(folder), folder).to(device)


class EvaluationClasses:
    """What one head of the evaluation network gives each of its names.

    >>> from weights import store
    >>> judge = EvaluationClasses.from_pretrained(store.path("tiny-evaluation"), "category")
    >>> judge.embed(np.zeros((2, 64, 64, 3), dtype=np.uint8)).shape
    (2, 26)

    Parameters
    ----------
    network : EvaluationNetwork
    head : str
        One of ``HEADS``.
    """

    def __init__(self, network, head):
        if head not in HEADS:
            raise InputError(
                f"The evaluation network has no head {head!r}; choose one of {', '.join(HEADS)}{did_you_mean(head, HEADS)}."
            )
        self._network, self.head = network, head

    @classmethod
    def from_pretrained(cls, folder, head, device="cpu"):
        """Load a folder as `EvaluationNetwork.from_pretrained` does."""
        return cls(EvaluationNetwork.from_pretrained(folder, device), head)

    @torch.no_grad()
    def embed(self, images, batch_size=256):
        """Logits of the head's names for pictures uint8 (n, height, width, 3) of any size, float32 (n, n_names)."""
        return self._network._judge(images, batch_size)[self.head].numpy()


def _read_config(architecture, path):
    """Constructor arguments from ``config.json``."""
    config = read_json_object(path, architecture)
    expected = {"architecture", "labels", "widths", "n_features", "image_size"}
    if set(config) != expected or config["architecture"] != architecture:
        found = config.get("architecture", "no architecture")
        raise CheckpointError(
            f"{path} describes {found} and not an {architecture} with {', '.join(sorted(expected))}; "
            "give the folder of an evaluation network."
        )
    return {key: value for key, value in config.items() if key != "architecture"}
