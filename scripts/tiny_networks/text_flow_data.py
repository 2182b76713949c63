"""What the embedded text flow learns from: tokens of pictures and captions, and the latents of captions."""

from pathlib import Path

import numpy as np

from stages.targets.clip import CLIPImageTokens, CLIPTextTokens
from stages.targets.optimus import OptimusLatents
from tiny_networks.generator_data import EncodedPool, different_captions, in_chunks, write_array
from tiny_networks.pool import load_pool
from weights import store

PICTURES = 5000  # of the pool's 40,000: minutes of encoding


class CaptionedPictures(EncodedPool):
    """An `EncodedPool` without latents of pictures, whose unconditional contexts are the generator's."""

    ARRAYS = ("image_tokens", "caption_tokens", "captions_of")

    def __len__(self):
        return len(self.image_tokens)


def encode_contexts(workspace, *, held_out=False, pictures=PICTURES):
    """Encode the first pictures of a pool with the CLIP of weights/tiny, or open what was encoded.

    Parameters
    ----------
    workspace : path-like
    held_out : bool
        The pictures for judging instead of those for training, which are seen under another light.
    pictures : int
        At most so many.

    Returns
    -------
    CaptionedPictures
    """
    folder = Path(workspace) / "text_flow" / ("encoded_held_out" if held_out else "encoded")
    folder.mkdir(parents=True, exist_ok=True)
    pool = load_pool(workspace, held_out=held_out)
    pictures = min(pictures, len(pool))
    if CaptionedPictures.complete(folder) and len(CaptionedPictures(folder)) >= pictures:
        return CaptionedPictures(folder)
    clip = store.path("tiny-clip")
    image, text = CLIPImageTokens.from_pretrained(clip), CLIPTextTokens.from_pretrained(clip)

    def tokens(target, items):
        return target.encode(items).reshape(len(items), *target.shape)

    captions, captions_of = different_captions(pool.captions[:pictures])
    write_array(folder, "captions_of", captions_of)
    seen = (pool.images if held_out else pool.relit)[:pictures]
    write_array(folder, "image_tokens", in_chunks("image tokens", seen, lambda part: tokens(image, np.array(part))))
    read = in_chunks("caption tokens", captions, lambda part: tokens(text, [[caption] for caption in part]))
    write_array(folder, "caption_tokens", read)
    return CaptionedPictures(folder)


def latents_of(optimus, captions):
    """Latents (n, width) of captions, float32, by the Optimus in a folder."""
    target = OptimusLatents.from_pretrained(optimus)
    starts = range(0, len(captions), 500)
    return np.concatenate([target.encode([[one] for one in captions[start : start + 500]]) for start in starts])
