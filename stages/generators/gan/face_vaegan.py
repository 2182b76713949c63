"""VanRullen and Reddy's generator of faces: latents to pictures, and how its values become pictures.

The network's last layer has no range, so its authors (VanRullen and Reddy 2019) divide by a maximum for display. Their script
goes through an array of pictures in order, and divides each by the maximum of the *whole* array, in which the pictures before
lie already divided. A picture depends on the others and on their order then. One picture alone is divided by its own maximum.

A generator draws a picture from its own row alone, so this one divides by the picture's own maximum. Both ways are in
`displayed`, a function of a whole array in its order: ``displayed(generator.values(latents), "batch maximum")``.
"""

import numpy as np
import torch

from stages.generators.generator import drawn_in_batches, rows_of
from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError
from stages.ground.not_finite import finite_rows
from stages.ground.progress import SILENT
from stages.networks.face_vaegan import FaceVAEGAN

MAXIMA = ("own maximum", "batch maximum")


class FaceVAEGANGenerator:
    """Draw faces with the generator of a VAE-GAN.

    >>> from stages.generators.generator import Item, in_order
    >>> from stages.networks.face_vaegan import FaceVAEGANConfig
    >>> network = FaceVAEGAN(FaceVAEGANConfig(picture=16, channels=(4, 6), hidden=5, latents=7)).eval()
    >>> generator = FaceVAEGANGenerator(network)
    >>> pictures = in_order(generator.draw({"face_latents": np.ones((1, 7))}, [Item("F0031")]))
    >>> pictures[0].shape, pictures[0].dtype
    ((16, 16, 3), dtype('uint8'))

    Parameters
    ----------
    network : stages.networks.face_vaegan.FaceVAEGAN
        In evaluation mode; its encoder is not used.

    Attributes
    ----------
    takes, optional, gives, draws_by_lot
        See `stages.generators.generator.Generator`.
    image_size : int
        Pixels on a side of what is drawn.
    """

    optional = frozenset()
    gives = "picture"
    draws_by_lot = False

    def __init__(self, network):
        self.network, self.image_size = network.generator, network.config.picture
        self.takes = {"face_latents": (network.config.latents,)}

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Load a folder that `FaceVAEGAN.save_pretrained` wrote; CheckpointError if it is absent or damaged."""
        return cls(FaceVAEGAN.from_pretrained(folder, device))

    def draw(self, values, items, *, seed=0, batch_size=16, progress=SILENT):
        """Draw one picture per item, divided by its own maximum; see `stages.generators.generator`.

        Parameters
        ----------
        values : mapping of str to rows
            ``face_latents``.
        items : sequence of objects with `stimulus_id` and `sample`
        seed : int
            Has no part in the picture.
        batch_size : int
        progress : callable, optional
            Called as ``progress("pictures", done, total)`` after each batch.

        Yields
        ------
        position : int
            Into `items`.
        picture : uint8 array of shape (image_size, image_size, 3)

        Raises
        ------
        InputError
            A value does not fit; raised before anything is drawn.
        NotFinite
            Pictures are NaN or infinite; raised after all others have been yielded.
        """
        items = list(items)
        _check_batch(batch_size)
        rows = rows_of(self, values, items)["face_latents"]
        batches = [range(start, min(start + batch_size, len(items))) for start in range(0, len(items), batch_size)]

        def pictures(positions):
            drawn = self._drawn(np.stack([rows[position] for position in positions]))
            finite = finite_rows(drawn)
            return [_bytes(displayed(one[None]))[0] if sound else None for one, sound in zip(drawn, finite)]

        return drawn_in_batches(batches, pictures, items, progress=progress)

    def values(self, latents, batch_size=16):
        """Give the network's own values, from which `displayed` makes pictures.

        Parameters
        ----------
        latents : array of shape (n, latents)
        batch_size : int
            Changes the values by float rounding only.

        Returns
        -------
        array of shape (n, image_size, image_size, 3), float32
            Above -1, without an upper end.

        Raises
        ------
        InputError
            The latents have another shape.
        """
        _check_batch(batch_size)
        latents = np.asarray(latents)
        (n_latents,) = self.takes["face_latents"]
        if latents.ndim != 2 or latents.shape[1] != n_latents:
            raise InputError(
                f"Latents have shape {latents.shape}; expected (n, {n_latents:,}): predict the latents of this network."
            )
        drawn = np.empty((len(latents), self.image_size, self.image_size, 3), dtype=np.float32)
        for start in range(0, len(latents), batch_size):
            drawn[start : start + batch_size] = self._drawn(latents[start : start + batch_size])
        return drawn

    @torch.inference_mode()
    def _drawn(self, latents):
        rows = torch.from_numpy(latents.astype(np.float32)).to(self.network.fc.weight.device)
        return self.network(rows).permute(0, 2, 3, 1).cpu().numpy()


def displayed(values, maximum="own maximum"):
    """Divide pictures by a maximum, and cut off what lies outside 0 to 1.

    >>> values = np.float32([[2, 1, -1], [8, 4, 0]]).reshape(2, 1, 1, 3)
    >>> displayed(values).reshape(2, 3).tolist()
    [[1.0, 0.5, 0.0], [1.0, 0.5, 0.0]]
    >>> displayed(values, "batch maximum").reshape(2, 3).tolist()
    [[0.25, 0.125, 0.0], [1.0, 0.5, 0.0]]

    Parameters
    ----------
    values : array of shape (n, height, width, 3), float
        The network's, finite.
    maximum : {"own maximum", "batch maximum"}
        The picture's own; or, as published, picture after picture that of the whole array, in which the pictures before lie
        already divided. A picture depends on all others and on their order then.

    Returns
    -------
    array of the same shape and type
        0 to 1. If the maximum is not above 0 a picture is black; the published division makes white of it, or NaN.
    """
    check("maximum", maximum, OneOf(*MAXIMA))
    pictures = np.empty_like(values)
    maxima = np.max(values, axis=(1, 2, 3)) if len(values) else np.empty(0)
    for row, picture in enumerate(values):
        highest = maxima[row] if maximum == "own maximum" else maxima.max()
        pictures[row] = np.clip(picture / highest, 0, 1) if highest > 0 else 0
        maxima[row] = pictures[row].max()
    return pictures


def _bytes(pictures):
    """Pictures from 0 to 1 as uint8, rounded."""
    return np.rint(255 * pictures).astype(np.uint8)


def _check_batch(batch_size):
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; it must be 1 or more.")
