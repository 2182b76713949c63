"""Versatile Diffusion's two flows, joined into one UNet under two contexts.

Xu et al., 2023, publish one UNet per flow: the image flow, a convolutional UNet over latents of pictures, whose
transformers read an image context; and the text flow, a "flat" UNet over vectors of text, whose transformers read a
text context. A picture under both contexts is drawn by the image flow with the transformers of both (diffusers'
``image_unet`` and ``text_unet``; transformer 0 is the image's, transformer 1 the text's). Of the text flow only the
transformers are read here: its file may hold nothing else, as a pull leaves it. Other tensors, if it has some, are held against
the list that its configuration calls for; `stages.networks.text_flow` reads them.
"""

from pathlib import Path

import torch

from stages.checkpoints.stored_tensors import StoredTensors
from stages.checkpoints.strict_loading import check_tensors, read_config, read_json_object, refusing_values
from stages.networks.dual_context_unet import DualContextUNet2DConditionModel
from weights.manifest import CheckpointError

IMAGE_FLOW, TEXT_FLOW = "image_unet", "text_unet"
TEXT_FLOW_CLASS = "UNetFlatConditionModel"
# Latents of 512 x 512 pictures, where the configuration leaves it open.
PUBLISHED_SAMPLE_SIZE = 64
# A layer of the text flow is this many times as wide as the image flow's: its vectors are maps of 4 x 1.
FLAT_PLACES = 4

# What both flows must agree in for one set of transformers to stand in for the other, and diffusers' defaults.
_SHARED = {
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": 1280,
    "transformer_layers_per_block": 1,
    "attention_head_dim": 8,
    "num_attention_heads": None,
    "norm_num_groups": 32,
    "use_linear_projection": False,
    "only_cross_attention": False,
    "upcast_attention": False,
    "attention_type": "default",
    "dual_cross_attention": False,
}


def load_versatile_diffusion_unet(folder, image_tokens=257, text_tokens=77, dtype=torch.float32):
    """Join the published flows.

    Every tensor is converted as it is read, so memory holds the joined UNet and one tensor more.

    Parameters
    ----------
    folder : path
        Holds ``image_unet/`` and ``text_unet/``. An ``image_unet/`` that was saved with both transformers
        (``dual_cross_attention``) needs no ``text_unet/``, and none is read.
    image_tokens, text_tokens : int
        Length of each context.
    dtype : torch.dtype
        What the parameters are computed in, whatever they are stored in.

    Returns
    -------
    unet : DualContextUNet2DConditionModel
        On the CPU, in evaluation mode, without gradients.

    Raises
    ------
    CheckpointError
        A file is absent or damaged, the two configurations do not fit each other, or tensors of either flow are
        missing, unexpected or misshapen; the message names them.
    """
    folder = Path(folder)
    image, text = folder / IMAGE_FLOW, folder / TEXT_FLOW
    config = read_config(DualContextUNet2DConditionModel, image / "config.json")
    unet = _empty_unet(config, image / "config.json", image_tokens, text_tokens)
    expected = unet.state_dict()
    if config.get("dual_cross_attention"):
        sources = [(StoredTensors(image), {name: name for name in expected})]
        check_tensors("the joined UNet", image, sources[0][0].tensors, expected)
    else:
        text_config = read_text_config(text, config)
        image_names, text_names = flow_names(expected)
        sources = [(StoredTensors(image), image_names), (StoredTensors(text), text_names)]
        image_expected = {name: expected[place] for name, place in image_names.items()}
        check_tensors("the image flow", image, sources[0][0].tensors, image_expected)
        with refusing_values("text flow", text / "config.json"):
            text_expected = text_flow_tensors(expected, text_config)
        if not sources[1][0].tensors.keys() - text_names.keys():
            text_expected = {name: expected[place] for name, place in text_names.items()}
        check_tensors("the text flow", text, sources[1][0].tensors, text_expected)
    state = {places[name]: tensor for stored, places in sources for name, tensor in stored.read(places, dtype)}
    unet.load_state_dict(state, assign=True)
    return unet.eval().requires_grad_(False)


def flow_names(names):
    """Where each flow's tensors go in the joined UNet.

    Parameters
    ----------
    names : iterable of str
        Of the joined UNet's tensors.

    Returns
    -------
    image : dict of str to str
        The image flow's name of every tensor but the text transformers', to its name in the joined UNet.
    text : dict of str to str
        The text flow's name of every tensor of a transformer, likewise.
    """
    image, text = {}, {}
    for name in names:
        if ".transformers.1." in name:
            text[name.replace(".transformers.1.", ".")] = name
        else:
            image[name.replace(".transformers.0.", ".")] = name
    return image, text


def text_flow_tensors(joined, config):
    """What the text flow's file holds, used here or not.

    Its blocks are those of the image flow with every layer flattened: where a residual block convolves maps of c
    channels, the text flow multiplies vectors of 4 c by matrices (kept as convolutions of size 1), and where the map
    is halved or doubled there is one linear layer.

    Parameters
    ----------
    joined : dict of str to tensor
        The joined UNet's tensors, on any device.
    config : dict
        The text flow's; its ``in_channels`` and ``out_channels`` are (768, 1, 1) as published.

    Returns
    -------
    tensors : dict of str to tensor
        On the meta device.
    """
    image, text = flow_names(joined)
    shapes = {name: tuple(joined[place].shape) for name, place in text.items()}
    first = joined["conv_in.weight"].shape[0] * FLAT_PLACES
    width_in, width_out = flat_width(config["in_channels"]), flat_width(config["out_channels"])
    for name, place in image.items():
        if name in text:
            continue
        shape = tuple(joined[place].shape)
        *_, layer, kind = name.split(".")
        if ".resnets." in name:
            flat = [FLAT_PLACES * shape[0], *shape[1:]]
            if layer.startswith("conv") and kind == "weight":
                flat[1:] = [FLAT_PLACES * shape[1], 1, 1]
        elif "samplers." in name:
            name = name.replace(".conv.", ".")
            flat = [FLAT_PLACES * size for size in shape[:2]]
        elif layer == "conv_in":
            flat = [first, width_in][: len(shape[:2])]
        elif layer == "conv_out":
            flat = [width_out, first][: len(shape[:2])]
        else:
            flat = shape
        shapes[name] = tuple(flat)
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def flat_width(channels):
    """Values of a vector that is given as their number on each of four places, or as (values, 1, 1).

    >>> flat_width((768, 1, 1)), flat_width(192)
    (768, 768)
    """
    if isinstance(channels, int):
        return channels * FLAT_PLACES
    width = 1
    for size in channels:
        width *= size
    return width


def _empty_unet(config, path, image_tokens, text_tokens):
    """The joined UNet without memory for its parameters."""
    config = {
        # diffusers' default, where the older files leave it out; the joined UNet's own is the published 768.
        "cross_attention_dim": _SHARED["cross_attention_dim"],
        **config,
        "sample_size": config.get("sample_size") or PUBLISHED_SAMPLE_SIZE,
        "image_context_tokens": image_tokens,
        "text_context_tokens": text_tokens,
        "dual_cross_attention": False,
    }
    with refusing_values("image flow", path), torch.device("meta"):
        return DualContextUNet2DConditionModel.from_config(config)


def read_text_config(folder, image_config):
    """Read the text flow's configuration; CheckpointError unless it describes the same transformers as the image flow's."""
    path = folder / "config.json"
    config = read_json_object(path, "text flow")
    written_by = config.get("_class_name", TEXT_FLOW_CLASS)
    if written_by != TEXT_FLOW_CLASS:
        raise CheckpointError(
            f"{path} describes a {written_by}, but a {TEXT_FLOW_CLASS} was expected; give Versatile Diffusion's folder."
        )
    for name, default in _SHARED.items():
        ours, theirs = (_plain(each.get(name, default)) for each in (image_config, config))
        if ours != theirs:
            raise CheckpointError(
                f"{path} has {name} {theirs}, but the image flow beside it has {ours}; the flows share their "
                "transformers' layout, so fetch both from one checkpoint."
            )
    for name in ("in_channels", "out_channels"):
        if name not in config:
            raise CheckpointError(f"{path} does not say {name}; fetch the checkpoint again.")
    return config


def _plain(value):
    return list(value) if isinstance(value, tuple) else value
