"""The weights of an IP-Adapter, every tensor accounted for, put into a UNet.

Ye and others, 2023: each cross-attention layer gets a second pair of key and value matrices, which read four tokens
projected from a picture's pooled CLIP embedding; what they attend to is added, times the adapter's scale.
"""

import itertools
import logging
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from stages.checkpoints.strict_loading import check_tensors
from weights.contents import why_no_tensors
from weights.manifest import CheckpointError

SUFFIXES = (".safetensors", ".bin")


def load_ip_adapter(unet, path):
    """Put an IP-Adapter into a UNet.

    Parameters
    ----------
    unet : diffusers.UNet2DConditionModel
        Changed: its cross-attention reads a picture's tokens too.
    path : path
        A ``.safetensors`` or ``.bin`` file (read weights-only), or a folder that holds one such file, or one of
        each, of which the safetensors file is read. Nothing is looked for elsewhere.

    Returns
    -------
    embed_dim : int
        Length of the pooled image embeddings that the adapter reads.

    Raises
    ------
    CheckpointError
        There is no such file, or several; it is damaged; it is an adapter of another kind (those for tokens or for
        faces), or for another UNet: tensors are missing, unexpected or misshapen. The message names them.
    """
    path = _file(Path(path))
    stored = _read(path)
    projection = stored.get("image_proj.proj.weight")
    if projection is None or projection.ndim != 2:
        shown = ", ".join(sorted(name for name in stored if name.startswith("image_proj."))[:3]) or "none of image_proj"
        raise CheckpointError(
            f"{path} has no image_proj.proj.weight ({shown}), so it is no IP-Adapter that reads one pooled image "
            "embedding; expected one such as ip-adapter_sd15 or ip-adapter_sdxl, not a plus or face one."
        )
    check_tensors("an IP-Adapter of the UNet", path, stored, ip_adapter_tensors(unet, projection.shape[1]))
    state = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in stored.items():
        part, rest = name.split(".", 1)
        state[part][rest] = tensor
    # What diffusers' load_ip_adapter does once the file is read; that one also adds a feature extractor. At its end it
    # casts the UNet to the type that it has, and warns that it has been told to keep no module in float32.
    logger = logging.getLogger("diffusers.models.modeling_utils")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        unet._load_ip_adapter_weights([state], low_cpu_mem_usage=False)
    finally:
        logger.disabled = was_disabled
    unet.eval()
    return projection.shape[1]


def ip_adapter_tensors(unet, embed_dim):
    """Return name -> tensor on the meta device, for every tensor that an IP-Adapter for a UNet holds."""
    width = unet.config.cross_attention_dim
    shapes = {"proj.weight": (4 * width, embed_dim), "proj.bias": (4 * width,), "norm.weight": (width,)}
    expected = {f"image_proj.{name}": shape for name, shape in (shapes | {"norm.bias": (width,)}).items()}
    # Layers are counted in the UNet's order, self-attention included, which has no matrices of the adapter's.
    numbers = itertools.count(1, 2)
    for name in unet.attn_processors:
        if not name.endswith("attn1.processor"):
            number, attention = next(numbers), unet.get_submodule(name.removesuffix(".processor"))
            for matrix in ("k", "v"):
                shape = (attention.to_k.out_features, width)
                expected[f"ip_adapter.{number}.to_{matrix}_ip.weight"] = shape
    return {name: torch.empty(shape, device="meta") for name, shape in expected.items()}


def _file(path):
    if not path.is_dir():
        if not path.is_file() or path.suffix not in SUFFIXES:
            raise CheckpointError(
                f"{path} is no file that ends in {' or '.join(SUFFIXES)} and no folder, but an IP-Adapter's weights "
                "were expected; give ip-adapter_sd15.safetensors, or the folder that holds it."
            )
        return path
    for suffix in SUFFIXES:
        # A network of its own, such as the image encoder that lies in the published folder, has its configuration beside it.
        files = sorted(file for file in path.rglob(f"*{suffix}") if not (file.parent / "config.json").exists())
        if len(files) == 1:
            return files[0]
        if files:
            names = ", ".join(file.name for file in files[:4])
            raise CheckpointError(
                f"{path} holds {len(files)} files that may be an IP-Adapter ({names}), but one was expected; give the "
                "path of the one to be used."
            )
    raise CheckpointError(
        f"{path} holds no file that ends in {' or '.join(SUFFIXES)}, but an IP-Adapter's weights were expected; give "
        "the folder of ip-adapter_sd15.safetensors."
    )


def _read(path):
    """Return name -> tensor, with names that begin with ``image_proj.`` or ``ip_adapter.``."""
    if path.suffix == ".safetensors":
        try:
            stored = load_file(path)
        except SafetensorError as error:
            raise CheckpointError(
                f"{path} is damaged ({why_no_tensors(path, error)}); fetch the IP-Adapter again."
            ) from None
    else:
        stored = _read_weights_only(path)
    strange = sorted(name for name in stored if not name.startswith(("image_proj.", "ip_adapter.")))
    if strange:
        raise CheckpointError(
            f"{path} holds {strange[0]}, but names of image_proj and ip_adapter were expected; give the weights of an "
            "IP-Adapter."
        )
    return stored


def _read_weights_only(path):
    try:
        parts = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError) as error:
        told = why_no_tensors(path, error)
        raise CheckpointError(
            f"{path} is damaged or holds more than tensors ({told}); expected weights alone; fetch the safetensors "
            "file of the IP-Adapter."
        ) from None
    if not isinstance(parts, dict) or not all(isinstance(part, dict) for part in parts.values()):
        raise CheckpointError(
            f"{path} holds no groups of tensors, but image_proj and ip_adapter were expected; give the weights of an "
            "IP-Adapter."
        )
    stored = {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}
    for name, tensor in stored.items():
        if not isinstance(tensor, torch.Tensor):
            raise CheckpointError(
                f"{path} holds a {type(tensor).__name__} for {name}, but a tensor was expected; fetch the IP-Adapter "
                "again."
            )
    return stored
