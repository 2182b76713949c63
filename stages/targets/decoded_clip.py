"""CLIP's embedding of a picture as a latent diffusion model gives it back, without CLIP's own normalisation."""

from __future__ import annotations

import torch
from torch.nn.functional import interpolate

from stages.targets.clip import CLIPImageVector
from stages.targets.codebook_latents import CodebookLatents


class DecodedCLIPVector(CLIPImageVector):
    """The pooled embedding of the decoded latents of a picture, as CMVDM takes it (Zeng et al., AAAI 2024).

    The decoded picture has values in -1..1 and goes to CLIP as it is, its nearest pixels at CLIP's size: CLIP was trained on
    pictures less a mean and divided by a standard deviation, so that this is another embedding than that of the picture.

    >>> from weights import store
    >>> target = DecodedCLIPVector.from_pretrained(store.path("tiny-clip"), autoencoder=store.path("tiny-label2img"), size=64)
    >>> import numpy as np
    >>> target.encode(np.full((2, 64, 64, 3), 128, dtype=np.uint8)).shape
    (2, 64)

    Parameters
    ----------
    model, preprocess, tokenizer
        As for `stages.targets.open_clip_target.OpenCLIPTarget`.
    latents : stages.targets.codebook_latents.CodebookLatents
        Of the generator.
    """

    name = "decoded_clip_vector"

    def __init__(self, model, preprocess, tokenizer, latents):
        super().__init__(model, preprocess, tokenizer)
        self.latents = latents

    @classmethod
    def from_pretrained(cls, folder, device="cpu", *, autoencoder, size):
        """Load CLIP, and the autoencoder of a generator's folder for pictures of `size` pixels."""
        latents = CodebookLatents.from_pretrained(autoencoder, device=device, size=size)
        return super().from_pretrained(folder, device=device, latents=latents)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        return super().preprocessing | {"before": "latents and back, not normalised", "of": self.latents.preprocessing}

    def _encode(self, images):
        latents = torch.from_numpy(self.latents.encode(images)).view(-1, *self.latents.shape).to(self.device)
        side = self.model.visual.image_size
        side = side if isinstance(side, int) else side[0]
        pooled, _ = self.model.visual(
            interpolate(self.latents.space.decode(latents), size=(side, side), mode="nearest")
        )
        return pooled
