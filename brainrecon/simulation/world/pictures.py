"""The drawn world of the embedded default: scenes, handwritten digits and checker patterns, with captions.

A picture is a function of a seed and an index alone, so that any part of the world can be drawn anywhere,
in any order, and be the same. Nothing here needs more than numpy, pillow and the digits scikit-learn ships.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from brainrecon.simulation.brain.patterns import compose_pattern, paint_pattern
from brainrecon.simulation.world.backgrounds import SCENE_BACKGROUNDS
from brainrecon.simulation.world.captions import VOCABULARY, caption_digit, caption_pattern, caption_scene
from brainrecon.simulation.world.digits import DIGIT_WORDS, INKS, compose_digit, paint_digit
from brainrecon.simulation.world.scenes import PLACES, SCENE_COLOURS, compose_scene, paint_scene
from brainrecon.simulation.world.shapes import SHAPES
from stages.ground.errors import InputError
from stages.ground.progress import SILENT, Progress
from weights.suggestions import did_you_mean

__all__ = [
    "BACKGROUNDS", "CATEGORIES", "COLOURS", "DIGIT_WORDS", "KINDS", "LABELS", "PLACES", "VOCABULARY",
    "Picture", "draw_picture", "draw_pictures", "kind_of",
]  # fmt: skip

KINDS = ("scene", "digit", "pattern")
"""The kinds of pictures."""
CATEGORIES = tuple(SHAPES)
"""Names of the things in scenes."""
LABELS = (*CATEGORIES, "digit", "pattern")
"""Everything `Picture.category` may be."""
COLOURS = (*SCENE_COLOURS, "grey")
"""Everything `Picture.colour` may be; patterns are grey."""
BACKGROUNDS = (*SCENE_BACKGROUNDS, "black", "plain", "grey")
"""Everything `Picture.background` may be; black and plain are behind digits, grey behind patterns."""

_SHARES = (0.7, 0.15, 0.15)

if not set(INKS) <= set(COLOURS):
    raise RuntimeError("an ink is not among the colours of the world")


@dataclass(frozen=True)
class Picture:
    """One picture of the drawn world and everything known about it."""

    image: np.ndarray
    """uint8 (size, size, 3)."""
    captions: tuple[str, ...]
    """Five descriptions in plain lower-case words, from short to long."""
    kind: str
    """One of `KINDS`."""
    category: str
    """One of `LABELS`: the main thing of a scene, "digit" or "pattern"."""
    colour: str
    """One of `COLOURS`: of the main thing, or the ink."""
    background: str
    """One of `BACKGROUNDS`."""
    digit: int
    """0 to 9, or -1 if there is none."""
    place: str
    """One of `PLACES`: where the main thing is."""
    layout: str
    """What the picture shows, in one line; pictures with equal layouts may carry equal captions.

    A digit's ends with the number of its handwriting specimen, which no caption tells.
    """
    categories: tuple[str, ...] | None = None
    """All that is in a photograph, the largest first; of a drawn picture, `category` says it."""


def _draw_scene(generator, light, size):
    scene = compose_scene(generator)
    captions = caption_scene(scene, generator)
    main, second = scene.main, scene.second
    layout = [
        main.name,
        main.colour,
        main.size,
        main.place,
        scene.background,
        scene.mood if scene.outdoors else "",
    ]
    layout += [second.name, second.colour, second.place] if second is not None else []
    image = paint_scene(scene, generator, light, size)
    return Picture(image, captions, "scene", main.name, main.colour, scene.background, -1, main.place, "/".join(layout))


def _draw_digit(generator, light, size):
    writing = compose_digit(generator)
    captions = caption_digit(writing, generator)
    layout = f"digit/{writing.digit}/{writing.ink}/{writing.paper}/{writing.stroke}/{writing.specimen}"
    image = paint_digit(writing, generator, size)
    return Picture(image, captions, "digit", "digit", writing.ink, writing.paper, writing.digit, "middle", layout)


def _draw_pattern(generator, light, size):
    pattern = compose_pattern(generator)
    captions = caption_pattern(pattern, generator)
    layout = f"pattern/{pattern.figure}/{pattern.contrast}/{pattern.tone}/{pattern.cells}"
    image = paint_pattern(pattern, generator, size)
    return Picture(image, captions, "pattern", "pattern", "grey", "grey", -1, "middle", layout)


_DRAWERS = {"scene": _draw_scene, "digit": _draw_digit, "pattern": _draw_pattern}


def kind_of(seed: int, index: int) -> str:
    """The kind of a picture that nobody asked to be of another, one of `KINDS`; nothing is drawn to find out.

    >>> [kind_of(0, index) for index in range(4)]
    ['scene', 'pattern', 'scene', 'pattern']
    """
    return KINDS[np.random.default_rng([seed, index]).choice(len(KINDS), p=_SHARES)]


def draw_picture(seed: int, index: int, kind: str | None = None, size: int = 64, light: int = 0) -> Picture:
    """Draw one picture.

    Parameters
    ----------
    seed : int
        Which world, 0 or more. Different seeds share nothing but the digits' specimens.
    index : int
        Which picture of it, 0 or more.
    kind : {"scene", "digit", "pattern"}, optional
        Without it the index decides: seven in ten are scenes, the rest digits and patterns in equal parts.
    size : int
        Side in pixels, at least 8. The content does not depend on it.
    light : int
        Under which light and shade a scene is seen, 0 or more; everything else stays. Digits and patterns have
        no light.

    Returns
    -------
    Picture

    Raises
    ------
    InputError
        When `seed`, `index` or `light` is negative, `size` is below 8 or `kind` is not one of `KINDS`.
    """
    if min(seed, index, light) < 0:
        raise InputError(
            f"Seed {seed}, index {index} and light {light} were asked for, but none can be negative; pass 0 or more."
        )
    if size < 8:
        raise InputError(
            f"A picture of {size} pixels was asked for, but the world is drawn at 8 or more; pass size=64."
        )
    if kind is None:
        kind = kind_of(seed, index)
    if kind not in KINDS:
        meant = did_you_mean(kind, KINDS)
        raise InputError(f"There is no kind of picture called {kind!r}; pass one of {', '.join(KINDS)}{meant}.")
    key = [seed, index, KINDS.index(kind) + 1]
    return _DRAWERS[kind](np.random.default_rng(key), np.random.default_rng([*key, light + 1]), size)


def draw_pictures(
    seed: int,
    indices: Sequence[int],
    kind: str | None = None,
    size: int = 64,
    light: int = 0,
    progress: Progress = SILENT,
) -> list[Picture]:
    """Draw several pictures; each is what `draw_picture` draws, in the order of `indices`.

    Parameters
    ----------
    seed, kind, size, light
        As for `draw_picture`.
    indices : sequence of int
        Which pictures.
    progress : callable, optional
        Called as `progress(label, done, total)`.

    Returns
    -------
    list of Picture, one per index
    """
    pictures = []
    for index in indices:
        pictures.append(draw_picture(seed, int(index), kind, size, light))
        progress("drawing pictures", len(pictures), len(indices))
    return pictures
