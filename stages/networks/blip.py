"""BLIP (Li et al. 2022): a vision transformer, and a text decoder that writes a caption from its states.

The network is transformers' own. A folder holds ``config.json`` in the layout of Hugging Face and ``model.safetensors`` under
either transformers' names of tensors or those of BLIP's authors, which are renamed one to one.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import torch
from torch.nn import functional

from stages.checkpoints.outlines import outlining
from stages.checkpoints.pretrained import CONFIG_FILE, fill_network, read_network_tensors
from stages.checkpoints.strict_loading import read_json_object
from stages.checkpoints.transformers_loading import refusing_folder
from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from weights.manifest import CheckpointError

POSITIONS = "vision_model.embeddings.position_embedding"
_AUTHORS = "visual_encoder."
# Parts of the authors' names for the vision transformer, which are timm's, and of transformers'; the text decoder's are equal.
_VISION = (
    ("cls_token", "embeddings.class_embedding"),
    ("pos_embed", "embeddings.position_embedding"),
    ("patch_embed.proj.", "embeddings.patch_embedding."),
    ("norm.", "post_layernorm."),
)
_BLOCK = (
    ("norm1.", "layer_norm1."),
    ("norm2.", "layer_norm2."),
    ("attn.qkv.", "self_attn.qkv."),
    ("attn.proj.", "self_attn.projection."),
    ("mlp.", "mlp."),
)
_TIED = {
    "text_decoder.cls.predictions.decoder.weight": "text_decoder.bert.embeddings.word_embeddings.weight",
    "text_decoder.cls.predictions.decoder.bias": "text_decoder.cls.predictions.bias",
}


def load_blip(folder, size=None):
    """Load BLIP for captions, with every tensor accounted for.

    Parameters
    ----------
    folder : path
        Holds ``config.json`` and ``model.safetensors``.
    size : int, optional
        Side of the pictures in pixels, a multiple of a patch. By default it is that of the stored table of positions; for another
        one the table is resized as the authors do it (`resized_positions`).

    Returns
    -------
    network : transformers.BlipForConditionalGeneration
        In float32, in evaluation mode, on the CPU, without gradients. ``network.config.vision_config.image_size`` is the side.

    Raises
    ------
    CheckpointError
        A file is absent or damaged, or a tensor missing, unexpected or misshapen; the message names it.
    InputError
        `size` is no multiple of a patch.
    """
    folder = Path(folder)
    config = read_blip_config(folder)
    patch = config.vision_config.patch_size
    side = None if size is None else n_patches(size, patch)
    stored = read_network_tensors(folder)
    tensors = transformers_names(stored)
    if POSITIONS in tensors:
        table = tensors[POSITIONS].float()
        own = _side(table, folder)
        config.vision_config.image_size = patch * (side or own)
        if side not in (None, own):
            tensors[POSITIONS] = resized_positions(table, side)
    tied = _tie(tensors, by_the_authors=any(name.startswith(_AUTHORS) for name in stored))
    network = fill_network(blip_outline(config), tensors, folder).requires_grad_(False)
    if tied:
        network.tie_weights()
    if not outlining():
        # It is no tensor of the file, so that it is still an outline.
        embeddings = network.text_decoder.bert.embeddings
        embeddings.position_ids = torch.arange(config.text_config.max_position_embeddings).expand(1, -1)
    return network


def read_blip_config(folder):
    """Read ``config.json`` as a transformers.BlipConfig; CheckpointError unless it describes a BLIP."""
    path = Path(folder) / CONFIG_FILE
    stored = read_json_object(path, "BlipForConditionalGeneration")
    if stored.get("model_type") != "blip" or not all(
        isinstance(stored.get(name), dict) for name in ("vision_config", "text_config")
    ):
        raise CheckpointError(
            f"{path} describes a {stored.get('model_type')!r}, but the model_type 'blip' with a vision_config and a text_config "
            "was expected; give the folder of a BLIP."
        )
    from transformers import BlipConfig

    with refusing_folder(folder, "BlipForConditionalGeneration"):
        return BlipConfig.from_dict(stored)


def blip_outline(config):
    """A BLIP of a transformers.BlipConfig on the meta device: names and shapes without values, in evaluation mode.

    >>> from transformers import BlipConfig
    >>> network = blip_outline(BlipConfig())
    >>> f"{sum(each.numel() for each in network.parameters()):,} parameters"
    '223,971,644 parameters'
    """
    from transformers import BlipForConditionalGeneration

    with refusing_folder("config.json", "BlipForConditionalGeneration"), torch.device("meta"):
        return BlipForConditionalGeneration(config).eval()


def transformers_names(tensors):
    """Rename tensors under the names of BLIP's authors to transformers'; others keep theirs.

    >>> list(transformers_names({"visual_encoder.blocks.3.attn.proj.bias": 0, "text_decoder.cls.predictions.bias": 1}))
    ['vision_model.encoder.layers.3.self_attn.projection.bias', 'text_decoder.cls.predictions.bias']

    Parameters
    ----------
    tensors : dict of str to tensor
        As stored. The numbers 0, 1, 2 and so on, which older files keep among their tensors, are left out.

    Returns
    -------
    tensors : dict of str to tensor
        As many as before, apart from those numbers: an unknown name stays as it is.
    """
    return {_own_name(name): value for name, value in tensors.items() if not name.endswith(".position_ids")}


def n_patches(size, patch_size):
    """Patches along a side of a picture; InputError unless they fill it.

    >>> n_patches(240, 16)
    15
    """
    check("size", size, Number(1, whole=True, example=240))
    if size % patch_size:
        raise InputError(
            f"size is {size} pixels but a patch of this BLIP has {patch_size}; pass a multiple of {patch_size}, such as "
            f"{patch_size * max(1, round(size / patch_size))}."
        )
    return size // patch_size


def resized_positions(table, side):
    """Resize a table of positions to another number of patches, as BLIP's authors do it: bicubic, corners not aligned.

    transformers computes the same in each pass with ``interpolate_pos_encoding=True``.

    >>> resized_positions(torch.zeros(1, 1 + 14**2, 768), 15).shape
    torch.Size([1, 226, 768])

    Parameters
    ----------
    table : float32 tensor of shape (1, 1 + n * n, width)
        The class token's position first, which is kept.
    side : int
        Patches along a side of the picture.

    Returns
    -------
    table : float32 tensor of shape (1, 1 + side * side, width)
    """
    stored = math.isqrt(table.shape[1] - 1)
    grid = table[:, 1:].unflatten(1, (stored, stored)).permute(0, 3, 1, 2)
    grid = functional.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def _own_name(name):
    if not name.startswith(_AUTHORS):
        return name
    rest, own, parts = name.removeprefix(_AUTHORS), "vision_model.", _VISION
    if block := re.match(r"blocks\.(\d+)\.", rest):
        rest, own, parts = rest[block.end() :], f"vision_model.encoder.layers.{block[1]}.", _BLOCK
    for authors, ours in parts:
        if rest.startswith(authors):
            return own + ours + rest.removeprefix(authors)
    return name


def _tie(tensors, by_the_authors):
    """Give the tensors that the decoder's input and output share both of their names; return whether they are shared.

    The file of the authors' pretraining holds both, and they need not be equal there. In the authors' program for captions the
    two are one tensor, into which the output's is copied last: it stands for both. transformers leaves them apart if they differ.
    """
    shared = []
    for output, own in _TIED.items():
        if own not in tensors or (output in tensors and tensors[output].shape != tensors[own].shape):
            # An error that is told when the network is filled.
            return False
        if output not in tensors:
            tensors[output] = tensors[own]
        elif by_the_authors:
            tensors[own] = tensors[output]
        both = tensors[output], tensors[own]
        shared.append(both[0] is both[1] or (not both[0].is_meta and torch.equal(*both)))
    return all(shared)


def _side(table, folder):
    """Patches along a side of the pictures that a table of positions is for."""
    side = math.isqrt(max(0, table.shape[1] - 1)) if table.ndim == 3 else 0
    if not side or table.shape[:2] != (1, 1 + side * side):
        raise CheckpointError(
            f"{POSITIONS} in {folder} has shape {tuple(table.shape)}; expected (1, 1 + n * n, width) for n * n patches: fetch or "
            "export the checkpoint again."
        )
    return side
