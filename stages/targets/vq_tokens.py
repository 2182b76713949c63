"""The tokens of a picture: at each place of a grid the number of a code of a vector-quantised autoencoder."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from stages.ground.checks import uint8_pictures
from stages.ground.pictures import check_levels
from stages.networks.vq_tokenizer import load_tokenizer


class VQTokens:
    """A picture's tokens as one row of whole numbers, row by row of the grid.

    >>> from weights import store
    >>> target = VQTokens.from_pretrained(store.path("tiny-label2img"))
    >>> target.shape, target.n_codes, target.encode(np.zeros((3, 64, 64, 3), np.uint8)).shape
    ((256,), 256, (3, 256))

    Their order means nothing, and neither do differences of them: what predicts them has to classify.

    Parameters
    ----------
    tokenizer : stages.networks.vq_tokenizer.MaskGITTokenizer

    Attributes
    ----------
    n_codes : int
        Tokens are 0 to `n_codes` - 1.
    """

    name = "vq_tokens"
    takes = "images"

    def __init__(self, tokenizer):
        self.tokenizer, self.n_codes = tokenizer, tokenizer.n_codes

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Load a tokeniser's folder, see `stages.networks.vq_tokenizer.load_tokenizer`."""
        return cls(load_tokenizer(folder, device))

    @property
    def shape(self):
        """One axis: the places."""
        return (self.tokenizer.side**2,)

    @property
    def n_targets(self):
        """Places of a picture."""
        return self.tokenizer.side**2

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        size = self.tokenizer.size
        return {"resize": [size, size], "interpolation": "bilinear, antialiased, 8 bit", "values": "0 to 1"}

    @torch.inference_mode()
    def encode(self, items, batch_size=32):
        """Find the tokens of pictures.

        Parameters
        ----------
        items : array of shape (n, height, width, 3), uint8
            Any size; resized to that of the tokeniser.
        batch_size : int
            Changes nothing: pictures are encoded one by one.

        Returns
        -------
        tokens : array of shape (n, n_targets), float32
            Whole numbers.

        Raises
        ------
        InputError
            For anything but uint8 colour pictures, and for several that hold 0 and 1 alone.
        """
        check_levels(items, "pictures")
        values = np.empty((len(items), self.n_targets), dtype=np.float32)
        for start in range(0, len(items), batch_size):
            pictures = torch.from_numpy(self._resized(items[start : start + batch_size])).permute(0, 3, 1, 2)
            tokens = self.tokenizer.encode(pictures.to(self.tokenizer.device).float() / 255)
            values[start : start + len(pictures)] = tokens.cpu().numpy()
        return values

    def _resized(self, images):
        images, size = uint8_pictures(images, "the tokeniser"), self.tokenizer.size
        if images.shape[1:3] == (size, size):
            return np.ascontiguousarray(images)
        resized = [np.asarray(Image.fromarray(one).resize((size, size), Image.Resampling.BILINEAR)) for one in images]
        return np.stack(resized) if resized else np.empty((0, size, size, 3), np.uint8)
