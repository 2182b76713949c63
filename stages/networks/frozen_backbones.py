"""The ImageNet networks that published evaluations look at pictures with, read at one of their layers.

They are torchvision's, at full size, with the weights that torchvision and SwAV published. A network here takes
pictures that are already prepared: which resize and which normalisation came before is for a protocol to say.
"""

from functools import partial
from weakref import WeakValueDictionary

import numpy as np
import torch
import torchvision
from torchvision.models.feature_extraction import create_feature_extractor

from stages.checkpoints.published_weights import put_weights, read_weights, weights_file
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

_PICTURES_AT_A_TIME = 32

# Networks by their file. Two layers of one network (AlexNet is read at two) share its weights while either is in use.
_in_use = WeakValueDictionary()


class JudgingNetwork:
    """A network read at one layer: prepared pictures in, flattened features out.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode.
    layer : str
        One of the class's `layers`.

    Attributes
    ----------
    layers : tuple of str
        Names of modules of torchvision's network. What a layer gives is its output, so that "features.4" of AlexNet
        is the ReLU after the second convolution and "features.5" the pooling after that.
    smallest : int
        Pixels on a side below which the network has nothing left to look at.
    """

    layers = ()
    smallest = 1
    _spare = ()
    _at_a_time = _PICTURES_AT_A_TIME

    def __init__(self, network, layer):
        self._check_layer(layer)
        self.layer = layer
        self._network = network
        # Computes up to the layer and no further; its weights are the network's own.
        self._extractor = create_feature_extractor(network, [layer], suppress_diff_warning=True).eval()

    @staticmethod
    def _build():
        """The untrained network."""
        raise NotImplementedError

    @staticmethod
    def _rename(name):
        """What a tensor of the published file is called here."""
        return name

    @classmethod
    def from_pretrained(cls, folder, layer, device="cpu"):
        """Load the published weights.

        Parameters
        ----------
        folder : path
            Holds one `.safetensors`, `.pth` or `.pth.tar` file, as published.
        layer : str
            Where features are read.
        device : str or torch.device

        Returns
        -------
        network : JudgingNetwork
            In float32.

        Raises
        ------
        InputError
            The network has no such layer.
        CheckpointError
            The file is absent or damaged, or belongs to another network.
        """
        cls._check_layer(layer)
        path = weights_file(folder)
        facts = path.stat()
        key = (cls, str(path.resolve()), facts.st_size, facts.st_mtime_ns, str(device))
        network = _in_use.get(key)
        if network is None:
            tensors = {cls._rename(name): tensor for name, tensor in read_weights(path).items()}
            with torch.device("meta"):
                network = cls._build()
            _in_use[key] = network = put_weights(network, tensors, cls.__name__, path, cls._spare).to(device)
        return cls(network, layer)

    @classmethod
    def random(cls, layer, seed=0):
        """Make the network with random weights: it computes as the published one does and has learned nothing.

        Parameters
        ----------
        layer : str
        seed : int

        Returns
        -------
        network : JudgingNetwork
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = cls._build()
        return cls(network.eval().requires_grad_(False), layer)

    @torch.inference_mode()
    def embed(self, batch):
        """Compute features.

        Parameters
        ----------
        batch : float32 array or tensor of shape (n, 3, height, width)
            Resized and normalised.

        Returns
        -------
        features : float32 array of shape (n, n_features)
            Flattened, channels first. They depend on the other pictures of the batch by float rounding only.

        Raises
        ------
        InputError
            `batch` has another shape or type, or pictures are too small for the network.
        """
        batch = check_prepared(batch, type(self).__name__, self.smallest)
        device = self.device
        parts = []
        # At least once, so that no pictures give no rows of the right length.
        for start in range(0, max(len(batch), 1), self._at_a_time):
            part = batch[start : start + self._at_a_time].to(device)
            parts.append(self.features(part).cpu().numpy())
        return np.concatenate(parts)

    def features(self, batch):
        """Features (n, n_features) of prepared pictures as a tensor, through which gradients pass; nothing is checked."""
        return self._extractor(batch)[self.layer].flatten(1)

    @property
    def device(self):
        """Where the network computes."""
        return next(self._network.parameters()).device

    @classmethod
    def _check_layer(cls, layer):
        if layer not in cls.layers:
            meant = did_you_mean(layer, cls.layers)
            raise InputError(
                f"{cls.__name__} has no layer {layer!r} to read; choose one of {', '.join(cls.layers)}{meant}."
            )


class AlexNet(JudgingNetwork):
    """AlexNet as torchvision has it (Krizhevsky 2014)."""

    layers = ("features.4", "features.5", "features.11", "features.12", "classifier.5")
    smallest = 63
    _build = staticmethod(partial(torchvision.models.alexnet, weights=None))


class InceptionV3(JudgingNetwork):
    """Inception v3 (Szegedy and others 2015).

    Its weights came from TensorFlow, so that it first brings ImageNet's normalisation to the one it was trained with.
    """

    layers = ("avgpool",)
    smallest = 75
    _build = staticmethod(
        # As torchvision sets them where it loads weights.
        partial(
            torchvision.models.inception_v3, weights=None, transform_input=True, aux_logits=True, init_weights=False
        )
    )


class EfficientNetB1(JudgingNetwork):
    """EfficientNet-B1 (Tan and Le 2019); torchvision published two sets of weights."""

    layers = ("avgpool",)
    _build = staticmethod(partial(torchvision.models.efficientnet_b1, weights=None))


class SwAVResNet50(JudgingNetwork):
    """ResNet-50 trained by SwAV (Caron and others 2020).

    The published file is that of the training: names begin with "module.", there are a projection head and prototypes,
    which features do not pass, and no classifier.
    """

    layers = ("avgpool",)
    _spare = ("projection_head.", "prototypes.")

    @staticmethod
    def _build():
        network = torchvision.models.resnet50(weights=None)
        network.fc = torch.nn.Identity()
        return network

    @staticmethod
    def _rename(name):
        return name.removeprefix("module.")


class ViTH14(JudgingNetwork):
    """Vision transformer ViT-H/14 (Dosovitskiy et al. 2021) with torchvision's default weights: SWAG, tuned end to end at 518 px.

    Its layer "heads" gives the logits of ImageNet's 1,000 classes. Positions are those of 518 x 518 pixels, so that it takes no
    other size.
    """

    layers = ("heads",)
    smallest = 518
    # 1,370 tokens of 1,280 values each.
    _at_a_time = 4
    _build = staticmethod(partial(torchvision.models.vit_h_14, weights=None, image_size=518))

    def embed(self, batch):
        """As `JudgingNetwork.embed`, of pictures of 518 x 518 pixels."""
        batch = check_prepared(batch, type(self).__name__, self.smallest)
        if tuple(batch.shape[2:]) != (self.smallest, self.smallest):
            raise InputError(
                f"Pictures are {batch.shape[2]} x {batch.shape[3]} but ViT-H/14 takes {self.smallest} x {self.smallest} pixels; "
                "resize them."
            )
        return super().embed(batch)


def check_prepared(batch, name, smallest=1):
    """Return prepared pictures as a tensor.

    Parameters
    ----------
    batch : float32 array or tensor of shape (n, 3, height, width)
    name : str
        Of the network, for the error.
    smallest : int
        Pixels on a side that it needs.

    Raises
    ------
    InputError
        `batch` has another shape or type, or smaller pictures.
    """
    batch = torch.as_tensor(batch)
    if batch.dtype != torch.float32 or batch.ndim != 4 or batch.shape[1] != 3 or min(batch.shape[2:]) < smallest:
        raise InputError(
            f"Pictures are {str(batch.dtype).removeprefix('torch.')} of shape {tuple(batch.shape)}; {name} takes "
            f"normalised float32 of shape (n, 3, height, width), at least {smallest} pixels on a side. Prepare them first."
        )
    return batch
