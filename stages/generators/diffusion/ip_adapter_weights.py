"""The weights of an IP-Adapter, every tensor accounted for, put into a UNet.

Ye and others, 2023: each cross-attention layer gets a second pair of key and value matrices, which read four tokens
projected from a picture's pooled CLIP embedding; what they attend to is added, times the adapter's scale.
"""

import itertools
import logging

import torch

from stages.checkpoints.ip_adapter_file import grouped, read_ip_adapter
from stages.checkpoints.strict_loading import check_tensors
from stages.networks.ip_resampler import resampler_sizes, resampler_tensors
from weights.manifest import CheckpointError


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
    path, stored = read_ip_adapter(path)
    projection = stored.get("image_proj.proj.weight")
    if projection is None or projection.ndim != 2:
        shown = ", ".join(sorted(name for name in stored if name.startswith("image_proj."))[:3]) or "none of image_proj"
        raise CheckpointError(
            f"{path} has no image_proj.proj.weight ({shown}), so it is no IP-Adapter that reads one pooled image "
            "embedding; expected one such as ip-adapter_sd15 or ip-adapter_sdxl, not a plus or face one."
        )
    check_tensors("an IP-Adapter of the UNet", path, stored, ip_adapter_tensors(unet, projection.shape[1]))
    put_into(unet, stored)
    return projection.shape[1]


def load_ip_adapter_plus(unet, path):
    """Put an IP-Adapter-Plus into a UNet, and take its resampler off, so that the UNet reads tokens that went through one.

    Parameters
    ----------
    unet : diffusers.UNet2DConditionModel
        Changed: its cross-attention reads ``added_cond_kwargs["image_embeds"]``, a list of one tensor (n, 1, n_tokens, width), as
        it is.
    path : path
        As `load_ip_adapter` takes it.

    Returns
    -------
    resampler : diffusers.models.embeddings.IPAdapterPlusImageProjection
        What turns the hidden states of an image encoder into the tokens.

    Raises
    ------
    CheckpointError
        As `load_ip_adapter`; or the adapter is one of another kind.
    """
    path, stored = read_ip_adapter(path)
    sizes = resampler_sizes(stored, path)
    expected = {f"image_proj.{name}": each for name, each in resampler_tensors(*sizes).items()}
    width = unet.config.cross_attention_dim
    if sizes.width != width:
        raise CheckpointError(
            f"{path} makes tokens of {sizes.width} values but the UNet reads {width}; give an adapter of this Stable Diffusion."
        )
    check_tensors("an IP-Adapter-Plus of the UNet", path, stored, expected | attention_tensors(unet))
    put_into(unet, stored)
    (resampler,) = unet.encoder_hid_proj.image_projection_layers
    unet.encoder_hid_proj = torch.nn.Identity()
    return resampler.eval().requires_grad_(False)


def put_into(unet, stored):
    """Do what diffusers' ``load_ip_adapter`` does once the file is read; that one also adds a feature extractor."""
    # At its end it casts the UNet to the type that it has, and warns that it has been told to keep no module in float32.
    logger = logging.getLogger("diffusers.models.modeling_utils")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        unet._load_ip_adapter_weights([grouped(stored)], low_cpu_mem_usage=False)
    finally:
        logger.disabled = was_disabled
    unet.eval()


def ip_adapter_tensors(unet, embed_dim):
    """Return name -> tensor on the meta device, for every tensor that an IP-Adapter for a UNet holds."""
    width = unet.config.cross_attention_dim
    shapes = {"proj.weight": (4 * width, embed_dim), "proj.bias": (4 * width,), "norm.weight": (width,)}
    expected = {f"image_proj.{name}": shape for name, shape in (shapes | {"norm.bias": (width,)}).items()}
    return {name: torch.empty(shape, device="meta") for name, shape in expected.items()} | attention_tensors(unet)


def attention_tensors(unet):
    """Return name -> tensor on the meta device, for the matrices that an IP-Adapter of any kind holds for a UNet's attention."""
    width, expected = unet.config.cross_attention_dim, {}
    # Layers are counted in the UNet's order, self-attention included, which has no matrices of the adapter's.
    numbers = itertools.count(1, 2)
    for name in unet.attn_processors:
        if not name.endswith("attn1.processor"):
            number, attention = next(numbers), unet.get_submodule(name.removesuffix(".processor"))
            for matrix in ("k", "v"):
                shape = (attention.to_k.out_features, width)
                expected[f"ip_adapter.{number}.to_{matrix}_ip.weight"] = shape
    return {name: torch.empty(shape, device="meta") for name, shape in expected.items()}
