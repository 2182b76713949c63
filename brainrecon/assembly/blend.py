"""The step that lays one picture over another."""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.step import Step
from brainrecon.assembly.values import ABSENT
from stages.ground.checks import Number, check
from stages.ground.pictures import to_uint8


class Blend(Step):
    """Mix two pictures, pixel by pixel: (1 - share) * picture + share * other.

    >>> import numpy as np
    >>> from brainrecon.assembly.values import Item
    >>> step = Blend("refined_picture", "first_picture", share=0.25, size=8)
    >>> white, black = np.full((16, 16, 3), 255, np.uint8), np.zeros((4, 4, 3), np.uint8)
    >>> found = step.run([Item("subj01", "nsd00042")], {"refined_picture": [white], "first_picture": [black]})
    >>> found["picture"][0].shape, found["picture"][0][0, 0].tolist()
    ((8, 8, 3), [191, 191, 191])

    Both are brought to one size first, bilinear, where a smaller picture takes values between the two nearest. Without the other
    picture the first one is given as it is, in that size.

    Parameters
    ----------
    reads, other : str
        Names of the pictures.
    share : float
        Of the other one, 0 to 1.
    size : int
        Side in pixels.
    gives : str
    """

    def __init__(self, reads, other, share, size, gives="picture"):
        check("share", share, Number(0, 1))
        check("size", size, Number(1, whole=True, example=256))
        self.reads, self.optional, self.gives, self.media = (reads,), (other,), (gives,), {gives: "picture"}
        self._share, self._size = share, size

    def run(self, items, values, *, seed=0):
        (read,), (other,), (gives,) = self.reads, self.optional, self.gives
        pictures, others = values[read], values[other]
        if others is ABSENT:
            return {gives: [self._blended(one) for one in pictures]}
        return {gives: [self._blended(one, behind) for one, behind in zip(pictures, others, strict=True)]}

    def _blended(self, picture, behind=None):
        found = self._resized(picture)
        if behind is not None:
            found = (1 - self._share) * found + self._share * self._resized(behind)
        return to_uint8(found.permute(1, 2, 0).numpy())

    def _resized(self, picture):
        import torch

        from stages.networks.latent_space import bilinear

        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float()
        return bilinear(pixels[None], self._size)[0]

    def told(self, present):
        (other,) = self.optional
        return {"blurry share": self._share if other in present else 0}
