"""What the embedded Stable Diffusion learns from: pictures as latents, captions as states of its own text encoder."""

from pathlib import Path

import numpy as np
import torch

from stages.networks.latent_space import load_autoencoder
from stages.targets.diffusion_text import DiffusionTextTokens
from tiny_networks.generator_data import EncodedPool, different_captions, in_chunks, latents_of, write_array
from tiny_networks.pool import load_pool
from tiny_networks.stable_diffusion_text import write_text_half
from weights import store

PICTURES = 8000  # of the pool's 40,000: states of all captions would fill gigabytes


class CaptionedLatents(EncodedPool):
    """An `EncodedPool` without image tokens, whose text tokens are states of the text encoder, 24 x 128."""

    ARRAYS = ("latents", "caption_tokens", "captions_of", "unconditional_text")


def text_half(workspace):
    """Folder with the text encoder and the tokenizer, written from the CLIP of weights/tiny."""
    folder = Path(workspace) / "stable-diffusion" / "text"
    if not (folder / "tokenizer" / "tokenizer_config.json").exists():
        write_text_half(store.path("tiny-clip"), folder)
    return folder


def encode_captioned(workspace, *, held_out=False, pictures=PICTURES):
    """Encode the first pictures of a pool with the networks of weights/tiny, or open what was encoded.

    Parameters
    ----------
    workspace : path-like
    held_out : bool
        The pictures for judging instead of those for training.
    pictures : int
        At most so many.

    Returns
    -------
    CaptionedLatents
    """
    folder = Path(workspace) / "stable-diffusion" / ("encoded_held_out" if held_out else "encoded")
    folder.mkdir(parents=True, exist_ok=True)
    pool = load_pool(workspace, held_out=held_out)
    pictures = min(pictures, len(pool))
    if CaptionedLatents.complete(folder) and len(CaptionedLatents(folder)) >= pictures:
        return CaptionedLatents(folder)
    vae = load_autoencoder(store.path("tiny-generator"), torch.float32)
    text = DiffusionTextTokens.from_pretrained(text_half(workspace))

    def states(captions):
        return text.encode([[caption] for caption in captions]).reshape(-1, *text.token_shape)

    captions, captions_of = different_captions(pool.captions[:pictures])
    write_array(folder, "captions_of", captions_of)
    with torch.no_grad():
        # `encode` leaves empty captions out, rightly; here one is what is wanted.
        write_array(folder, "unconditional_text", text._encode([""]).reshape(text.token_shape).numpy())
    write_array(folder, "caption_tokens", in_chunks("captions", captions, states))
    images = pool.images[:pictures]
    write_array(folder, "latents", in_chunks("latents", images, lambda part: latents_of(vae, np.array(part))))
    return CaptionedLatents(folder)
