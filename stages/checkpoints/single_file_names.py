"""Names of tensors in a single file of a latent diffusion model, as Stability's training leaves it, and in diffusers' parts.

Such a file numbers the UNet's blocks from the first to the last on the way down (``input_blocks``), at the bottom
(``middle_block``) and on the way up (``output_blocks``); diffusers numbers levels, and kinds of layers within a level. The
names follow from the configuration alone: every tensor of a part has one place in the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from weights.manifest import CheckpointError

UNET, AUTOENCODER, CONDITIONER = "model.diffusion_model.", "first_stage_model.", "conditioner."

_RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_TEXT_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_TEXT_ENDS = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}


@dataclass(frozen=True)
class Stored:
    """Where a tensor of a network lies in a file.

    >>> Stored("attn.in_proj_weight", third=1)
    Stored(name='attn.in_proj_weight', third=1, transposed=False)

    Attributes
    ----------
    name : str
    third : int, optional
        Which third of the stored tensor's rows it is: queries, keys and values lie in one.
    transposed : bool
        Whether rows and columns are exchanged.
    """

    name: str
    third: int | None = None
    transposed: bool = False


def unet_places(config: Mapping, names: Iterable[str]) -> dict[str, Stored]:
    """Return where each tensor of a UNet lies.

    >>> config = {"block_out_channels": (320, 640), "layers_per_block": 2}
    >>> config["up_block_types"] = ("CrossAttnUpBlock2D", "UpBlock2D")
    >>> unet_places(config, ["down_blocks.1.attentions.0.norm.weight"])
    {'down_blocks.1.attentions.0.norm.weight': Stored(name='model.diffusion_model.input_blocks.4.1.norm.weight', ...)}

    Parameters
    ----------
    config : mapping
        Of diffusers' ``UNet2DConditionModel``, with as many layers in every block.
    names : iterable of str
        Of its tensors.

    Returns
    -------
    places : dict of str to Stored

    Raises
    ------
    CheckpointError
        It has a layer that such a file has no place for.
    """
    layers, levels = config["layers_per_block"], len(config["block_out_channels"])
    modules = {
        "conv_in": "input_blocks.0.0",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        # Of a label and of text and sizes, whichever the network reads.
        **{f"{kind}_embedding.linear_{1 + n // 2}": f"label_emb.0.{n}" for kind in ("class", "add") for n in (0, 2)},
        **_residual("mid_block.resnets.0", "middle_block.0"),
        "mid_block.attentions.0": "middle_block.1",
        **_residual("mid_block.resnets.1", "middle_block.2"),
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    }
    for level in range(levels):
        down, up = f"down_blocks.{level}", f"up_blocks.{level}"
        for layer in range(layers):
            block = f"input_blocks.{1 + level * (layers + 1) + layer}"
            modules |= _residual(f"{down}.resnets.{layer}", f"{block}.0")
            modules[f"{down}.attentions.{layer}"] = f"{block}.1"
        modules[f"{down}.downsamplers.0.conv"] = f"input_blocks.{(level + 1) * (layers + 1)}.0.op"
        for layer in range(layers + 1):
            block = f"output_blocks.{level * (layers + 1) + layer}"
            modules |= _residual(f"{up}.resnets.{layer}", f"{block}.0")
            modules[f"{up}.attentions.{layer}"] = f"{block}.1"
        # It stands behind what the last layer of its level has: a residual block, and attention if there is any.
        behind = 2 if "CrossAttn" in config["up_block_types"][level] else 1
        modules[f"{up}.upsamplers.0.conv"] = f"output_blocks.{(level + 1) * (layers + 1) - 1}.{behind}.conv"
    return _placed(UNET, modules, names)


def autoencoder_places(config: Mapping, names: Iterable[str]) -> dict[str, Stored]:
    """Return where each tensor of an autoencoder lies; as `unet_places`, for diffusers' ``AutoencoderKL``.

    >>> config = {"block_out_channels": (128, 256), "layers_per_block": 2}
    >>> autoencoder_places(config, ["decoder.up_blocks.0.resnets.2.conv1.bias"])
    {'decoder.up_blocks.0.resnets.2.conv1.bias': Stored(name='first_stage_model.decoder.up.1.block.2.conv1.bias', ...)}
    """
    return _placed(AUTOENCODER, _autoencoder_modules(config), names)


def vq_places(config: Mapping, names: Iterable[str]) -> dict[str, Stored]:
    """Return where each tensor of an autoencoder with a codebook lies; as `autoencoder_places`, for diffusers' ``VQModel``.

    >>> config = {"block_out_channels": (128, 256, 512), "layers_per_block": 2}
    >>> vq_places(config, ["quantize.embedding.weight"])["quantize.embedding.weight"].name
    'first_stage_model.quantize.embedding.weight'
    """
    return _placed(AUTOENCODER, {"quantize.embedding": "quantize.embedding"} | _autoencoder_modules(config), names)


def first_text_places(names: Iterable[str]) -> dict[str, Stored]:
    """Return where each tensor of Stable Diffusion XL's first text encoder lies, which is stored as transformers has it.

    >>> first_text_places(["final_layer_norm.bias"])["final_layer_norm.bias"].name
    'conditioner.embedders.0.transformer.text_model.final_layer_norm.bias'

    Parameters
    ----------
    names : iterable of str
        Of a ``CLIPTextModel``; releases of transformers differ in whether they begin with ``text_model.``.
    """
    return {
        name: Stored(f"{CONDITIONER}embedders.0.transformer.text_model.{name.removeprefix('text_model.')}")
        for name in names
    }


def second_text_places(names: Iterable[str]) -> dict[str, Stored]:
    """Return where each tensor of the second text encoder lies, which is stored as open_clip has it.

    >>> second_text_places(["text_model.encoder.layers.3.self_attn.k_proj.bias"]).popitem()[1]
    Stored(name='conditioner.embedders.1.model.transformer.resblocks.3.attn.in_proj_bias', third=1, transposed=False)

    Parameters
    ----------
    names : iterable of str
        Of a ``CLIPTextModelWithProjection``.
    """
    return {name: _in_open_clip(name) for name in names}


def _autoencoder_modules(config):
    """Modules of an autoencoder by their names in diffusers and in the file."""
    layers, levels = config["layers_per_block"], len(config["block_out_channels"])
    modules = {"quant_conv": "quant_conv", "post_quant_conv": "post_quant_conv"}
    for half in ("encoder", "decoder"):
        modules |= {f"{half}.{end}": f"{half}.{end}" for end in ("conv_in", "conv_out")}
        modules[f"{half}.conv_norm_out"] = f"{half}.norm_out"
        for place in (0, 1):
            modules |= _plain_residual(f"{half}.mid_block.resnets.{place}", f"{half}.mid.block_{place + 1}")
        modules |= {
            f"{half}.mid_block.attentions.0.{ours}": f"{half}.mid.attn_1.{theirs}"
            for ours, theirs in _ATTENTION.items()
        }
    for level in range(levels):
        for layer in range(layers):
            modules |= _plain_residual(
                f"encoder.down_blocks.{level}.resnets.{layer}", f"encoder.down.{level}.block.{layer}"
            )
        modules[f"encoder.down_blocks.{level}.downsamplers.0.conv"] = f"encoder.down.{level}.downsample.conv"
        # On the way up the file counts levels as on the way down.
        stored = levels - 1 - level
        for layer in range(layers + 1):
            modules |= _plain_residual(
                f"decoder.up_blocks.{level}.resnets.{layer}", f"decoder.up.{stored}.block.{layer}"
            )
        modules[f"decoder.up_blocks.{level}.upsamplers.0.conv"] = f"decoder.up.{stored}.upsample.conv"
    return modules


def _in_open_clip(name):
    ours, folder = name.removeprefix("text_model."), f"{CONDITIONER}embedders.1.model."
    if ours == "text_projection.weight":
        return Stored(f"{folder}text_projection", transposed=True)
    if ours in _TEXT_ENDS:
        return Stored(folder + _TEXT_ENDS[ours])
    number, _, rest = ours.removeprefix("encoder.layers.").partition(".")
    block, (layer, _, kind) = f"{folder}transformer.resblocks.{number}.", rest.rpartition(".")
    if layer in _TEXT_LAYER:
        return Stored(f"{block}{_TEXT_LAYER[layer]}.{kind}")
    for third, letter in enumerate("qkv"):
        if layer == f"self_attn.{letter}_proj":
            return Stored(f"{block}attn.in_proj_{kind}", third=third)
    raise CheckpointError(f"A single file has no place for {name}; give a folder in diffusers' layout.")


def _residual(ours, theirs):
    return {f"{ours}.{layer}": f"{theirs}.{stored}" for layer, stored in _RESIDUAL.items()}


def _plain_residual(ours, theirs):
    layers = {layer: layer for layer in ("norm1", "conv1", "norm2", "conv2")} | {"conv_shortcut": "nin_shortcut"}
    return {f"{ours}.{layer}": f"{theirs}.{stored}" for layer, stored in layers.items()}


def _placed(part, modules, names):
    """Where tensors lie, by the longest beginning of their names that is a module's."""
    places = {}
    for name in names:
        module = name
        while module not in modules:
            module, _, _ = module.rpartition(".")
            if not module:
                raise CheckpointError(f"A single file has no place for {name}; give a folder in diffusers' layout.")
        places[name] = Stored(part + modules[module] + name[len(module) :])
    return places
