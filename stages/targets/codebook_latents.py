"""What latent diffusion on a codebook starts from: the latents of a picture before they are quantised, and back to a picture."""

from __future__ import annotations

import torch

from stages.networks.codebook_autoencoder import load_vq
from stages.networks.latent_space import CodebookLatentSpace
from stages.targets.autoencoder_latents import AutoencoderLatents


class CodebookLatents(AutoencoderLatents):
    """A picture's latents as one row of values, and back: the nearest code at every place is decoded.

    Of VQ-f4 (Rombach and others, 2022) a picture of 256 pixels is 3 x 64 x 64 values.

    >>> import numpy as np
    >>> from weights import store
    >>> target = CodebookLatents.from_pretrained(store.path("tiny-label2img"))
    >>> target.shape, target.encode(np.full((2, 64, 64, 3), 128, dtype=np.uint8)).shape
    ((3, 16, 16), (2, 768))

    Parameters and methods are those of `stages.targets.autoencoder_latents.AutoencoderLatents`; there is nothing to sample.
    """

    name = "codebook_latents"

    @classmethod
    def from_pretrained(cls, folder, device="cpu", **options):
        """Load the autoencoder of a generator's folder, `stages.networks.codebook_autoencoder.load_vq`.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        InputError
            An option has another value.
        """
        return cls(CodebookLatentSpace(load_vq(folder, torch.float32).to(device)), **options)
