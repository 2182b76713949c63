"""Pictures that programs make: gratings, rings, spokes, noise, coloured noise, and bars and crosses to imagine.

None is of the kinds that the core's sessions show, so that a decoder of these is tested on what it never learned.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TALL = 714 / 425
"""Height of a picture of synthetic, in sides of a picture of the core."""
WIDE = 1360 / 714
"""Its width in heights."""
HUES = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0))


def draw_synthetic(size: int, seed: int, subject: int) -> tuple[NDArray, list[str], int]:
    """Draw all pictures of a subject.

    >>> pictures, classes, n_shared = draw_synthetic(16, 0, 1)
    >>> pictures.shape, len(classes), n_shared
    ((32, 27, 51, 3), 32, 24)

    Parameters
    ----------
    size : int
        Side of the core's pictures.
    seed : int
    subject : int
        Whose own pictures come last.

    Returns
    -------
    pictures : array of shape (n, height, width, 3), uint8
        As values of the core's pictures.
    classes : list of str
    n_shared : int
        So many of the first are the same for all subjects.
    """
    height = round(TALL * size)
    width = round(WIDE * height)
    down, across = np.meshgrid(np.arange(height) - height / 2, np.arange(width) - width / 2, indexing="ij")
    distance, angle = np.hypot(down, across), np.arctan2(down, across)
    found: list[tuple[str, NDArray]] = []
    for wavelength in (height / 3, height / 6, height / 12):
        for k in range(4):
            along = across * np.cos(np.pi * k / 4) + down * np.sin(np.pi * k / 4)
            found.append(("Gratings", _grey(np.cos(2 * np.pi * along / wavelength))))
        found.append(("Rings", _grey(np.cos(2 * np.pi * distance / wavelength))))
    found += [("Spokes", _grey(np.cos(number * angle))) for number in (4, 8, 16)]
    noise = np.random.default_rng([seed, 714])
    for block in (2, 2, 4, 4, 8, 8):
        found.append(("Noise", _grey(_blocks(noise, height, width, block)[..., 0])))
    n_shared = len(found)
    own = np.random.default_rng([seed, 1360, subject])
    for hue in HUES:
        for block in (4, 8):
            grey = _blocks(own, height, width, block)
            found.append(("Chromatic noise", np.rint(127.5 + 100 * grey * (2 * np.array(hue) - 1)).astype(np.uint8)))
    return np.stack([picture for _, picture in found]), [name for name, _ in found], n_shared


def middle_square(picture: NDArray) -> NDArray:
    """The square in the middle of a picture, where the core's pictures are shown."""
    height, width = picture.shape[:2]
    left = (width - height) // 2
    return picture[:, left : left + height]


def bars_and_crosses(size: int) -> dict[str, NDArray]:
    """Four bars and two crosses on grey, uint8 (size, size, 3), by the name of their file."""
    down, across = np.meshgrid(np.arange(size) - (size - 1) / 2, np.arange(size) - (size - 1) / 2, indexing="ij")

    def bar(degrees):
        turn = np.deg2rad(degrees)
        along = across * np.cos(turn) - down * np.sin(turn)
        beside = across * np.sin(turn) + down * np.cos(turn)
        return (np.abs(along) < 0.42 * size) & (np.abs(beside) < 0.06 * size)

    shapes = {f"bar_{degrees:05.1f}deg.png": bar(degrees) for degrees in (0, 45, 90, 135)}
    shapes |= {f"crs_{degrees:05.1f}deg.png": bar(degrees) | bar(degrees + 90) for degrees in (0, 45)}
    return {
        name: np.repeat(np.where(shape, 0, 127).astype(np.uint8)[..., None], 3, axis=2)
        for name, shape in shapes.items()
    }


def _grey(level):
    """Contrast from -1 to 1 as a grey picture."""
    return np.repeat(np.rint(127.5 + 120 * level).astype(np.uint8)[..., None], 3, axis=2)


def _blocks(generator, height, width, block):
    """Blocks of -1 and 1, (height, width, 1)."""
    cells = generator.integers(0, 2, (-(-height // block), -(-width // block))) * 2 - 1
    return np.kron(cells, np.ones((block, block), int))[:height, :width, None]
