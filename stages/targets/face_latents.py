"""Faces as latents: the mean that VanRullen and Reddy's encoder gives a picture, and how a picture is cut for it.

VanRullen and Reddy (2019) fit their encoding model to 1024 such values of each face that was shown.
"""

from __future__ import annotations

import numpy as np
import torch
from skimage.transform import resize

from stages.ground.checks import Number, OneOf, check, uint8_pictures
from stages.ground.pictures import check_levels
from stages.networks.face_vaegan import FaceVAEGAN


class FaceLatents:
    """`mu` of faces, 1024 values between -1 and 1 of a picture.

    >>> from stages.networks.face_vaegan import FaceVAEGANConfig
    >>> network = FaceVAEGAN(FaceVAEGANConfig(picture=16, channels=(4, 6), hidden=5, latents=7)).eval()
    >>> target = FaceLatents(network)
    >>> target.encode(np.zeros((2, 218, 178, 3), np.uint8)).shape
    (2, 7)

    A picture is cut to the square in its middle, then to the middle `crop` of that, and resized (bilinear) to the side of the
    network. Its values are 0 to 1: the authors' script divides by 255, whatever the picture holds.

    Parameters
    ----------
    network : stages.networks.face_vaegan.FaceVAEGAN
        In evaluation mode.
    crop : float
        Part of the side of the square that is kept, above 0 and up to 1; published: 0.8.
    antialias : bool
        Whether what is made smaller is smoothed before. The authors left that to their version of scikit-image, which they do
        not name: early ones did not, later ones do. A picture of 218 x 178, as CelebA's, is the same either way.
    """

    name = "face_latents"
    takes = "images"

    def __init__(self, network, crop=0.8, antialias=True):
        self.network = network
        self.crop = float(check("crop", crop, Number(0, 1, above=True, example=0.8)))
        self.antialias = check("antialias", antialias, OneOf(True, False))

    @classmethod
    def from_pretrained(cls, folder, device="cpu", **options):
        """Load a folder that `FaceVAEGAN.save_pretrained` wrote.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        InputError
            An option has another value.
        """
        return cls(FaceVAEGAN.from_pretrained(folder, device), **options)

    @property
    def shape(self):
        """(latents,)."""
        return (self.network.config.latents,)

    @property
    def n_targets(self):
        """Values per picture."""
        return self.network.config.latents

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        side = self.network.config.picture
        return {
            "crop": ["square in the middle", self.crop],
            "resize": [side, side],
            "interpolation": f"bilinear, {'antialiased' if self.antialias else 'not antialiased'}, float",
            "range": [0, 1],
            "values": "mu",
        }

    @torch.inference_mode()
    def encode(self, items, batch_size=16):
        """Encode pictures.

        Parameters
        ----------
        items : array of shape (n, height, width, 3), uint8
            Any size.
        batch_size : int
            Changes the result by float rounding only.

        Returns
        -------
        values : array of shape (n, latents), float32
            Between -1 and 1.

        Raises
        ------
        InputError
            For anything but uint8 colour pictures, and for several that hold 0 and 1 alone.
        """
        check_levels(items, "pictures")
        values = np.empty((len(items), self.n_targets), dtype=np.float32)
        for start in range(0, len(items), batch_size):
            images = uint8_pictures(items[start : start + batch_size], "the encoder of faces")
            part = np.stack([prepared(one, self.network.config.picture, self.crop, self.antialias) for one in images])
            pictures = torch.from_numpy(part).to(self.network.device).permute(0, 3, 1, 2)
            values[start : start + len(part)] = self.network.encoder(pictures)[0].cpu().numpy()
        return values


def prepared(picture, side, crop=0.8, antialias=True):
    """Return a picture as the network was trained on it.

    >>> prepared(np.full((218, 178, 3), 255, np.uint8), 128).shape
    (128, 128, 3)

    Parameters
    ----------
    picture : uint8 array of shape (height, width, 3)
    side : int
        In pixels.
    crop, antialias
        As for `FaceLatents`.

    Returns
    -------
    array of shape (side, side, 3), float32
        0 to 1.
    """
    height, width = picture.shape[:2]
    square = min(height, width)
    # Rounded down, with the authors' rounding errors: of 20 pixels one is cut off, for (1 - 0.8) / 2 is less than 0.1.
    margin = int(square * ((1 - crop) / 2))
    top, left = (height - square) // 2 + margin, (width - square) // 2 + margin
    kept = square - 2 * margin
    cut = picture[top : top + kept, left : left + kept].astype(np.float64) / 255
    return resize(cut, (side, side), order=1, anti_aliasing=antialias).astype(np.float32)
