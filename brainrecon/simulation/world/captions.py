"""Captions of drawn pictures: five each, in different words and detail, from a closed vocabulary."""

import string

from brainrecon.simulation.world.digits import DIGIT_WORDS, INKS
from brainrecon.simulation.world.scenes import PLACES, SCENE_COLOURS, SIZES
from brainrecon.simulation.world.shapes import SHAPES

N_CAPTIONS = 5

_WHERE = {
    "beach": ("on a beach", "at the beach", "on the sand by the water"),
    "meadow": ("in a meadow", "on green grass", "in a green meadow"),
    "night": ("at night", "under the night sky", "under the stars"),
    "room": ("in a room", "inside a room", "on a wooden floor"),
    "desert": ("in a desert", "in the desert", "on desert sand"),
    "snow": ("in the snow", "on a snowy field", "in deep snow"),
    "sea": ("at sea", "on the blue sea", "on the open sea"),
    "city": ("in a city", "on a city street", "in front of city buildings"),
    "forest": ("in a forest", "in the forest", "in front of dark trees"),
    "mountains": ("in the mountains", "in front of mountains", "below the mountains"),
}
_SETTING = {
    "beach": "a beach", "meadow": "a meadow", "night": "a night sky", "room": "a room", "desert": "a desert",
    "snow": "a field of snow", "sea": "the sea", "city": "a city", "forest": "a forest",
    "mountains": "mountains",
}  # fmt: skip
_MOOD = {"sunny": "on a sunny day", "cloudy": "under a cloudy sky", "sunset": "at sunset"}
_PLACE = {place: f"{'at' if 'top' in place or 'bottom' in place else 'on'} the {place}" for place in PLACES}
_PLACE["middle"] = "in the middle"

_SCENE_SHORT = ("a {colour} {name}", "one {colour} {name}", "picture of a {colour} {name}")
_SCENE_SIZED = ("a {size} {colour} {name} {where}", "there is a {size} {colour} {name} {where}")
_SCENE_PLACED = ("a {colour} {name} {place} {where}", "{place} a {colour} {name} {where}")
_SCENE_FULL = (
    "a {size} {colour} {name} {place} {where} {mood}",
    "a drawing of a {size} {colour} {name} {place} {where} {mood}",
)
_SCENE_SETTING = ("{setting} with a {colour} {name} {mood}", "{setting} and a {size} {colour} {name} {mood}")
_SECOND = ("and a {colour} {name} {place}", "with a {colour} {name} {place}")

_DIGIT = (
    ("a handwritten {digit}", "the number {digit}"),
    ("a handwritten {digit} in {ink} on {paper}", "a {digit} written by hand in {ink} on {paper}"),
    ("the digit {digit} written by hand", "somebody wrote the number {digit}"),
    ("a {stroke} {ink} {digit} on {paper}", "the digit {digit} with {stroke} {ink} strokes"),
    ("a {ink} handwritten {digit}", "a handwritten digit {digit} in {ink}"),
)
_PAPER = {"black": "black", "plain": "plain paper"}

_FIGURE = {
    "random": "random squares", "cross": "a cross", "frame": "a square frame", "diagonal": "a diagonal cross",
    "stripes": "stripes", "checkerboard": "a checkerboard", "disc": "a disc", "corner": "a corner square",
}  # fmt: skip
_PATTERN = (
    ("{figure} in {greys}", "a pattern of {figure}"),
    (
        "a {grain} checker pattern with {figure} in {greys}",
        "a {grain} pattern in {greys} that shows {figure}",
    ),
    ("a checker pattern of {figure} {tone}", "{figure} {tone} in a checker grid"),
    ("a grid of {n} by {n} squares that shows {figure}", "{figure} on a grid of {n} by {n} squares"),
    (
        "a {grain} pattern of {figure} {tone} in {greys}",
        "an abstract pattern of {figure} {tone} in {n} by {n} squares",
    ),
)
_GREYS = {"strong": "black and white", "weak": "shades of grey"}
_TONE = {
    "dark": "mostly dark", "mixed": "half dark and half bright", "bright": "mostly bright",
    "bright figure": "bright on dark", "dark figure": "dark on bright",
}  # fmt: skip
_CELLS = {6: "six", 8: "eight", 10: "ten"}
_GRAIN = {6: "coarse", 8: "coarse", 10: "fine"}


def _grammatical(caption: str) -> str:
    """Put "an" before a vowel."""
    words = caption.split()
    following = words[1:] + [""]
    return " ".join("an" if word == "a" and after[:1] in "aeiou" and after not in ("", "one") else word
                    for word, after in zip(words, following, strict=True))  # fmt: skip


def _pick(generator, choices):
    return choices[generator.integers(len(choices))]


def _thing_fields(thing):
    return {"colour": thing.colour, "name": thing.name, "size": thing.size, "place": _PLACE[thing.place]}


def caption_scene(scene, generator) -> tuple[str, ...]:
    """Describe a scene in `N_CAPTIONS` ways, short to long; the second thing is named in the last two."""
    mood = _MOOD[scene.mood] if scene.outdoors else ""
    captions = []
    for templates in (_SCENE_SHORT, _SCENE_SIZED, _SCENE_PLACED, _SCENE_SETTING, _SCENE_FULL):
        where = _pick(generator, _WHERE[scene.background])
        fields = _thing_fields(scene.main) | {
            "where": where,
            "setting": _SETTING[scene.background],
            "mood": mood,
        }
        caption = _pick(generator, templates).format(**fields)
        second = _pick(generator, _SECOND)
        if scene.second is not None and templates in (_SCENE_SETTING, _SCENE_FULL):
            if templates is _SCENE_FULL:
                caption = "a {size} {colour} {name} {place} {where}".format(**fields)
            caption = f"{caption} {second.format(**_thing_fields(scene.second))}"
        captions.append(_grammatical(caption))
    return tuple(captions)


def caption_digit(writing, generator) -> tuple[str, ...]:
    """Describe a handwritten digit in `N_CAPTIONS` ways."""
    fields = {
        "digit": DIGIT_WORDS[writing.digit],
        "ink": writing.ink,
        "paper": _PAPER[writing.paper],
        "stroke": writing.stroke,
    }
    return tuple(_grammatical(_pick(generator, templates).format(**fields)) for templates in _DIGIT)


def caption_pattern(pattern, generator) -> tuple[str, ...]:
    """Describe a checker pattern in `N_CAPTIONS` ways."""
    fields = {
        "figure": _FIGURE[pattern.figure],
        "greys": _GREYS[pattern.contrast],
        "tone": _TONE[pattern.tone],
        "n": _CELLS[pattern.cells],
        "grain": _GRAIN[pattern.cells],
    }
    return tuple(_grammatical(_pick(generator, templates).format(**fields)) for templates in _PATTERN)


def _words() -> tuple[str, ...]:
    templates = [*_SCENE_SHORT, *_SCENE_SIZED, *_SCENE_PLACED, *_SCENE_FULL, *_SCENE_SETTING, *_SECOND]
    templates += [template for group in (*_DIGIT, *_PATTERN) for template in group]
    literal = [text for template in templates for text, *_ in string.Formatter().parse(template)]
    tables = [_SETTING, _MOOD, _PLACE, _PAPER, _FIGURE, _GREYS, _TONE, _CELLS, _GRAIN]
    filled = [phrase for table in tables for phrase in table.values()]
    filled += [phrase for phrases in _WHERE.values() for phrase in phrases]
    names = [*SHAPES, *SCENE_COLOURS, *INKS, *SIZES, *DIGIT_WORDS, "thin", "thick", "a", "an"]
    return tuple(sorted({word for text in [*literal, *filled, *names] for word in text.split()}))


VOCABULARY = _words()
"""Every word a caption may use, sorted."""
