"""The resampler of an IP-Adapter-Plus: hidden states of CLIP's image tower in, the few tokens that Stable Diffusion reads out.

Ye and others, 2023. Learned queries look at the states and at each other in four blocks; the published ip-adapter-plus_sd15 makes
16 tokens of 768 values of the 257 states of OpenCLIP ViT-H/14 before its last block, 1280 values each.
"""

from contextlib import nullcontext
from typing import NamedTuple

import torch
from diffusers.loaders.unet import UNet2DConditionLoadersMixin

from stages.checkpoints.ip_adapter_file import grouped, read_ip_adapter
from stages.checkpoints.outlines import outlining
from stages.checkpoints.strict_loading import check_tensors
from stages.ground.errors import InputError
from weights.manifest import CheckpointError

# As diffusers builds every resampler that it reads from a file.
_DEPTH, _HEAD_WIDTH, _WIDENED = 4, 64, 4


class ResamplerSizes(NamedTuple):
    """What the tensors of a resampler tell; the published one has (16, 768, 768, 1280, 12).

    Attributes
    ----------
    n_tokens, width : int
        Of what it gives.
    hidden : int
        Width of its blocks.
    embed_dim : int
        Width of the states that it reads.
    n_heads : int
        Of 64 values each.
    """

    n_tokens: int
    width: int
    hidden: int
    embed_dim: int
    n_heads: int


def resampler_sizes(stored, path):
    """Sizes of the resampler in the tensors of an IP-Adapter-Plus.

    Raises
    ------
    CheckpointError
        They hold another kind of projection.
    """
    names = ("latents", "proj_in.weight", "proj_out.weight", "layers.0.0.to_q.weight")
    found = [stored.get(f"image_proj.{name}") for name in names]
    whole = all(tensor is not None and tensor.ndim == ndim for tensor, ndim in zip(found, (3, 2, 2, 2)))
    if not whole or found[3].shape[0] % _HEAD_WIDTH:
        shown = ", ".join(sorted(name for name in stored if name.startswith("image_proj."))[:3]) or "none of image_proj"
        raise CheckpointError(
            f"{path} has no resampler of hidden states ({shown}), so it is no IP-Adapter-Plus; expected one such as "
            "ip-adapter-plus_sd15, not one that reads a pooled embedding or faces."
        )
    latents, proj_in, proj_out, to_q = found
    return ResamplerSizes(
        latents.shape[1], proj_out.shape[0], latents.shape[2], proj_in.shape[1], to_q.shape[0] // _HEAD_WIDTH
    )


def resampler_tensors(n_tokens=16, width=768, hidden=768, embed_dim=1280, n_heads=12):
    """Return name -> tensor on the meta device, by the names of the published files.

    >>> sum(each.numel() for each in resampler_tensors().values())
    29918208

    Parameters
    ----------
    n_tokens, width, hidden, embed_dim, n_heads : int
        See `ResamplerSizes`.
    """
    inner, wide = n_heads * _HEAD_WIDTH, hidden * _WIDENED
    shapes = {
        "latents": (1, n_tokens, hidden),
        **{"proj_in.weight": (hidden, embed_dim), "proj_in.bias": (hidden,)},
        **{"proj_out.weight": (width, hidden), "proj_out.bias": (width,)},
        **{"norm_out.weight": (width,), "norm_out.bias": (width,)},
    }
    for place in range(_DEPTH):
        block = {f"0.{norm}.{what}": (hidden,) for norm in ("norm1", "norm2") for what in ("weight", "bias")}
        block |= {"0.to_q.weight": (inner, hidden), "0.to_kv.weight": (2 * inner, hidden)}
        block |= {"0.to_out.weight": (hidden, inner), "1.0.weight": (hidden,), "1.0.bias": (hidden,)}
        block |= {"1.1.weight": (wide, hidden), "1.3.weight": (hidden, wide)}
        shapes |= {f"layers.{place}.{name}": shape for name, shape in block.items()}
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def load_resampler(path):
    """Load the resampler of an IP-Adapter-Plus, as diffusers itself builds it.

    Parameters
    ----------
    path : path
        As `stages.checkpoints.ip_adapter_file.read_ip_adapter` takes it.

    Returns
    -------
    resampler : diffusers.models.embeddings.IPAdapterPlusImageProjection
        In evaluation mode, float32, on the CPU; in outline within `stages.checkpoints.outlines.outlines`.

    Raises
    ------
    CheckpointError
        There is no such file, it is damaged, or an adapter of another kind; tensors are missing, unexpected or misshapen.
    """
    path, stored = read_ip_adapter(path)
    expected = resampler_tensors(*resampler_sizes(stored, path))
    own = grouped(stored)["image_proj"]
    check_tensors("the resampler of an IP-Adapter-Plus", path, own, expected)
    with torch.device("meta") if outlining() else nullcontext():
        # Its names are diffusers' own for these tensors, whichever UNet they are read for.
        found = UNet2DConditionLoadersMixin()._convert_ip_adapter_image_proj_to_diffusers(own, low_cpu_mem_usage=False)
    return found.float().eval().requires_grad_(False)


def hidden_states(visual, prepared):
    """States of an image tower before its last block: those that transformers calls ``hidden_states[-2]``.

    Parameters
    ----------
    visual : open_clip.transformer.VisionTransformer
    prepared : float tensor of shape (n, 3, height, width)
        Pictures as the tower takes them.

    Returns
    -------
    states : tensor of shape (n, 1 + n_patches, width)
        The class token first; neither normalised nor projected.

    Raises
    ------
    InputError
        The tower has one block, before which there is none.
    """
    before_last = len(visual.transformer.resblocks) - 2
    if before_last < 0:
        raise InputError(
            "The image encoder has 1 block but its states before the last one are read; expected 2 blocks or more: give the "
            "encoder that the adapter was trained with."
        )
    found = visual.forward_intermediates(
        prepared,
        indices=[before_last],
        stop_early=True,
        intermediates_only=True,
        output_fmt="NLC",
        output_extra_tokens=True,
    )
    (patches,), (extra,) = found["image_intermediates"], found["image_intermediates_prefix"]
    return torch.cat([extra, patches], dim=1)


@torch.inference_mode()
def tokens_of_nothing(visual, resampler):
    """Tokens that guidance's unconditional rows read: of a picture that is 0 everywhere once it is normalised.

    So IP-Adapter-Plus was trained. They are far from 0 themselves.

    Returns
    -------
    tokens : float32 tensor of shape (n_tokens, width)
    """
    some = next(visual.parameters())
    nothing = torch.zeros(1, 3, *visual.image_size, device=some.device, dtype=some.dtype)
    return resampler(hidden_states(visual, nothing))[0].float()
