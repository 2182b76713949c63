"""Tokens of a picture as the unCLIP decoder of MindEye2 (Scotti et al. 2024) was trained on them, washed out.

The decoder's embedder takes pixels of −1 to 1 and makes 0 to 1 of them. The authors give it 0 to 1, in training and in use, so
that its network sees greys of a half to one. Their prior and their retrieval live in that space too.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from stages.checkpoints.open_clip_folder import WEIGHT_FILES, load_image_tower
from stages.ground.checks import OneOf, check, uint8_pictures
from stages.ground.pictures import check_levels
from stages.targets.smoothed_pictures import smoothed

IN_UNCLIP = "conditioner.embedders.0.model.visual."
"""What stands before the names of the embedder's image tower in the published SDXL-unCLIP."""
GREYS = ("washed out", "as they are")


class UnclipTokens:
    """Patch tokens of a picture behind the last layer norm, neither projected nor normalised: 256 x 1664 of ViT-bigG-14.

    >>> from weights import store
    >>> target = UnclipTokens.from_pretrained(store.path("tiny-clip"))
    >>> target.encode(np.zeros((2, 425, 425, 3), dtype=np.uint8)).shape, target.shape
    ((2, 8192), (64, 128))

    With pixels :math:`x` of 0 to 1, resized by `stages.targets.smoothed_pictures`, the network sees :math:`(x + 1)/2` less the
    mean and by the standard deviation that it was trained with; :math:`x` itself if `greys` are "as they are". The last layer
    norm is applied to every token, as open_clip does from 2.24 on, the version that MindEye2 pins. The class token is left out.

    Parameters
    ----------
    visual : open_clip.transformer.VisionTransformer
        In evaluation mode.
    mean, std : sequence of 3 float
        Of the channels, of pixels from 0 to 1.
    greys : {"washed out", "as they are"}
        "washed out" is what the published decoder, prior and retrieval need.
    """

    name = "unclip_tokens"
    takes = "images"

    def __init__(self, visual, mean, std, greys="washed out"):
        self.visual, self.mean, self.std = visual, mean, std
        self.greys = check("greys", greys, OneOf(*GREYS))

    @classmethod
    def from_pretrained(cls, folder, device="cpu", **options):
        """Load the image tower of an open_clip folder, or that of an SDXL-unCLIP checkpoint, in float32.

        Parameters
        ----------
        folder : path-like
            Holds ``open_clip_config.json`` and the weights; or the published SDXL-unCLIP as one file of safetensors, whose
            embedder is read. Without a configuration it is ViT-bigG-14.
        device : str or torch.device
        **options
            `greys`.

        Raises
        ------
        CheckpointError
            A file is missing or damaged, or its weights do not fit the configuration exactly.
        """
        folder = Path(folder)
        by_itself = any((folder / name).is_file() for name in WEIGHT_FILES)
        visual, normalisation = load_image_tower(
            folder, device, prefix="visual." if by_itself else IN_UNCLIP, architecture="ViT-bigG-14"
        )
        return cls(visual, **normalisation, **options)

    @property
    def size(self):
        """Side of the pictures in pixels that the network sees."""
        return self.visual.image_size[0]

    @property
    def shape(self):
        """Tokens and values per token."""
        return (math.prod(self.visual.grid_size), self.visual.conv1.out_channels)

    @property
    def n_targets(self):
        """Values per picture."""
        return math.prod(self.shape)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        return {
            "resize": [self.size, self.size],
            "interpolation": "bicubic between corners, behind a Gaussian",
            "greys": self.greys,
            "mean": list(self.mean),
            "std": list(self.std),
            "tokens": "patches from the last block, after the last layer norm, not projected",
        }

    @torch.inference_mode()
    def encode(self, items, batch_size=16):
        """Look at pictures.

        Parameters
        ----------
        items : array of shape (n, height, width, 3), uint8
            Any size; a picture that is no square is squeezed into one.
        batch_size : int
            Changes the result by float rounding only.

        Returns
        -------
        tokens : array of shape (n, n_targets), float32
            Token by token, patches row by row.

        Raises
        ------
        InputError
            For anything but uint8 colour pictures, and for several that hold 0 and 1 alone.
        """
        check_levels(items, "pictures")
        tokens = np.empty((len(items), self.n_targets), dtype=np.float32)
        for start in range(0, len(items), batch_size):
            prepared = self._prepared(uint8_pictures(items[start : start + batch_size], "CLIP"))
            found = self.visual.forward_intermediates(prepared, indices=1, intermediates_only=True, output_fmt="NLC")
            (last,) = found["image_intermediates"]
            tokens[start : start + len(last)] = self.visual.ln_post(last).flatten(1).cpu().numpy()
        return tokens

    def _prepared(self, images):
        """Pictures as the network takes them: float32 (n, 3, size, size) on its device."""
        device = self.visual.conv1.weight.device
        # One by one: resized together they would differ by rounding. Copied: torch warns of a read-only array.
        pixels = (torch.from_numpy(np.array(one)).to(device).permute(2, 0, 1)[None] / 255 for one in images)
        pictures = torch.cat([smoothed(each, self.size) for each in pixels])
        pictures = (pictures + 1) / 2 if self.greys == "washed out" else pictures
        mean, std = (torch.tensor(each, device=device)[:, None, None] for each in (self.mean, self.std))
        return (pictures - mean) / std
