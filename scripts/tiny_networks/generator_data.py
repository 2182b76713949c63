"""What the generator learns from: every picture of the pool as latents and tokens, encoded once and kept on disk."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from stages.checkpoints.strict_loading import load_strictly
from stages.targets.clip import CLIPImageTokens, CLIPTextTokens
from tiny_networks import autoencoder, clip
from tiny_networks.pool import load_pool
from weights.whole_files import whole_file

MID_GREY = 127
_CHUNK = 1000


class EncodedPool:
    """A pool's latents and tokens, in the order of the pool.

    Attributes
    ----------
    latents : array of shape (n_pictures, channels, size, size), float16
        Posterior means of the autoencoder times its scaling factor.
    image_tokens : array of shape (n_pictures, image_tokens, width), float16
        Of the pictures under another light than that of the latents, for training; of the pictures themselves,
        where they are held out.
    caption_tokens : array of shape (n_captions, text_tokens, width), float16
        One entry per different caption.
    captions_of : array of shape (n_pictures, 5), int32
        Rows of `caption_tokens`.
    unconditional_image : array of shape (image_tokens, width), float16
        Encoding of a mid-grey picture.
    unconditional_text : array of shape (text_tokens, width), float16
        Encoding of the empty caption.
    """

    ARRAYS = (
        "latents",
        "image_tokens",
        "caption_tokens",
        "captions_of",
        "unconditional_image",
        "unconditional_text",
    )

    def __init__(self, folder):
        for name in self.ARRAYS:
            setattr(self, name, np.load(Path(folder) / f"{name}.npy", mmap_mode="r", allow_pickle=False))

    @classmethod
    def complete(cls, folder):
        """Whether all arrays are there."""
        return all((Path(folder) / f"{name}.npy").exists() for name in cls.ARRAYS)

    def __len__(self):
        return len(self.latents)

    def text_tokens(self, rows, weights=None):
        """Mean of the caption tokens of some pictures: float32 (len(rows), text_tokens, width).

        `weights`, of shape (len(rows), 5), may leave captions out; all five count alike by default.
        """
        tokens = self.caption_tokens[self.captions_of[rows]].astype(np.float32)
        if weights is None:
            return tokens.mean(axis=1)
        return np.einsum("rctw,rc->rtw", tokens, weights / weights.sum(axis=1, keepdims=True))


def encoders(workspace):
    """Folder with the workspace's own autoencoder (``vae/``) and CLIP (``clip/``), as they would be exported.

    They are written once, so that the generator keeps learning from the same encodings.
    """
    folder = Path(workspace) / "generator" / "encoders"
    if not (folder / "vae" / "card.md").exists():
        autoencoder.export(workspace, folder)
    if not (folder / "clip" / "card.md").exists():
        clip.export(workspace, folder / "clip")
    return folder


def encode_pool(workspace, *, held_out=False, pictures=None):
    """Encode a pool with the workspace's own networks, or open what was encoded.

    Parameters
    ----------
    workspace : path-like
    held_out : bool
        The pictures for judging instead of those for training.
    pictures : int, optional
        Only so many from the start of the pool.

    Returns
    -------
    EncodedPool
    """
    folder = Path(workspace) / "generator" / ("encoded_held_out" if held_out else "encoded")
    folder.mkdir(parents=True, exist_ok=True)
    pool = load_pool(workspace, held_out=held_out)
    pictures = min(pictures or len(pool), len(pool))
    if EncodedPool.complete(folder) and len(EncodedPool(folder)) >= pictures:
        return EncodedPool(folder)

    source = encoders(workspace)
    images = pool.images[:pictures]
    image_target = CLIPImageTokens.from_pretrained(source / "clip")
    text_target = CLIPTextTokens.from_pretrained(source / "clip")
    vae = load_strictly(AutoencoderKL, source / "vae")

    captions, captions_of = different_captions(pool.captions[:pictures])
    write_array(folder, "captions_of", captions_of)
    grey = np.full((1, *images.shape[1:]), MID_GREY, np.uint8)
    write_array(folder, "unconditional_image", _tokens(image_target, grey)[0])
    write_array(folder, "unconditional_text", _empty_caption(text_target))
    write_array(folder, "latents", in_chunks("latents", images, lambda part: latents_of(vae, part)))
    # The generator learns to take no light and shade from the tokens: it belongs to layout, which is stage one's.
    seen = images if held_out else pool.relit[:pictures]
    write_array(folder, "image_tokens", in_chunks("image tokens", seen, lambda part: _tokens(image_target, part)))
    write_array(
        folder,
        "caption_tokens",
        in_chunks("caption tokens", captions, lambda part: _tokens(text_target, [[caption] for caption in part])),
    )
    return EncodedPool(folder)


def different_captions(captions):
    """List different captions once: the list, and the rows in it of each picture's captions, int32."""
    different = sorted({caption for each in captions for caption in each})
    rows = {caption: row for row, caption in enumerate(different)}
    return different, np.array([[rows[caption] for caption in each] for each in captions], np.int32)


@torch.inference_mode()
def latents_of(vae, images):
    """Posterior means of uint8 pictures (n, height, width, 3), at the scale that the UNet sees, float32."""
    latents = vae.encode(autoencoder.to_network(torch.from_numpy(images))).latent_dist.mode()
    return (latents * vae.config.scaling_factor).numpy()


def _tokens(target, items):
    return target.encode(items).reshape(len(items), *target.shape)


@torch.inference_mode()
def _empty_caption(target):
    # `encode` leaves empty captions out, rightly; here one is what is wanted.
    pooled, tokens = target._text_tokens([""])
    return (tokens[0] / pooled[0].norm()).numpy()


def in_chunks(label, items, encode):
    """Encode many items, some at a time, told line by line: float16."""
    parts = []
    for start in range(0, len(items), _CHUNK):
        parts.append(encode(items[start : start + _CHUNK]).astype(np.float16))
        print(f"generator: {label} {min(start + _CHUNK, len(items)):,} of {len(items):,}", flush=True)
    return np.concatenate(parts)


def write_array(folder, name, array):
    """Write one array of an `EncodedPool`, in float16 unless it holds rows."""
    array = array if array.dtype == np.int32 else array.astype(np.float16)
    with whole_file(folder / f"{name}.npy") as partial:
        np.save(partial, array)
