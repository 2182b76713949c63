"""What the embedded SDXL unCLIP learns from: pictures as latents and as the tokens that it draws from."""

from pathlib import Path

import numpy as np
import torch

from stages.networks.latent_space import load_autoencoder
from stages.targets.clip import CLIPImageTokens
from stages.targets.unclip_tokens import UnclipTokens
from tiny_networks.generator_data import EncodedPool, in_chunks, latents_of, write_array
from tiny_networks.pool import load_pool
from weights import store

PICTURES = 8_000  # of the pool's 40,000: each has 8,192 values


class PatchedLatents(EncodedPool):
    """An `EncodedPool` of latents and patch tokens, without captions."""

    ARRAYS = ("latents", "image_tokens")


def encode_patches(workspace, *, held_out=False, pictures=PICTURES):
    """Encode the first pictures of a pool with the networks of weights/tiny, or open what was encoded.

    Parameters
    ----------
    workspace : path-like
    held_out : bool
        The pictures for judging instead of those for training, whose tokens are of the pictures under another light.
    pictures : int
        At most so many.

    Returns
    -------
    PatchedLatents
    """
    folder = Path(workspace) / "unclip-xl" / ("encoded_held_out" if held_out else "encoded")
    folder.mkdir(parents=True, exist_ok=True)
    pool = load_pool(workspace, held_out=held_out)
    pictures = min(pictures, len(pool))
    if PatchedLatents.complete(folder) and len(PatchedLatents(folder)) >= pictures:
        return PatchedLatents(folder)
    vae = load_autoencoder(store.path("tiny-generator"), torch.float32)
    target = UnclipTokens.from_pretrained(store.path("tiny-clip"))

    def tokens(part):
        return target.encode(np.array(part), batch_size=50).reshape(len(part), *target.shape)

    write_array(
        folder, "latents", in_chunks("latents", pool.images[:pictures], lambda part: latents_of(vae, np.array(part)))
    )
    seen = (pool.images if held_out else pool.relit)[:pictures]
    write_array(folder, "image_tokens", in_chunks("patch tokens", seen, tokens))
    return PatchedLatents(folder)


def read_by_both(workspace, n=600):
    """The first pictures of the pool as the new network and as the embedded generator read them: two float32 arrays."""
    images = np.array(load_pool(workspace).images[:n])
    ends = UnclipTokens, CLIPImageTokens
    targets = [end.from_pretrained(store.path("tiny-clip")) for end in ends]
    return tuple(target.encode(images).reshape(len(images), *target.shape) for target in targets)
