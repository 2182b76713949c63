"""Networks that look at pictures for a protocol: which kinds there are, and where their weights come from."""

from dataclasses import dataclass
from importlib import import_module
from typing import Protocol as Interface

from stages.ground.errors import InputError
from weights import store
from weights.suggestions import did_you_mean


@dataclass(frozen=True)
class NetworkKind:
    """Networks of one class.

    Attributes
    ----------
    module, class_name : str
        A class with `from_pretrained(folder, device=...)`, or `from_pretrained(folder, layer, device=...)` if it can
        be read at one layer or another.
    layers : tuple of str
        Where its features can be read.
    prepared : bool
        Whether it takes normalised float32 (n, 3, height, width), for which a protocol gives mean and std, or 8-bit
        (n, height, width, 3), which it normalises by itself.
    chooses_layer : bool
        Whether the class is told the layer.
    encoding : str
        A class of the module with ``from_pretrained(folder, subject, device=...)`` and ``predict(features)``: the encoding model
        that was published with the network, by the number of a subject of NSD. Empty if there is none, and one is fitted.
    """

    module: str
    class_name: str
    layers: tuple
    prepared: bool = False
    chooses_layer: bool = False
    encoding: str = ""


def _trunk(class_name, *layers):
    return NetworkKind("stages.networks.frozen_backbones", class_name, layers, prepared=True, chooses_layer=True)


# Networks by the kind a protocol names.
KINDS = {
    "evaluation_network": NetworkKind("stages.networks.evaluation_network", "EvaluationNetwork", ("features",)),
    "evaluation_classes": NetworkKind(
        "stages.networks.evaluation_network",
        "EvaluationClasses",
        ("category", "colour", "background", "digit"),
        chooses_layer=True,
    ),
    "clip_image_embedding": NetworkKind("stages.targets.clip", "CLIPImageEmbedding", ("image_embedding",)),
    "clip_visual": NetworkKind("stages.judges.clip_visual", "CLIPVisual", ("image_embedding",), prepared=True),
    "alexnet": _trunk("AlexNet", "features.4", "features.5", "features.11", "features.12", "classifier.5"),
    "inception_v3": _trunk("InceptionV3", "avgpool"),
    "efficientnet_b1": _trunk("EfficientNetB1", "avgpool"),
    "swav_resnet50": _trunk("SwAVResNet50", "avgpool"),
    "vit_h_14": _trunk("ViTH14", "heads"),
    "gnet": NetworkKind("stages.networks.gnet", "GNet", ("maps",), encoding="GNetReadout"),
    "lpips": NetworkKind("stages.judges.perceptual_distances", "LPIPSDistance", ("distance",)),
    "dreamsim": NetworkKind("stages.judges.perceptual_distances", "DreamSimDistance", ("distance",)),
}


class Network(Interface):
    """What scoring asks of a network; anything with the one of these methods that a metric needs will do.

    Pictures are uint8 (n, height, width, 3), or normalised float32 (n, 3, height, width), as its `NetworkKind` says.
    """

    def embed(self, images):
        """Features float32 (n, n_features) of pictures."""

    def classify(self, images):
        """Labels of pictures: dict of str to list of str, length n."""

    def distance(self, reference, predicted):
        """Distances float (n,) of pictures from the shown ones, row by row."""


def load_network(spec, device="cpu"):
    """Build a protocol's network from its checkpoint.

    Parameters
    ----------
    spec : brainrecon.evaluation.protocols.protocol.NetworkSpec
        Its kind, checkpoint, layer and preparation.
    device : str or torch.device
        Where it computes.

    Returns
    -------
    network : Network

    Raises
    ------
    InputError
        If the toolkit has no such kind of network, the kind no such layer, or the protocol prepares pictures in another
        form than the kind takes.
    weights.store.CheckpointError
        If the checkpoint is absent or damaged.
    """
    kind = check_network(spec)
    network = getattr(import_module(kind.module), kind.class_name)
    layer = (spec.layer,) if kind.chooses_layer else ()
    return network.from_pretrained(store.path(spec.checkpoint), *layer, device=device)


def load_encoding(spec, subject, device="cpu"):
    """Build the encoding model that was published with a protocol's network.

    Parameters
    ----------
    spec : brainrecon.evaluation.protocols.protocol.NetworkSpec
        Of a kind with `NetworkKind.encoding`.
    subject : int
        Number of a subject of NSD.
    device : str or torch.device

    Returns
    -------
    model : object with ``predict(features) -> (n, n_voxels)`` and ``n_voxels``

    Raises
    ------
    InputError
        It knows no such subject.
    weights.store.CheckpointError
        If the checkpoint is absent or damaged.
    """
    kind = check_network(spec)
    model = getattr(import_module(kind.module), kind.encoding)
    return model.from_pretrained(store.path(spec.checkpoint), subject, device=device)


def check_network(spec):
    """Refuse what cannot be loaded, before anything is read.

    Parameters
    ----------
    spec : brainrecon.evaluation.protocols.protocol.NetworkSpec

    Returns
    -------
    kind : NetworkKind

    Raises
    ------
    InputError
        As for `load_network`.
    """
    if spec.kind not in KINDS:
        raise InputError(
            f"Network {spec.name} is of kind {spec.kind!r}; the toolkit has {', '.join(KINDS)}"
            f"{did_you_mean(spec.kind, KINDS)}. Use one of these."
        )
    kind = KINDS[spec.kind]
    if spec.layer not in kind.layers:
        raise InputError(
            f"Network {spec.name} is read at layer {spec.layer!r}; a network of kind {spec.kind!r} is read at "
            f"{', '.join(kind.layers)}{did_you_mean(spec.layer, kind.layers)}. Use one of these."
        )
    if kind.prepared and not spec.preparation.normalises:
        raise InputError(
            f"Network {spec.name} has no mean and std, but a network of kind {spec.kind!r} takes normalised pictures; "
            "give it both in the protocol."
        )
    if spec.preparation.normalises and not kind.prepared:
        raise InputError(
            f"Network {spec.name} has mean {spec.preparation.mean}, but a network of kind {spec.kind!r} takes 8-bit "
            "pictures and normalises by itself; leave mean and std out of the protocol."
        )
    return kind
