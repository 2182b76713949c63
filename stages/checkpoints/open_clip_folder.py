"""Read the folder of an open_clip model strictly, and never anything but that folder.

The image tower alone is read from such a folder, too, or from the file of a larger network that holds one.
"""

import difflib
import json
from contextlib import nullcontext
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from stages.checkpoints.outlines import outlining
from stages.checkpoints.published_weights import put_weights, weights_file
from stages.checkpoints.quiet_loading import quietly
from stages.ground.errors import InputError
from weights.contents import why_no_tensors
from weights.manifest import CheckpointError
from weights.torchscript import is_torchscript
from weights.whole_files import write_text

CONFIG_FILE = "open_clip_config.json"
# In the order in which open_clip itself looks for them.
WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")


def load_open_clip(folder, device="cpu"):
    """Load an open_clip model of the CLIP family in float32.

    The configuration alone decides what is built, the activation too: ``quick_gelu`` true is OpenAI's, false or
    absent the ordinary one. Weights fit both, so nothing else could notice that a model of OpenAI's computes with
    the wrong one (open_clip's configuration ViT-L-14 leaves it out, ViT-L-14-quickgelu sets it). A folder that says
    itself that it holds OpenAI's weights, and whose configuration does not set it, is therefore refused.

    Parameters
    ----------
    folder : path-like
        Holds ``open_clip_config.json``, ``open_clip_model.safetensors`` and, where the configuration names a
        tokenizer, its files.
    device : str or torch.device

    Returns
    -------
    model : open_clip.CustomTextCLIP
        In evaluation mode, without gradients; both towers return (pooled, tokens).
    preprocess : callable
        Pillow image to float32 tensor (3, height, width), by the folder's own configuration.
    tokenizer : callable
        List of str to int64 tensor (n, context_length).

    Raises
    ------
    CheckpointError
        A file is missing or damaged, its weights do not fit the configuration exactly, the model is of another
        family, or it is one of OpenAI's without OpenAI's activation.
    """
    # Takes seconds to import, and who only asks for targets' names loads no model.
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    folder = Path(folder)
    config = _family_config(folder)
    _check_activation(folder, config)
    _check_positions(folder, config)
    source = f"local-dir:{folder}"
    try:
        # The custom-text class keeps the text tower whole, so that it can return its tokens.
        with quietly():
            # An outline is built, too, but nothing is loaded into it.
            with torch.device("meta") if outlining() else nullcontext():
                model = open_clip.create_model(
                    source,
                    device=device,
                    precision="fp32",
                    force_custom_text=True,
                    weights_only=True,
                    load_weights=not outlining(),
                    require_pretrained=not outlining(),
                )
            preprocess = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
            tokenizer = _tokenizer(source, config["text_cfg"])
    except (RuntimeError, ValueError, OSError) as error:
        raise CheckpointError(
            f"open_clip cannot load {folder} ({str(error).splitlines()[0]}); expected {CONFIG_FILE}, "
            f"{WEIGHT_FILES[0]} and the tokenizer that belong together. Restore the folder."
        ) from error
    model.float().eval().requires_grad_(False)
    model.visual.output_tokens = model.text.output_tokens = True
    return model, preprocess, tokenizer


def load_image_tower(folder, device="cpu", prefix="visual.", architecture=None):
    """Load the image tower of an open_clip model of the CLIP family in float32, and leave the text tower in the file.

    Parameters
    ----------
    folder : path-like
        Holds ``open_clip_config.json`` and ``open_clip_model.safetensors``, or one file of safetensors of another name.
    device : str or torch.device
    prefix : str
        What stands before the tower's names in the file; ``conditioner.embedders.0.model.visual.`` in those of SDXL-unCLIP.
    architecture : str, optional
        open_clip's name of the model, for a folder without ``open_clip_config.json``; such as ``ViT-bigG-14``.

    Returns
    -------
    visual : open_clip.transformer.VisionTransformer
        In evaluation mode, without gradients; in outline within `stages.checkpoints.outlines.outlines`.
    normalisation : dict
        ``mean`` and ``std`` of the three channels, of pixels from 0 to 1.

    Raises
    ------
    CheckpointError
        A file is missing or damaged, its weights do not fit the configuration exactly, or the model is of another family.
    """
    # Takes seconds to import, and who only asks for targets' names loads no model.
    import open_clip

    folder = Path(folder)
    if architecture is not None and not (folder / CONFIG_FILE).exists():
        config, prepared = open_clip.get_model_config(architecture), {}
    else:
        config = _family_config(folder)
        prepared = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")).get("preprocess_cfg") or {}
        _check_activation(folder, config)
    plain = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    normalisation = {name: tuple(map(float, prepared.get(name, value))) for name, value in plain.items()}
    try:
        with quietly(), torch.device("meta"):
            visual = open_clip.CustomTextCLIP(**config).visual
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder / CONFIG_FILE} does not describe an open_clip model ({str(error).splitlines()[0]}); restore the file."
        ) from error
    if outlining():
        return visual.eval().requires_grad_(False), normalisation
    path = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None) or weights_file(folder)
    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(prefix)]
            tensors = {name.removeprefix(prefix): file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({why_no_tensors(path, error)}); restore the file.") from error
    return put_weights(visual, tensors, f"an image tower below {prefix!r}", path).to(device), normalisation


# By what open_clip builds CLIP's own from: a quarter of a second each, and every folder without a tokenizer has the same.
_own_tokenizers = {}


def _tokenizer(source, text):
    """The tokenizer of a folder whose ``text_cfg`` is `text`."""
    import open_clip

    if text.get("hf_tokenizer_name"):
        return open_clip.get_tokenizer(source)
    built_from = json.dumps([text.get("context_length"), text.get("tokenizer_kwargs")], sort_keys=True)
    if built_from not in _own_tokenizers:
        _own_tokenizers[built_from] = open_clip.get_tokenizer(source)
    return _own_tokenizers[built_from]


def write_config(folder, architecture):
    """Write the configuration of one of open_clip's own models beside weights that came without one.

    Parameters
    ----------
    folder : path-like
        Holds the weights, `WEIGHT_FILES`.
    architecture : str
        open_clip's name: ``ViT-L-14-quickgelu`` for OpenAI's weights, ``ViT-H-14`` or ``ViT-bigG-14`` for LAION's.
        Pictures are prepared as those models were trained; names of other families are refused by `load_open_clip`.

    Raises
    ------
    InputError
        open_clip knows no such name, or the folder has a configuration already.
    """
    import open_clip

    path = Path(folder) / CONFIG_FILE
    config = open_clip.get_model_config(architecture)
    if config is None:
        near = ", ".join(difflib.get_close_matches(architecture, open_clip.list_models())) or "ViT-L-14-quickgelu"
        raise InputError(f"open_clip has no model {architecture!r}; close names are {near}. Choose one of its own.")
    if path.exists():
        raise InputError(f"{path} exists, and it decides what is built; remove it to write one for {architecture}.")
    preprocessing = {
        "mean": list(open_clip.OPENAI_DATASET_MEAN),
        "std": list(open_clip.OPENAI_DATASET_STD),
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    write_text(path, json.dumps({"model_cfg": config, "preprocess_cfg": preprocessing}, indent=1) + "\n")


def _family_config(folder):
    """The ``model_cfg``; refuses what open_clip could load but whose tokens are not CLIP's, and what it would fetch."""
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["model_cfg"]
        vision, text = config["vision_cfg"], config["text_cfg"]
    except FileNotFoundError:
        raise CheckpointError(f"{folder} has no {CONFIG_FILE}; name the folder of an open_clip model.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder / CONFIG_FILE} is no open_clip configuration ({error!r}); restore the file."
        ) from None
    foreign = [
        f"{key} = {section[key]!r}"
        for section, key, plain in (
            (vision, "timm_model_name", (None,)),
            (vision, "attentional_pool", (False,)),
            (vision, "pool_type", ("tok",)),
            (text, "hf_model_name", (None,)),
            (text, "embed_cls", (False,)),
            (text, "pool_type", ("argmax", "eos")),
            (text, "proj_type", ("linear",)),
        )
        if section.get(key, plain[0]) not in plain
    ]
    if isinstance(vision.get("layers"), list):
        foreign.append("a ResNet")
    if foreign:
        raise CheckpointError(
            f"{folder} is an open_clip model with {', '.join(foreign)}; expected a vision transformer with a class "
            "token and a text transformer pooled at its end token, such as ViT-L-14. Choose such a checkpoint."
        )
    return config


def _check_activation(folder, config):
    """Refuse a folder that says that it holds OpenAI's weights but asks for another activation than OpenAI's."""
    if config.get("quick_gelu", False):
        return
    entries = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    said = [f"pretrained = {entries['pretrained']!r}"] if entries.get("pretrained") == "openai" else []
    said += [path.name for path in sorted(folder.glob("*.pt")) if is_torchscript(path)]
    if said:
        raise CheckpointError(
            f"{folder} holds OpenAI's weights by its own account ({', '.join(said)}) but {CONFIG_FILE} does not set "
            "quick_gelu, so that another activation would be computed; set model_cfg.quick_gelu to true there."
        )


def _check_positions(folder, config):
    """Refuse position embeddings of another length: open_clip would resample them without a word."""
    path = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if path is None:
        raise CheckpointError(
            f"{folder} has no {WEIGHT_FILES[0]}; put the model's safetensors file there (no other format is read)."
        )
    vision, text = config["vision_cfg"], config["text_cfg"]
    size, patch = (_pair(vision.get(key, default)) for key, default in (("image_size", 224), ("patch_size", 16)))
    patches = (size[0] // patch[0]) * (size[1] // patch[1])
    expected = {
        "visual.positional_embedding": patches + 1,
        "positional_embedding": text.get("context_length", 77),
        "text.positional_embedding": text.get("context_length", 77),
    }
    try:
        with safe_open(path, framework="pt") as file:
            found = {key: file.get_slice(key).get_shape()[0] for key in file.keys() if key in expected}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({why_no_tensors(path, error)}); restore the file.") from error
    for key, length in found.items():
        if length != expected[key]:
            raise CheckpointError(
                f"{path} has {length} positions in {key} but {CONFIG_FILE} asks for {expected[key]}; "
                "restore the two files that belong together."
            )


def _pair(value):
    return tuple(value) if isinstance(value, (list, tuple)) else (value, value)
