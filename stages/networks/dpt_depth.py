"""Depth of a picture by the Dense Prediction Transformer, in two halves: its hidden states, and the depth read from them.

Ranftl and others, 2021. A vision transformer looks at a picture (24 blocks of 1,024 values in Intel/dpt-large). The states
behind four of its blocks, 577 tokens each, are all that the second half reads. Takagi and Nishimoto (arXiv 2306.11536) decode
those four from brain activity and let the second half read a depth map from them.
"""

import torch
from transformers import DPTForDepthEstimation

from stages.checkpoints.transformers_loading import load_transformers_strictly
from weights.manifest import CheckpointError

UNREAD = ("neck.fusion_stage.layers.0.residual_layer1.",)
"""The first fusion adds nothing to its input, so nothing reads this layer. Intel/dpt-large was published without it."""


def load_dpt(folder, device="cpu"):
    """Load a Dense Prediction Transformer for depth, in float32.

    >>> from transformers import DPTConfig
    >>> DPTForDepthEstimation(small_config()).save_pretrained("dpt")
    >>> network = load_dpt("dpt")
    >>> network.config.backbone_out_indices
    [0, 1, 2, 3]

    Parameters
    ----------
    folder : path
        Holds ``config.json`` and ``model.safetensors``. Nothing is looked for elsewhere.
    device : str or torch.device

    Returns
    -------
    network : transformers.DPTForDepthEstimation
        In evaluation mode, without gradients.

    Raises
    ------
    CheckpointError
        A file is absent or damaged; a tensor is missing, unexpected or misshapen; or the network is a hybrid or has another
        backbone, so that its levels are no hidden states of one transformer.
    """
    return _loaded(folder).to(device)


def load_dpt_level(folder, level, device="cpu"):
    """Load as much of the network as computes the hidden states of one level; arguments and errors as of `load_dpt`.

    Parameters
    ----------
    level : int
        0 for the first, which a quarter of the blocks computes.

    Returns
    -------
    network : transformers.DPTForDepthEstimation
        Whose only level it is.
    """
    network = _loaded(folder)
    block = network.config.backbone_out_indices[level]
    network.dpt.encoder.layer = network.dpt.encoder.layer[: block + 1]
    network.config.backbone_out_indices = [block]
    del network.neck, network.head
    return network.to(device)


def load_depth_reader(folder, device="cpu"):
    """Load as much of the network as reads depth from four levels; arguments and errors as of `load_dpt`.

    Returns
    -------
    network : transformers.DPTForDepthEstimation
        Without its transformer.
    """
    network = _loaded(folder)
    del network.dpt
    return network.to(device)


def _loaded(folder):
    network = load_transformers_strictly(DPTForDepthEstimation, folder, UNREAD)
    config = network.config
    if config.is_hybrid or config.backbone_config is not None:
        raise CheckpointError(
            f"The network in {folder} has {'a hybrid' if config.is_hybrid else 'another'} backbone, but its levels must be "
            "hidden states of one vision transformer; give the folder of one such as Intel/dpt-large."
        )
    network.neck.fusion_stage.layers[0].residual_layer1 = torch.nn.Identity()
    return network.requires_grad_(False)


@torch.no_grad()
def hidden_levels(network, pixels):
    """Compute the hidden states that the depth is read from.

    Those of block k are ``hidden_states[1 + k]``: the embedding is not counted, and the last layer norm is not applied.

    >>> network = DPTForDepthEstimation(small_config()).eval()
    >>> levels = hidden_levels(network, torch.zeros(1, 3, 8, 8))
    >>> [tuple(level.shape) for level in levels]
    [(1, 5, 8), (1, 5, 8), (1, 5, 8), (1, 5, 8)]

    Parameters
    ----------
    network : transformers.DPTForDepthEstimation
    pixels : float32 tensor of shape (n, 3, height, width)
        Normalised; the size is that of the configuration, 384.

    Returns
    -------
    levels : list of float32 tensor of shape (n, n_tokens, width)
        One for each of ``backbone_out_indices``; the class token comes first.
    """
    states = network.dpt(pixels, output_hidden_states=True).hidden_states
    return [states[1 + block] for block in network.config.backbone_out_indices]


@torch.no_grad()
def read_depth(network, levels):
    """Read a depth map from the hidden states of four levels.

    From the network's own states, it is the depth that the network predicts:

    >>> network, pixels = DPTForDepthEstimation(small_config()).eval(), torch.ones(1, 3, 8, 8)
    >>> depth = read_depth(network, hidden_levels(network, pixels))
    >>> torch.equal(depth, network(pixels).predicted_depth)
    True

    Parameters
    ----------
    network : transformers.DPTForDepthEstimation
        From `load_depth_reader` or `load_dpt`.
    levels : list of four float32 tensors of shape (n, n_tokens, width)
        True ones or decoded ones, in the order of `hidden_levels`.

    Returns
    -------
    depth : float32 tensor of shape (n, height, width)
        0 or more. What is near is large: it is the inverse of a distance, up to a factor and a shift. 384 x 384 of
        Intel/dpt-large.
    """
    side = network.config.image_size // network.config.patch_size
    return network.head(network.neck(list(levels), patch_height=side, patch_width=side))


def level_shape(config):
    """Return (n_tokens, width) of each level, (577, 1024) of Intel/dpt-large, from a transformers.DPTConfig.

    >>> from transformers import DPTConfig
    >>> level_shape(DPTConfig(hidden_size=1024, image_size=384, patch_size=16))
    (577, 1024)
    """
    return (config.image_size // config.patch_size) ** 2 + 1, config.hidden_size


def small_config():
    """Return the configuration of a network of four blocks, for examples and tests."""
    from transformers import DPTConfig

    return DPTConfig(
        **dict(hidden_size=8, num_hidden_layers=4, num_attention_heads=2, intermediate_size=8),
        **dict(image_size=8, patch_size=4, backbone_out_indices=[0, 1, 2, 3]),
        **dict(neck_hidden_sizes=[4, 4, 4, 4], fusion_hidden_size=4),
    )
