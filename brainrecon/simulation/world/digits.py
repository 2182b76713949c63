"""Handwritten digits: the specimens scikit-learn ships, enlarged smoothly and varied."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageFilter

DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
STROKES = ("thin", "thick")

INKS = {
    "white": (255, 255, 255), "red": (206, 48, 44), "blue": (44, 80, 196), "green": (38, 132, 66),
    "black": (36, 36, 44), "purple": (122, 56, 164), "brown": (120, 74, 44), "orange": (230, 118, 30),
}  # fmt: skip
_PAPERS = ((248, 244, 232), (226, 234, 242), (238, 230, 240), (232, 240, 228), (228, 226, 222))

_SHARE, _FLOOR = 0.65, 16.0
_GRID, _MARGIN, _ENLARGED = (
    8,
    2,
    8,
)  # specimens are 8 x 8; ringed with two empty cells; eight pixels to a cell


@dataclass(frozen=True)
class Handwriting:
    """What a digit picture shows."""

    digit: int
    ink: str
    """A key of `INKS`."""
    paper: str
    """"black" as in scanned sets, or "plain"."""
    stroke: str
    """One of `STROKES`."""
    specimen: int
    """Which of scikit-learn's specimens."""


@cache
def _shipped():
    """scikit-learn's specimens, (1797, 8, 8) float64 in 0..16, and their digits, (1797,)."""
    from sklearn.datasets import load_digits

    shipped = load_digits()
    return shipped.images, shipped.target


def _largest_around(values, radius):
    """Maximum over the square window of each pixel; `values` uint8."""
    for _ in range(2):
        values, width = np.pad(values, ((radius, radius), (0, 0))), 1
        while 2 * width <= 2 * radius + 1:
            values, width = np.maximum(values[:-width], values[width:]), 2 * width
        if rest := 2 * radius + 1 - width:
            values = np.maximum(values[:-rest], values[rest:])
        values = values.T
    return values


@cache
def _enlarged(specimen):
    """One specimen, smoothly enlarged to a grey picture of 96 x 96 with sharp, even strokes."""
    side = (_GRID + 2 * _MARGIN) * _ENLARGED
    ringed = np.pad(_shipped()[0][specimen] * (255 / 16), _MARGIN).astype(np.uint8)
    smooth = Image.fromarray(ringed).resize((side, side), Image.Resampling.BICUBIC)
    wide = np.asarray(smooth.filter(ImageFilter.GaussianBlur(1.0 * _ENLARGED)), np.float32)
    smooth = np.asarray(smooth.filter(ImageFilter.GaussianBlur(0.35 * _ENLARGED)), np.float32)
    # Less of the neighbourhood opens loops that the coarse cells close; more where ink is faint mends
    # thin strokes.
    sharp = np.clip(smooth - _SHARE * wide, 0, None)
    strongest = Image.fromarray(np.ascontiguousarray(_largest_around(sharp.astype(np.uint8), _ENLARGED)))
    strongest = np.asarray(strongest.filter(ImageFilter.GaussianBlur(_ENLARGED)), np.float32)
    return Image.fromarray(np.clip(255 * sharp / (_FLOOR + strongest), 0, 255).astype(np.uint8))


def compose_digit(generator) -> Handwriting:
    """Choose a specimen and how it is written."""
    digits = _shipped()[1]
    digit = int(generator.integers(10))
    specimen = int(generator.choice(np.flatnonzero(digits == digit)))
    scanned = generator.random() < 0.7
    ink = "white" if scanned else list(INKS)[generator.integers(1, len(INKS))]
    return Handwriting(digit, ink, "black" if scanned else "plain", STROKES[generator.integers(2)], specimen)


def paint_digit(writing: Handwriting, generator, size: int) -> np.ndarray:
    """Write a composed digit, upright, about 20 of 28 parts tall as scanned sets frame it.

    Parameters
    ----------
    writing : Handwriting
        What to write.
    generator : numpy.random.Generator
        Source of slant, turn and position.
    size : int
        Side in pixels; the content is the same at every size.

    Returns
    -------
    array of shape (size, size, 3), uint8
    """
    specimen = _enlarged(writing.specimen)
    turn, slant = generator.uniform(-0.14, 0.14), generator.uniform(-0.3, 0.15)
    tall = generator.uniform(0.64, 0.78)
    wide = tall * generator.uniform(0.8, 1.08)
    shift = generator.uniform(-0.04, 0.04, 2)
    threshold = generator.uniform(0.5, 0.62) if writing.stroke == "thin" else generator.uniform(0.28, 0.42)

    fine = 2 * size
    cells = _GRID * _ENLARGED
    cosine, sine = np.cos(turn), np.sin(turn)
    # From a pixel of the picture back to the specimen: undo the shift, the turn, the slant, the size.
    back = np.diag([cells / (wide * fine), cells / (tall * fine)])
    back = back @ np.array([[1, -slant], [0, 1]]) @ np.array([[cosine, sine], [-sine, cosine]])
    centre = (0.5 + shift) * fine
    offset = specimen.size[0] / 2 - back @ centre
    warp = (back[0, 0], back[0, 1], offset[0], back[1, 0], back[1, 1], offset[1])
    pressed = specimen.transform((fine, fine), Image.Transform.AFFINE, warp, Image.Resampling.BILINEAR)

    density = np.asarray(pressed, np.float32) / 255
    cover = np.clip((density - threshold) * 9 + 0.5, 0, 1)
    cover = cover.reshape(size, 2, size, 2).mean(axis=(1, 3))[..., None]
    if writing.paper == "black":
        paper, ink = np.zeros(3, np.float32), np.full(3, 255.0, np.float32)
    else:
        paper = np.float32(_PAPERS[generator.integers(len(_PAPERS))])
        ink = np.float32(INKS[writing.ink]) * generator.uniform(0.88, 1.12)
        paper = paper * (1 - 0.08 * np.linspace(0, 1, size, dtype=np.float32)[:, None, None])
    return np.clip(paper * (1 - cover) + ink * cover + 0.5, 0, 255).astype(np.uint8)
