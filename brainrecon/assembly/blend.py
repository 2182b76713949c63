"""The step that blends pictures pixel by pixel.

After Scotti et al. (2024), "MindEye2": the refined picture and the blurry one that was decoded beside it are averaged, so that
the layout of the blurry one is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from brainrecon.assembly.step import Step
from brainrecon.assembly.values import ABSENT
from stages.ground.errors import InputError


class Blend(Step):
    """Average pictures by their weights.

    >>> import numpy as np
    >>> from brainrecon.assembly.values import Item
    >>> step = Blend({"refined": 0.75, "blurry": 0.25})
    >>> white, black = np.full((1, 8, 8, 3), 255, dtype=np.uint8), np.zeros((1, 4, 4, 3), dtype=np.uint8)
    >>> found = step.run([Item("subj01", "nsd00042")], {"refined": white, "blurry": black})
    >>> found["picture"][0].shape, found["picture"][0][0, 0].tolist()
    ((8, 8, 3), [191, 191, 191])

    Pictures of other sizes are made as large as the first one, bilinear and without smoothing. If a condition takes one of the
    others away, the weights of those that are left are made to add up to 1.

    Parameters
    ----------
    weights : mapping of str to float
        Pictures and their shares, which add up to 1; the first picture may not be absent.
    gives : str
    size : int, optional
        Height and width of what is given; by default those of the first picture.

    Raises
    ------
    InputError
        Weights are negative, or do not add up to 1.
    """

    def __init__(self, weights: Mapping[str, float], gives: str = "picture", size: int | None = None):
        weights = {name: float(weight) for name, weight in weights.items()}
        shown = ", ".join(f"{weight:g} of {name}" for name, weight in weights.items()) or "nothing"
        finite = all(math.isfinite(weight) and weight >= 0 for weight in weights.values())
        if not finite or not math.isclose(sum(weights.values()), 1, abs_tol=1e-6) or not next(iter(weights.values())):
            raise InputError(
                f"Pictures are blended by {shown}; expected shares of 0 or more that add up to 1, the first above 0, such as "
                "0.75 and 0.25."
            )
        first, *others = weights
        self.reads, self.optional, self.gives = (first,), tuple(others), (gives,)
        self.media, self._weights, self._size = {gives: "picture"}, weights, size

    def run(self, items, values, *, seed=0):
        present = [name for name in self._weights if values.get(name, ABSENT) is not ABSENT]
        whole = sum(self._weights[name] for name in present)
        shares = {name: self._weights[name] / whole for name in present}
        found = []
        for row in range(len(items)):
            size = self._size or np.shape(values[self.reads[0]][row])[0]
            parts = [share * _floats(values[name][row], size) for name, share in shares.items()]
            found.append(np.rint(sum(parts)).astype(np.uint8))
        return {self.gives[0]: found}

    def told(self, present):
        return {"blend": dict(self._weights)}


def _floats(picture, size):
    """A uint8 picture as float64 (size, size, 3), in grey levels."""
    if np.shape(picture)[:2] == (size, size):
        return np.asarray(picture, dtype=np.float64)
    import torch

    from stages.networks.latent_space import bilinear

    pixels = torch.from_numpy(np.array(picture, dtype=np.float64)).permute(2, 0, 1)[None]
    return bilinear(pixels, size)[0].permute(1, 2, 0).numpy()
