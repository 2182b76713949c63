"""The layout and colours of a picture: the first layers of a VDVAE's latents.

Ozcelik and VanRullen, 2023, "Natural scene reconstruction from fMRI signals using generative latent
diffusion" (Brain-Diffuser), predict the first 31 of the imagenet64 model's 75 layers, 91,168 values. Their
latents are unseeded draws from the posterior, and so are the layers that they do not predict and the pixels; here
all are means unless draws, which are seeded, are asked for.
"""

import math
from copy import copy
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from stages.ground.checks import Number, Numbers, OneOf, check, uint8_pictures
from stages.ground.errors import InputError
from stages.ground.item_seeds import named_generator
from stages.ground.pictures import check_levels
from stages.networks.vdvae import VDVAE

_GREYS = Numbers(Number(0, 255, above=True), example=(110.0, 69.0), alone=False)


class VDVAELatents:
    """The first layers of a VDVAE's latents as one row of values, and back to a picture.

    >>> from weights import store
    >>> target = VDVAELatents.from_pretrained(store.path("tiny-vdvae"))
    >>> pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    >>> latents = target.encode(pictures)
    >>> latents.shape, target.decode(latents, batch_size=2).shape
    ((2, 5648), (2, 64, 64, 3))

    Layers stand in the decoder's order, each flattened from (channels, height, width), the last axis fastest.

    Parameters
    ----------
    network : stages.networks.vdvae.VDVAE
        Its ``config.target_layers`` says how many layers.
    sample_seed : int, optional
        Encode draws from the posterior, as the published recipe does, in place of its mean. A picture's draw
        depends on the seed and on its pixels at the network's size, not on the batch or the order.
    greys : tuple of float, optional
        Mean and standard deviation, of 0 to 255, with which pictures enter the encoder; the checkpoint's own by default. Some
        scripts have (110, 69).
    farthest : float, optional
        Latents are cut off so far from 0, and those that are no number become 0; by default they are left as they are.
    """

    name = "vdvae"
    takes = "images"

    def __init__(self, network, sample_seed=None, greys=None, farthest=None):
        self.network = network
        self.sample_seed = sample_seed
        self.greys = None if greys is None else tuple(check("greys", greys, _GREYS))
        self.farthest = check("farthest", farthest, Number(0, above=True, optional=True, example=10.0))
        if self.greys is not None:
            # The caller's own network stays as it is.
            self.network = copy(network)
            self.network.config = replace(network.config, input_mean=float(greys[0]), input_std=float(greys[1]))
        self._shapes = network.latent_shapes[: network.config.target_layers]
        self._ends = np.cumsum([0, *(math.prod(shape) for shape in self._shapes)]).tolist()

    @classmethod
    def from_pretrained(cls, folder, device="cpu", sample_seed=None, greys=None, farthest=None):
        """Load a VDVAE's folder (config.json, model.safetensors); CheckpointError when it does not fit."""
        return cls(VDVAE.from_pretrained(folder, device), sample_seed, greys, farthest)

    @property
    def n_targets(self):
        """Values per picture."""
        return self._ends[-1]

    @property
    def shape(self):
        """One axis: layers of unequal resolution do not stack."""
        return (self.n_targets,)

    @property
    def layer_slices(self):
        """Where each layer stands in a row, in the decoder's order: a list of slices."""
        return [slice(start, stop) for start, stop in zip(self._ends, self._ends[1:])]

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        size = self.network.config.image_size
        used = {
            "resize": [size, size],
            "interpolation": "bilinear, antialiased, 8 bit",
            "latents": "posterior mean" if self.sample_seed is None else f"posterior draw, seed {self.sample_seed}",
            "layers": len(self._shapes),
        }
        used |= {} if self.greys is None else {"greys": list(self.greys)}
        return used if self.farthest is None else used | {"farthest": self.farthest}

    def encode(self, items, batch_size=32):
        """Infer the latents of pictures.

        Parameters
        ----------
        items : array of shape (n, height, width, 3), uint8
            Any size; resized to the network's.
        batch_size : int
            Changes the result by float rounding only.

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
            images = self._resize(items[start : start + batch_size])
            latents = self.network.encode(images, n_layers=len(self._shapes), generator=self._generators(images))
            for where, z in zip(self.layer_slices, latents):
                values[start : start + len(images), where] = z.flatten(1).cpu().numpy()
        if self.farthest is not None:
            np.nan_to_num(values, copy=False, posinf=self.farthest, neginf=-self.farthest)
            np.clip(values, -self.farthest, self.farthest, out=values)
        return values

    def decode(self, values, batch_size=32, temperature=0.0, generators=None, sample_pixels=False, greys="rounded"):
        """Draw the pictures of latents; the layers beyond the target lie at their prior's mean.

        Parameters
        ----------
        values : array of shape (n, n_targets)
        batch_size : int
            Changes the result by float rounding only.
        temperature : float
            Spread of the layers beyond the target around their prior's mean, in units of the prior's standard
            deviation; the published recipe's is 1.
        generators : list of n torch.Generator, optional
            Of the CPU, one per picture, so that its draw does not depend on the batch; needed by a temperature above
            zero and by `sample_pixels`.
        sample_pixels : bool
            Draw each pixel from its mixture, as the published recipe does, instead of taking the expectation.
        greys : {"rounded", "cut off"}
            How pictures become 8 bit; the published recipe cuts off.

        Returns
        -------
        images : array of shape (n, image_size, image_size, 3), uint8

        Raises
        ------
        InputError
            For rows of another length, draws without generators, or not as many generators as rows.
        """
        check("greys", greys, OneOf("rounded", "cut off"))
        values = np.asarray(values)
        if values.ndim != 2 or values.shape[1] != self.n_targets:
            raise InputError(
                f"VDVAE latents have shape {values.shape} but this checkpoint decodes (n, {self.n_targets}); "
                "pass values that this target encoded, or a decoder that was fitted on them."
            )
        if generators is not None and len(generators) != len(values):
            raise InputError(f"{len(generators)} generators came with {len(values)} rows; pass one per row.")
        size = self.network.config.image_size
        images = np.empty((len(values), size, size, 3), dtype=np.uint8)
        for start in range(0, len(values), batch_size):
            rows = torch.from_numpy(np.array(values[start : start + batch_size], dtype=np.float32))
            layers = zip(self.layer_slices, self._shapes)
            latents = [rows[:, where].reshape(-1, *shape) for where, shape in layers]
            images[start : start + len(rows)] = self.network.decode(
                latents,
                temperature,
                generators and generators[start : start + len(rows)],
                sample_pixels,
                rounded=greys == "rounded",
            )
        return images

    def _generators(self, images):
        if self.sample_seed is None:
            return None
        return [named_generator(f"{self.sample_seed}/".encode() + image.tobytes()) for image in images]

    def _resize(self, images):
        images = uint8_pictures(images, "the VDVAE")
        size = self.network.config.image_size
        if images.shape[1:3] == (size, size):
            return images
        # Pillow on 8-bit pixels, as the published pipeline resizes.
        pictures = (Image.fromarray(image) for image in images)
        return np.stack([picture.resize((size, size), Image.Resampling.BILINEAR) for picture in pictures])
