"""The places of drawn scenes: gradients, a few painted details and grain.

Each place is a `Background`: colours of sky and ground, where the horizon may lie, how its grain is
stretched, and a function that paints details on a unit square (x, y from 0 to 1, y downwards).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from brainrecon.simulation.world.pen import Pen, darker, mix

MOODS = ("sunny", "cloudy", "sunset")


@dataclass(frozen=True)
class Background:
    """What a place looks like before anything stands in it."""

    sky: tuple
    """Colours at the top and at the horizon, 0..255."""
    ground: tuple
    """Colours at the horizon and at the bottom, 0..255."""
    horizon: tuple[float, float]
    """Range of the horizon's height, fraction from the top."""
    details: Callable
    """`details(pen, generator, horizon)` paints on the unit square."""
    grain: tuple[int, int]
    """Grains across and down on the ground; few across and many down look like water."""
    strength: float
    """Contrast of the grain."""
    clashing: frozenset
    """Colours that would drown here."""
    outdoors: bool = True
    """Whether the time of day shows."""


def _clouds(pen, generator, horizon, colour=(250, 250, 252)):
    for _ in range(generator.integers(1, 4)):
        x, y = generator.uniform(0.05, 0.95), generator.uniform(0.05, horizon * 0.6)
        width = generator.uniform(0.07, 0.13)
        for shift, height in ((-0.8, 0.28), (0, 0.45), (0.8, 0.3)):
            pen.ellipse(x + shift * width, y, width, width * height, colour)


def _beach(pen, generator, horizon):
    _clouds(pen, generator, horizon)
    pen.box(-0.1, horizon, 1.1, horizon + 0.1, (38, 128, 176))
    pen.box(-0.1, horizon + 0.06, 1.1, horizon + 0.1, (70, 170, 196))
    shore = [(x, horizon + 0.11 + generator.uniform(-0.012, 0.02)) for x in np.linspace(1.1, -0.1, 8)]
    pen.polygon([(-0.1, horizon + 0.09), (1.1, horizon + 0.09), *shore], (240, 246, 244))


def _hills(pen, generator, horizon, colours, height=0.12):
    for colour in colours:
        xs = np.linspace(-0.2, 1.2, 8)
        tops = horizon - height * generator.uniform(0.15, 1, len(xs))
        smooth = np.interp(np.linspace(-0.2, 1.2, 40), xs, tops)
        smooth = np.convolve(np.pad(smooth, 3, mode="edge"), np.ones(7) / 7, mode="valid")
        pen.polygon(
            [
                (-0.2, horizon + 0.02),
                *zip(np.linspace(-0.2, 1.2, 40), smooth, strict=True),
                (1.2, horizon + 0.02),
            ],
            colour,
        )
        height *= 0.55


def _meadow(pen, generator, horizon):
    _clouds(pen, generator, horizon)
    _hills(pen, generator, horizon, [(112, 168, 118), (92, 160, 84)])
    for _ in range(14):
        x, y = generator.uniform(0, 1), generator.uniform(horizon + 0.06, 1)
        petal = ((250, 240, 160), (250, 250, 250), (240, 190, 210))[generator.integers(3)]
        pen.circle(x, y, 0.008 + 0.012 * (y - horizon), petal)


def _night(pen, generator, horizon):
    for _ in range(26):
        x, y = generator.uniform(0, 1), generator.uniform(0, horizon)
        pen.circle(x, y, generator.uniform(0.005, 0.011), (236, 236, 250))
    _hills(pen, generator, horizon, [(22, 24, 52)], height=0.14)


def _room(pen, generator, horizon):
    left = generator.random() < 0.5
    x = 0.06 if left else 0.66
    pen.box(x, 0.08, x + 0.28, horizon - 0.3, (246, 240, 226))
    pen.box(x + 0.025, 0.105, x + 0.255, horizon - 0.325, (168, 212, 236))
    pen.box(x + 0.13, 0.1, x + 0.15, horizon - 0.32, (246, 240, 226))
    pen.box(-0.1, horizon - 0.035, 1.1, horizon + 0.005, (246, 238, 224))
    for k in range(-6, 18):
        foot = 0.5 + (k - 5.5) * 0.28
        top = 0.5 + (k - 5.5) * 0.12
        pen.stroke((top, horizon), (foot, 1.02), 0.008, (128, 88, 58))


def _desert(pen, generator, horizon):
    _hills(pen, generator, horizon, [(222, 150, 96), (232, 172, 108)], height=0.16)
    for _ in range(3):
        y = generator.uniform(horizon + 0.08, 0.95)
        x = generator.uniform(-0.2, 0.7)
        pen.blob([(x, y), (x + 0.25, y - 0.035), (x + 0.55, y), (x + 0.25, y + 0.012)], (240, 190, 124))


def _snow(pen, generator, horizon):
    _hills(pen, generator, horizon, [(176, 192, 214), (206, 218, 234)], height=0.16)
    for _ in range(4):
        x = generator.uniform(0, 1)
        foot, size = horizon + generator.uniform(0.0, 0.03), generator.uniform(0.05, 0.1)
        for level in (0, 0.6, 1.2):
            half = size * (0.6 - 0.2 * level)
            pen.polygon(
                [
                    (x - half, foot - level * size),
                    (x + half, foot - level * size),
                    (x, foot - (level + 1) * size),
                ],
                (62, 92, 92),
            )
    for _ in range(24):
        pen.circle(generator.uniform(0, 1), generator.uniform(0, 1), 0.008, (252, 253, 255))


def _sea(pen, generator, horizon):
    _clouds(pen, generator, horizon)
    for _ in range(12):
        y = generator.uniform(horizon + 0.03, 1)
        x, width = generator.uniform(-0.1, 1), 0.05 + 0.14 * (y - horizon)
        pen.blob([(x - width, y), (x, y - 0.014), (x + width, y), (x, y + 0.006)], (120, 190, 214))


def _city(pen, generator, horizon):
    x = -0.02
    while x < 1:
        width, height = generator.uniform(0.1, 0.2), generator.uniform(0.16, horizon - 0.06)
        wall = ((128, 132, 148), (150, 140, 138), (110, 118, 138), (164, 156, 150))[generator.integers(4)]
        pen.box(x, horizon - height, x + width, horizon + 0.01, wall)
        for row in np.arange(horizon - height + 0.035, horizon - 0.03, 0.065):
            for column in np.arange(x + 0.025, x + width - 0.03, 0.05):
                pane = (244, 226, 150) if generator.random() < 0.35 else darker(wall, 0.4)
                pen.box(column, row, column + 0.024, row + 0.03, pane)
        x += width + 0.008
    for x in np.arange(-0.05, 1.0, 0.25):
        pen.box(x, horizon + 0.2, x + 0.13, horizon + 0.22, (214, 212, 200))


def _forest(pen, generator, horizon):
    for depth, shade in ((0.0, (58, 104, 72)), (1.0, (34, 74, 50))):
        for x in np.arange(-0.05, 1.1, 0.15 + 0.06 * depth):
            x = x + generator.uniform(-0.05, 0.05)
            width = 0.018 + 0.014 * depth
            pen.box(
                x - width,
                0.1,
                x + width,
                horizon + 0.03 + 0.03 * depth,
                (72 - 14 * depth, 56 - 12 * depth, 44 - 10 * depth),
            )
            for level in range(4):
                top = -0.12 + 0.14 * level + generator.uniform(-0.03, 0.03)
                half = 0.08 + 0.025 * level
                pen.polygon(
                    [(x - half, top + 0.2), (x + half, top + 0.2), (x, top - 0.05)],
                    mix(shade, (20, 50, 40), generator.uniform(0, 0.4)),
                )


def _mountains(pen, generator, horizon):
    for colour, height in (((132, 146, 178), 0.42), ((98, 110, 140), 0.28)):
        x = generator.uniform(-0.25, 0.0)
        while x < 1.1:
            peak, half = horizon - height * generator.uniform(0.6, 1), generator.uniform(0.2, 0.3)
            pen.polygon([(x - half, horizon + 0.01), (x, peak), (x + half, horizon + 0.01)], colour)
            pen.polygon(
                [(x, peak), (x + half, horizon + 0.01), (x + 0.25 * half, horizon + 0.01)],
                darker(colour, 0.18),
            )
            cap = 0.28
            rise = horizon - peak
            pen.polygon(
                [
                    (x - half * cap, peak + rise * cap),
                    (x, peak),
                    (x + half * cap, peak + rise * cap),
                    (x, peak + rise * cap * 0.65),
                ],
                (242, 246, 252),
            )
            x += generator.uniform(0.3, 0.45)


SCENE_BACKGROUNDS = {
    "beach": Background(
        ((92, 170, 228), (196, 230, 244)),
        ((232, 206, 150), (214, 178, 116)),
        (0.38, 0.5),
        _beach,
        (24, 24),
        0.1,
        frozenset({"yellow"}),
    ),
    "meadow": Background(
        ((106, 178, 236), (214, 236, 246)),
        ((116, 180, 76), (58, 128, 46)),
        (0.4, 0.54),
        _meadow,
        (26, 18),
        0.2,
        frozenset({"green"}),
    ),
    "night": Background(
        ((14, 16, 48), (48, 50, 104)),
        ((34, 44, 62), (16, 22, 38)),
        (0.62, 0.74),
        _night,
        (12, 12),
        0.15,
        frozenset({"black"}),
        False,
    ),
    "room": Background(
        ((206, 178, 160), (226, 202, 182)),
        ((172, 122, 80), (138, 92, 58)),
        (0.62, 0.72),
        _room,
        (5, 22),
        0.1,
        frozenset({"brown"}),
        False,
    ),
    "desert": Background(
        ((122, 186, 226), (246, 226, 186)),
        ((230, 160, 92), (204, 122, 62)),
        (0.38, 0.54),
        _desert,
        (8, 26),
        0.12,
        frozenset({"orange", "brown"}),
    ),
    "snow": Background(
        ((150, 180, 214), (222, 232, 244)),
        ((236, 242, 250), (206, 220, 240)),
        (0.42, 0.54),
        _snow,
        (8, 12),
        0.06,
        frozenset({"white"}),
    ),
    "sea": Background(
        ((112, 184, 236), (218, 238, 248)),
        ((40, 132, 182), (14, 74, 128)),
        (0.32, 0.48),
        _sea,
        (7, 34),
        0.22,
        frozenset({"blue"}),
    ),
    "city": Background(
        ((134, 168, 204), (222, 222, 220)),
        ((112, 112, 120), (78, 78, 88)),
        (0.54, 0.64),
        _city,
        (30, 30),
        0.12,
        frozenset({"black"}),
    ),
    "forest": Background(
        ((150, 186, 160), (92, 134, 100)),
        ((92, 96, 56), (58, 62, 36)),
        (0.56, 0.68),
        _forest,
        (20, 20),
        0.25,
        frozenset({"green"}),
        False,
    ),
    "mountains": Background(
        ((96, 156, 216), (226, 234, 244)),
        ((132, 152, 98), (86, 112, 70)),
        (0.52, 0.62),
        _mountains,
        (18, 18),
        0.18,
        frozenset(),
    ),
}


def smooth_field(generator, across, down, size):
    """Smooth random field, float32 (size, size), values about -1..1, the same at every size."""
    coarse = generator.uniform(-1, 1, (down, across)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))


def paint_background(name, mood, horizon, generator, size):
    """Paint one place.

    Parameters
    ----------
    name : str
        A key of `SCENE_BACKGROUNDS`.
    mood : str
        One of `MOODS`; indoors and at night it changes nothing.
    horizon : float
        Height of the horizon, fraction from the top.
    generator : numpy.random.Generator
        Source of the details.
    size : int
        Side in pixels.

    Returns
    -------
    array of shape (size, size, 3), float32
        Colours about 0..255.
    """
    place = SCENE_BACKGROUNDS[name]
    heights = ((np.arange(size, dtype=np.float32) + 0.5) / size)[:, None]
    sky, ground = (np.asarray(pair, np.float32) for pair in (place.sky, place.ground))
    if place.outdoors and mood == "sunset":
        sky = np.stack([sky[0] * 0.6 + np.float32([104, 42, 60]), sky[1] * 0.25 + np.float32([190, 104, 52])])
    if place.outdoors and mood == "cloudy":
        sky = sky * 0.25 + np.float32([[104, 110, 120], [146, 150, 156]])
    above = sky[0] + (sky[1] - sky[0]) * np.clip(heights / horizon, 0, 1)
    below = ground[0] + (ground[1] - ground[0]) * np.clip((heights - horizon) / (1 - horizon), 0, 1)
    edge = np.clip((heights - horizon) * size + 0.5, 0, 1)
    picture = np.repeat((above * (1 - edge) + below * edge)[:, None, :], size, axis=1)

    pen = Pen(size, centre=(0.0, 0.0), scale=1.0)
    place.details(pen, generator, horizon)
    layer = pen.layer()
    picture = picture * (1 - layer[..., 3:]) + layer[..., :3]

    grain = place.strength * smooth_field(generator, *place.grain, size) * (0.3 + 0.7 * edge)
    tone = 0.07 * smooth_field(generator, 4, 4, size)
    picture *= (1 + grain + tone)[..., None]
    if place.outdoors and mood == "sunset":
        picture *= np.float32([1.04, 0.9, 0.8])
    if place.outdoors and mood == "cloudy":
        picture = picture * 0.82 + picture.mean(axis=2, keepdims=True) * 0.08
    return picture
