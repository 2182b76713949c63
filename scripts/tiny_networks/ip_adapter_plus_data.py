"""What the embedded IP-Adapter-Plus learns from: pictures as latents, and as hidden states of tiny-clip."""

from pathlib import Path

import numpy as np
import torch

from stages.networks.ip_resampler import hidden_states
from stages.networks.latent_space import load_autoencoder
from stages.targets.clip import CLIPImageVector
from stages.targets.diffusion_text import DiffusionTextTokens
from tiny_networks.generator_data import EncodedPool, in_chunks, latents_of, write_array
from tiny_networks.pool import load_pool
from weights import store

PICTURES = 6000


class StatesAndLatents(EncodedPool):
    """An `EncodedPool` of hidden states before the image tower's last block, 65 x 128."""

    ARRAYS = ("latents", "states", "states_of_nothing", "unconditional_text")


def encode_states(workspace, pictures=PICTURES):
    """Encode the first pictures of a pool with the networks of weights/tiny, or open what was encoded.

    Parameters
    ----------
    workspace : path-like
    pictures : int
        At most so many.

    Returns
    -------
    StatesAndLatents
    """
    folder = Path(workspace) / "ip-adapter-plus" / "encoded"
    folder.mkdir(parents=True, exist_ok=True)
    pool = load_pool(workspace)
    pictures = min(pictures, len(pool))
    if StatesAndLatents.complete(folder) and len(StatesAndLatents(folder)) >= pictures:
        return StatesAndLatents(folder)
    vae = load_autoencoder(store.path("tiny-generator"), torch.float32)
    text = DiffusionTextTokens.from_pretrained(store.path("tiny-stable-diffusion"))
    clip = CLIPImageVector.from_pretrained(store.path("tiny-clip"))
    visual = clip.model.visual
    with torch.no_grad():
        nothing = hidden_states(visual, torch.zeros(1, 3, *visual.image_size))[0]
        write_array(folder, "states_of_nothing", nothing.numpy())
        write_array(folder, "unconditional_text", text._encode([""]).reshape(text.token_shape).numpy())
    images = pool.images[:pictures]

    @torch.no_grad()
    def states(part):
        return hidden_states(visual, clip._prepared(np.array(part))).numpy()

    write_array(folder, "states", in_chunks("states", images, states))
    write_array(folder, "latents", in_chunks("latents", images, lambda part: latents_of(vae, np.array(part))))
    return StatesAndLatents(folder)
