"""The states of BLIP's vision transformer: a picture as BLIP's text decoder reads it.

Takagi and Nishimoto (2023, "Improving visual image reconstruction from human brain activity using latent diffusion models via
multiple decoded inputs") predict them, and let BLIP write a caption from the prediction.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image

from stages.ground.checks import OneOf, check, uint8_pictures
from stages.ground.pictures import check_levels
from stages.networks.blip import load_blip

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the channels in BLIP's own training, which are CLIP's."""
_RESAMPLING = {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC}


class BLIPStates:
    """States of a picture's class token and patches behind the last layer norm: 226 x 768 for 240 pixels.

    >>> from transformers import BlipVisionConfig, BlipVisionModel
    >>> sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    >>> network = BlipVisionModel(BlipVisionConfig(**sizes, image_size=32, patch_size=16)).eval()
    >>> target = BLIPStates(network, normalise="CLIP")
    >>> target.encode(np.zeros((2, 64, 64, 3), dtype=np.uint8)).shape, target.shape
    ((2, 40), (5, 8))

    Parameters
    ----------
    network : transformers.BlipVisionModel
        In evaluation mode. Pictures are resized to the side in its configuration, 8 bit.
    resampling : {"lanczos", "bicubic"}
        How: Pillow's, as Takagi and Nishimoto, or as in BLIP's own training.
    normalise : {"none", "CLIP"}
        "none" gives the network greys of 0 to 1, as Takagi and Nishimoto do. "CLIP" subtracts the mean of each channel and
        divides by its standard deviation first, as the network was trained.
    """

    name = "blip"
    takes = "images"

    def __init__(self, network, resampling="lanczos", normalise="none"):
        self.network = network
        self.resampling = check("resampling", resampling, OneOf(*_RESAMPLING))
        self.normalise = check("normalise", normalise, OneOf("none", "CLIP"))

    @classmethod
    def from_pretrained(cls, folder, device="cpu", size=240, **options):
        """Load the vision transformer of a folder of `stages.networks.blip.load_blip`, in float32.

        Parameters
        ----------
        folder : path
        device : str or torch.device
        size : int
            Side of the pictures in pixels, a multiple of a patch (16 as published). The table of positions is resized to it once.
        **options
            As of the class.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        InputError
            An option has another value.
        """
        return cls(load_blip(folder, size).vision_model.to(device), **options)

    @property
    def size(self):
        """Side of the pictures in pixels that the network sees."""
        return self.network.config.image_size

    @property
    def shape(self):
        """(states, values of each)."""
        config = self.network.config
        return (1 + (config.image_size // config.patch_size) ** 2, config.hidden_size)

    @property
    def n_targets(self):
        """Values per picture."""
        return math.prod(self.shape)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        used = {
            "resize": [self.size, self.size],
            "interpolation": f"{self.resampling}, antialiased, 8 bit",
            "states": "class token and patches, behind the last layer norm",
        }
        return used if self.normalise == "none" else used | {"mean": list(MEAN), "std": list(STD)}

    @torch.inference_mode()
    def encode(self, items, batch_size=8):
        """Look at pictures.

        Parameters
        ----------
        items : array of shape (n, height, width, 3), uint8
            Any size; a picture that is no square is squeezed into one.
        batch_size : int
            Changes the result by float rounding only.

        Returns
        -------
        states : array of shape (n, n_targets), float32
            State by state, the class token's first.

        Raises
        ------
        InputError
            For anything but uint8 colour pictures, and for several that hold 0 and 1 alone.
        """
        check_levels(items, "pictures")
        device = self.network.embeddings.class_embedding.device
        states = np.empty((len(items), self.n_targets), dtype=np.float32)
        for start in range(0, len(items), batch_size):
            part = self._resized(items[start : start + batch_size])
            pictures = torch.from_numpy(part).to(device).permute(0, 3, 1, 2) / 255
            if self.normalise == "CLIP":
                mean, std = (torch.tensor(each, device=device)[:, None, None] for each in (MEAN, STD))
                pictures = (pictures - mean) / std
            states[start : start + len(part)] = self.network(pictures).last_hidden_state.flatten(1).cpu().numpy()
        return states

    def _resized(self, images):
        images = uint8_pictures(images, "BLIP")
        side, how = (self.size, self.size), _RESAMPLING[self.resampling]
        # Copied: torch warns of a read-only array.
        return np.stack([np.array(Image.fromarray(one).resize(side, how)) for one in images])
