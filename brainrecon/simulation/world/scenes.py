"""Drawn scenes: one or two things in a place, under light from one side."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from brainrecon.simulation.world.backgrounds import MOODS, SCENE_BACKGROUNDS, paint_background, smooth_field
from brainrecon.simulation.world.pen import Pen
from brainrecon.simulation.world.shapes import FLOATING, SHAPES

SCENE_COLOURS = {
    "red": (214, 40, 40), "orange": (244, 128, 28), "yellow": (248, 210, 42), "green": (52, 160, 62),
    "blue": (38, 92, 210), "purple": (130, 58, 170), "pink": (244, 128, 178), "white": (242, 242, 240),
    "black": (44, 44, 52), "brown": (134, 82, 46),
}  # fmt: skip

PLACES = (
    "top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom", "bottom right",
)  # fmt: skip
SIZES = ("small", "large")

_SHADE = (0.3, 0.75)  # how deep the shade is, least and most


@dataclass(frozen=True)
class Thing:
    """One thing of a scene, in fractions of the picture's side."""

    name: str
    colour: str
    x: float
    y: float
    height: float
    tilt: float
    mirror: bool
    tint: tuple[float, float, float]
    """Factors of red, green and blue, so that no two reds are the same."""

    @property
    def size(self) -> str:
        """Its size in words."""
        return "large" if self.height >= 0.5 else "small"

    @property
    def place(self) -> str:
        """One of `PLACES`."""
        across = "left" if self.x < 0.42 else "right" if self.x > 0.58 else ""
        down = "top" if self.y < 0.4 else "bottom" if self.y > 0.66 else ""
        return f"{down} {across}".strip() or "middle"


@dataclass(frozen=True)
class Scene:
    """What a drawn scene shows; everything a caption may say."""

    main: Thing
    second: Thing | None
    background: str
    mood: str
    horizon: float
    light: str
    """"left" or "right"."""

    @property
    def outdoors(self) -> bool:
        """Whether the mood can be seen."""
        return SCENE_BACKGROUNDS[self.background].outdoors


def _colour(generator, background):
    allowed = [colour for colour in SCENE_COLOURS if colour not in SCENE_BACKGROUNDS[background].clashing]
    return allowed[generator.integers(len(allowed))]


def _thing(generator, name, background, x, height, horizon):
    if name in FLOATING:
        y = generator.uniform(0.08 + height / 2, max(0.12 + height / 2, 0.62 - height / 4))
    else:
        foot = generator.uniform(max(0.7, horizon + 0.12, height + 0.06), 0.95)
        y = foot - height / 2
    return Thing(
        name=name,
        colour=_colour(generator, background),
        x=x,
        y=y,
        height=height,
        tilt=generator.uniform(-9, 9) * (1.6 if name in FLOATING else 0.7),
        mirror=bool(generator.random() < 0.5),
        tint=tuple(generator.uniform(0.9, 1.08, 3)),
    )


def compose_scene(generator) -> Scene:
    """Choose a scene: what, where, how large, in which light."""
    names, backgrounds = list(SHAPES), list(SCENE_BACKGROUNDS)
    background = backgrounds[generator.integers(len(backgrounds))]
    horizon = generator.uniform(*SCENE_BACKGROUNDS[background].horizon)
    name = names[generator.integers(len(names))]
    height = generator.uniform(0.5, 0.7) if generator.random() < 0.65 else generator.uniform(0.34, 0.46)
    x = (0.5, 0.31, 0.69)[generator.integers(3)] + generator.uniform(-0.05, 0.05)
    x = float(np.clip(x, 0.56 * height, 1 - 0.56 * height))
    main = _thing(generator, name, background, x, height, horizon)
    second = None
    if generator.random() < 0.35:
        other = names[(names.index(name) + generator.integers(1, len(names))) % len(names)]
        aside = x + (1 if x < generator.uniform(0.35, 0.65) else -1) * generator.uniform(0.3, 0.42)
        second = _thing(
            generator,
            other,
            background,
            float(np.clip(aside, 0.1, 0.9)),
            height * generator.uniform(0.45, 0.6),
            horizon,
        )
    mood = MOODS[generator.choice(len(MOODS), p=(0.6, 0.2, 0.2))]
    return Scene(main, second, background, mood, horizon, ("left", "right")[generator.integers(2)])


def _put(picture, thing, light, size):
    """Paint a shaded thing and its shadow into the picture, in place."""
    pen = Pen(size, (thing.x, thing.y), thing.height / 2, thing.tilt, thing.mirror)
    SHAPES[thing.name](pen, tuple(c * t for c, t in zip(SCENE_COLOURS[thing.colour], thing.tint, strict=True)))
    layer = pen.layer()
    cover = layer[..., 3]
    side = -1.0 if light == "left" else 1.0

    # The slope of the blurred outline stands in for the surface's: bright towards the light, dark away.
    mask = Image.fromarray((cover * 255).astype(np.uint8))
    relief = np.asarray(mask.filter(ImageFilter.GaussianBlur(0.14 * thing.height * size)), np.float32) / 255
    down, across = np.gradient(relief)
    slope = (down * 0.8 - side * across) * (thing.height * size)
    shade = 1 + np.clip(0.42 * slope, -0.4, 0.34)

    coordinates = (np.arange(size, dtype=np.float32) + 0.5) / size
    if thing.name not in FLOATING:
        foot = thing.y + thing.height / 2
        wide, flat = thing.height * 0.52, thing.height * 0.09
        across = (coordinates[None, :] - thing.x + side * thing.height * 0.2) / wide
        down = (coordinates[:, None] - foot + 0.01) / flat
        picture *= (1 - 0.5 * np.exp(-((across**2 + down**2) ** 1.5)))[..., None]
    picture *= 1 - cover[..., None]
    picture += layer[..., :3] * shade[..., None]


def _light_and_shade(generator, size):
    """Broad light and shade, as clouds, trees and lamps cast them: factors, float32 (size, size), mean about one.

    No caption tells it and nothing in the scene does, so that the layout of a picture is more than its meaning.
    """
    coordinates = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    direction = generator.uniform(0, 2 * np.pi)
    slope = np.cos(direction) * coordinates[None, :] + np.sin(direction) * coordinates[:, None]
    patches = smooth_field(generator, 3, 3, size)
    depth = generator.uniform(*_SHADE)
    return np.exp(depth * (1.6 * slope + 0.9 * patches) - 0.4 * depth**2)


def paint_scene(scene: Scene, generator, light, size: int) -> np.ndarray:
    """Paint a composed scene.

    Parameters
    ----------
    scene : Scene
        What it shows.
    generator : numpy.random.Generator
        Source of the background's details.
    light : numpy.random.Generator
        Source of the broad light and shade over the picture.
    size : int
        Side in pixels; the content is the same at every size.

    Returns
    -------
    array of shape (size, size, 3), uint8
    """
    picture = paint_background(scene.background, scene.mood, scene.horizon, generator, size)
    if scene.second is not None:
        _put(picture, scene.second, scene.light, size)
    _put(picture, scene.main, scene.light, size)
    if scene.outdoors and scene.mood == "sunset":
        picture *= np.float32([1.03, 0.95, 0.88])
    coordinates = (np.arange(size, dtype=np.float32) + 0.5) / size
    side = coordinates if scene.light == "right" else 1 - coordinates
    picture *= (0.92 + 0.14 * side)[None, :, None]
    shade = _light_and_shade(light, size)
    # What lies in shade is a little bluer, as under an open sky.
    picture *= shade[..., None] ** np.float32([1.06, 1.0, 0.9])
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)
