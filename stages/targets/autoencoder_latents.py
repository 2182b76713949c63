"""What a latent diffusion model starts from: the latents of a picture in its autoencoder, and back to a picture.

Stable Diffusion 1.x keeps a picture of 320 pixels in 4 x 40 x 40 values, 512 pixels in 4 x 64 x 64, at the scale that its UNet
sees. Any ``vae/`` folder of an AutoencoderKL in diffusers' layout will do.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image

from stages.ground.checks import OneOf, check, uint8_pictures
from stages.ground.errors import InputError
from stages.ground.item_seeds import named_generator
from stages.ground.pictures import check_levels
from stages.networks.latent_space import LatentSpace, load_autoencoder, to_greys, to_pixels

INTERPOLATIONS = ("lanczos", "bicubic", "bilinear")
POSTERIORS = ("mean", "sample")
GREYS = ("rounded", "cut off")


class AutoencoderLatents:
    """A picture's latents as one row of values, and back.

    >>> target = AutoencoderLatents.from_pretrained(folder, size=320, posterior="sample")  # doctest: +SKIP
    >>> target.encode(pictures).shape, target.decode(target.encode(pictures)).shape  # doctest: +SKIP
    ((5, 6400), (5, 320, 320, 3))

    A row is flattened from (channels, height, width), the last axis fastest.

    Parameters
    ----------
    space : stages.networks.latent_space.LatentSpace
    size : int, optional
        Side of the pictures in pixels, a multiple of the autoencoder's downscaling; others are resized to it. By default that
        of its configuration.
    posterior : {"mean", "sample"}
        What of the posterior the latents are. A picture's sample depends on `sample_seed` and on its pixels at `size`, not on
        the batch or the order.
    sample_seed : int
    interpolation : {"lanczos", "bicubic", "bilinear"}
        How pictures are resized: Pillow's filters on 8-bit pixels.
    greys : {"rounded", "cut off"}
        How decoded pictures become 8 bit: to the nearest grey level, or to the one below.
    """

    name = "autoencoder_latents"
    takes = "images"

    def __init__(self, space, size=None, posterior="mean", sample_seed=0, interpolation="lanczos", greys="rounded"):
        self.space, self.sample_seed = space, sample_seed
        self.size = space.network.config.sample_size if size is None else size
        self.posterior = check("posterior", posterior, OneOf(*POSTERIORS))
        self.interpolation = check("interpolation", interpolation, OneOf(*INTERPOLATIONS))
        self.greys = check("greys", greys, OneOf(*GREYS))
        if self.size < 1 or self.size % space.downscaling:
            raise InputError(
                f"size is {self.size} pixels but the autoencoder makes pictures {space.downscaling} times smaller; pass a "
                f"multiple of {space.downscaling}."
            )

    @classmethod
    def from_pretrained(cls, folder, device="cpu", **options):
        """Load the ``vae/`` of a generator's folder, computed in float32; `options` as of the class.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        InputError
            An option has another value.
        """
        return cls(LatentSpace(load_autoencoder(folder, torch.float32).to(device)), **options)

    @property
    def shape(self):
        """(channels, height, width), (4, 40, 40) for Stable Diffusion at 320 pixels."""
        side = self.size // self.space.downscaling
        return (self.space.network.config.latent_channels, side, side)

    @property
    def n_targets(self):
        """Values per picture."""
        return math.prod(self.shape)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        sampled = self.posterior == "sample"
        return {
            "resize": [self.size, self.size],
            "interpolation": f"{self.interpolation}, 8 bit",
            "latents": f"posterior sample, seed {self.sample_seed}" if sampled else "posterior mean",
        }

    @torch.inference_mode()
    def encode(self, items, batch_size=32):
        """Encode pictures.

        Parameters
        ----------
        items : array of shape (n, height, width, 3), uint8
            Any size; resized to `size`.
        batch_size : int
            Changes nothing: pictures are encoded one by one.

        Returns
        -------
        values : array of shape (n, n_targets), float32

        Raises
        ------
        InputError
            For anything but uint8 colour pictures, and for several that hold 0 and 1 alone.
        """
        check_levels(items, "pictures")
        values = np.empty((len(items), self.n_targets), dtype=np.float32)
        for start in range(0, len(items), batch_size):
            pictures = self._resized(items[start : start + batch_size])
            random = None
            if self.posterior == "sample":
                random = [named_generator(f"{self.sample_seed}/".encode() + picture.tobytes()) for picture in pictures]
            latents = self.space.encode(to_pixels(pictures).to(self.space.network.device), random)
            values[start : start + len(pictures)] = latents.flatten(1).cpu().numpy()
        return values

    @torch.inference_mode()
    def decode(self, values, batch_size=32):
        """Decode latents.

        Parameters
        ----------
        values : array of shape (n, n_targets)
        batch_size : int
            Changes nothing: latents are decoded one by one.

        Returns
        -------
        images : array of shape (n, size, size, 3), uint8

        Raises
        ------
        InputError
            For rows of another length.
        """
        values = np.asarray(values)
        if values.ndim != 2 or values.shape[1] != self.n_targets:
            raise InputError(
                f"Latents have shape {values.shape} but those of {self.size} pixels are (n, {self.n_targets}); pass values that "
                "this target encoded, or a decoder that was fitted on them."
            )
        images = np.empty((len(values), self.size, self.size, 3), dtype=np.uint8)
        for start in range(0, len(values), batch_size):
            rows = np.array(values[start : start + batch_size], dtype=np.float32).reshape(-1, *self.shape)
            pixels = self.space.decode(torch.from_numpy(rows).to(self.space.network.device))
            images[start : start + len(rows)] = to_greys(pixels, rounded=self.greys == "rounded")
        return images

    def _resized(self, images):
        images = uint8_pictures(images, "the autoencoder")
        if images.shape[1:3] == (self.size, self.size):
            return images
        how = Image.Resampling[self.interpolation.upper()]
        return np.stack([Image.fromarray(image).resize((self.size, self.size), how) for image in images])
