"""The things that stand in drawn scenes: one function each, painting around the origin with a `Pen`.

A thing reaches about from -1 to 1 in both directions (wide things a little further) and stands on y = 1.
Silhouettes are bold and different from each other, because a small network has to tell them apart at 64
pixels, and most of a thing's area carries its colour, because captions name it.
"""

import math

from brainrecon.simulation.world.pen import Pen, darker, lighter

WOOD, DARK, CREAM, GLASS = (112, 74, 44), (38, 36, 44), (250, 240, 205), (190, 226, 240)


def _around(radius, n, phase=0.0):
    return [
        (radius * math.sin(2 * math.pi * k / n + phase), -radius * math.cos(2 * math.pi * k / n + phase))
        for k in range(n)
    ]


def ball(pen: Pen, colour):
    pen.circle(0, 0, 1, colour)
    pen.blob(
        [
            (-0.2, -0.98),
            (0.25, -0.5),
            (0.38, 0),
            (0.25, 0.5),
            (-0.2, 0.98),
            (-0.1, 0.5),
            (-0.02, 0),
            (-0.1, -0.5),
        ],
        CREAM,
    )
    pen.blob([(-0.72, -0.68), (-0.6, 0), (-0.72, 0.68), (-0.94, 0.3), (-0.94, -0.3)], CREAM)


def house(pen: Pen, colour):
    pen.box(0.42, -0.95, 0.66, -0.2, darker(WOOD))
    pen.box(-0.8, -0.2, 0.8, 1, colour)
    pen.polygon([(-1.05, -0.12), (0, -1), (1.05, -0.12)], darker(colour, 0.5))
    pen.box(-0.18, 0.35, 0.2, 1, WOOD)
    pen.box(-0.62, 0.1, -0.32, 0.45, CREAM)
    pen.box(0.36, 0.1, 0.64, 0.45, CREAM)


def tree(pen: Pen, colour):
    pen.polygon([(-0.1, 0.1), (0.1, 0.1), (0.2, 1), (-0.2, 1)], WOOD)
    pen.circle(-0.45, -0.02, 0.42, darker(colour, 0.15))
    pen.circle(0.45, -0.02, 0.42, darker(colour, 0.2))
    pen.circle(0, -0.42, 0.58, colour)
    pen.circle(-0.2, -0.55, 0.26, lighter(colour, 0.18))
    pen.circle(0.05, 0.05, 0.3, darker(colour, 0.08))


def car(pen: Pen, colour):
    pen.polygon([(-0.75, 0.15), (-0.5, -0.42), (0.4, -0.42), (0.78, 0.15)], darker(colour, 0.15))
    pen.polygon([(-0.58, 0.12), (-0.4, -0.3), (-0.06, -0.3), (-0.06, 0.12)], GLASS)
    pen.polygon([(0.04, 0.12), (0.04, -0.3), (0.34, -0.3), (0.6, 0.12)], GLASS)
    pen.polygon([(-1.25, 0.7), (-1.2, 0.22), (-0.7, 0.1), (0.8, 0.1), (1.2, 0.3), (1.25, 0.7)], colour)
    for x in (-0.68, 0.7):
        pen.circle(x, 0.7, 0.3, DARK)
        pen.circle(x, 0.7, 0.13, (190, 190, 196))
    pen.circle(1.14, 0.38, 0.09, (255, 240, 160))


def boat(pen: Pen, colour):
    pen.box(-0.05, -1, 0.05, 0.5, WOOD)
    pen.polygon([(0.1, -0.95), (0.1, 0.35), (0.95, 0.35)], colour)
    pen.polygon([(-0.1, -0.7), (-0.1, 0.35), (-0.75, 0.35)], lighter(colour, 0.3))
    pen.polygon([(-1.15, 0.48), (1.15, 0.48), (0.75, 1), (-0.75, 1)], darker(colour, 0.3))
    pen.polygon([(-1.15, 0.48), (1.15, 0.48), (1.07, 0.6), (-1.07, 0.6)], CREAM)


def fish(pen: Pen, colour):
    pen.polygon([(-0.6, 0.1), (-1.25, -0.5), (-1.05, 0.1), (-1.25, 0.7)], darker(colour, 0.2))
    pen.polygon([(-0.3, -0.4), (0.15, -0.85), (0.45, -0.4)], darker(colour, 0.25))
    pen.blob([(-0.75, 0.1), (-0.1, -0.52), (0.7, -0.36), (1.15, 0.1), (0.7, 0.52), (-0.1, 0.7)], colour)
    pen.blob([(-0.1, -0.38), (0.05, 0.1), (-0.1, 0.56), (-0.25, 0.1)], lighter(colour, 0.5))
    pen.circle(0.75, -0.06, 0.15, (255, 255, 255))
    pen.circle(0.79, -0.06, 0.08, DARK)


def bird(pen: Pen, colour):
    pen.stroke((0, 0.6), (-0.05, 1), 0.08, DARK)
    pen.stroke((0.25, 0.6), (0.25, 1), 0.08, DARK)
    pen.polygon([(-0.5, 0.1), (-1.2, -0.25), (-1.1, 0.25), (-0.4, 0.5)], darker(colour, 0.3))
    pen.blob([(-0.7, 0.15), (0, -0.2), (0.6, 0.1), (0.5, 0.6), (0, 0.75), (-0.5, 0.55)], colour)
    pen.circle(0.5, -0.3, 0.42, colour)
    pen.polygon([(0.82, -0.45), (1.3, -0.25), (0.84, -0.12)], (246, 176, 40))
    pen.blob([(-0.6, 0.05), (0, 0.02), (0.25, 0.3), (-0.1, 0.5), (-0.55, 0.35)], darker(colour, 0.25))
    pen.circle(0.6, -0.38, 0.11, (255, 255, 255))
    pen.circle(0.62, -0.38, 0.065, DARK)


def cat(pen: Pen, colour):
    for side in (-1, 1):
        pen.polygon([(side * 0.88, 0.1), (side * 0.85, -1), (side * 0.15, -0.5)], colour)
        pen.polygon([(side * 0.74, -0.3), (side * 0.73, -0.75), (side * 0.38, -0.5)], (240, 168, 168))
    pen.ellipse(0, 0.2, 1, 0.8, colour)
    pen.ellipse(0, 0.55, 0.45, 0.32, lighter(colour, 0.6))
    for side in (-1, 1):
        pen.ellipse(side * 0.42, 0.05, 0.19, 0.22, (236, 236, 150))
        pen.ellipse(side * 0.42, 0.05, 0.07, 0.2, DARK)
        pen.stroke((side * 0.4, 0.5), (side * 1.15, 0.38), 0.05, (235, 235, 235))
        pen.stroke((side * 0.4, 0.58), (side * 1.12, 0.66), 0.05, (235, 235, 235))
    pen.polygon([(-0.13, 0.34), (0.13, 0.34), (0, 0.5)], (226, 110, 120))


def flower(pen: Pen, colour):
    pen.stroke((0, 0), (0, 1), 0.11, (58, 132, 56))
    pen.blob([(0, 0.85), (0.3, 0.5), (0.65, 0.5), (0.4, 0.8)], (70, 150, 66))
    pen.blob([(0, 0.95), (-0.3, 0.65), (-0.6, 0.62), (-0.38, 0.9)], (62, 138, 60))
    for x, y in _around(0.42, 6):
        pen.circle(x, y - 0.33, 0.29, colour)
    pen.circle(0, -0.33, 0.25, (252, 206, 70))


def mushroom(pen: Pen, colour):
    pen.blob([(-0.28, 0), (0.28, 0), (0.26, 0.5), (0.4, 0.95), (-0.4, 0.95), (-0.26, 0.5)], CREAM)
    pen.blob([(-1, 0.15), (-0.75, -0.55), (0, -0.95), (0.75, -0.55), (1, 0.15), (0, 0.22)], colour)
    for x, y, r in ((-0.5, -0.25, 0.15), (0.05, -0.6, 0.16), (0.5, -0.2, 0.18), (-0.02, -0.1, 0.11)):
        pen.circle(x, y, r, (255, 252, 240))


def cup(pen: Pen, colour):
    pen.ellipse(0.72, 0.1, 0.48, 0.5, darker(colour, 0.12))
    pen.ellipse(0.72, 0.1, 0.26, 0.28, None)
    pen.polygon([(-0.85, -0.55), (0.75, -0.55), (0.58, 0.92), (0.4, 1), (-0.5, 1), (-0.68, 0.92)], colour)
    pen.box(-0.76, -0.12, 0.67, 0.1, lighter(colour, 0.55))
    pen.ellipse(-0.05, -0.55, 0.8, 0.22, lighter(colour, 0.35))
    pen.ellipse(-0.05, -0.52, 0.66, 0.15, (84, 52, 34))


def lamp(pen: Pen, colour):
    pen.box(-0.07, 0, 0.07, 0.9, (92, 78, 66))
    pen.circle(0, 0.18, 0.26, (255, 244, 170))
    pen.blob([(-0.5, 1), (-0.4, 0.84), (0, 0.76), (0.4, 0.84), (0.5, 1), (0, 1.02)], (92, 78, 66))
    pen.polygon([(-0.42, -1), (0.42, -1), (0.9, 0.12), (-0.9, 0.12)], colour)
    pen.polygon([(-0.87, 0.04), (0.87, 0.04), (0.93, 0.2), (-0.93, 0.2)], (255, 240, 170))


def star(pen: Pen, colour):
    outer, inner = _around(1.05, 5), _around(0.46, 5, math.pi / 5)
    pen.polygon([point for pair in zip(outer, inner, strict=True) for point in pair], colour)
    for k in range(5):
        pen.polygon([(0, 0), outer[k], inner[k]], lighter(colour, 0.3))


def moon(pen: Pen, colour):
    pen.circle(0, 0, 1, colour)
    pen.circle(-0.68, -0.2, 0.13, darker(colour, 0.2))
    pen.circle(-0.42, 0.5, 0.16, darker(colour, 0.2))
    pen.circle(0.48, -0.12, 0.78, None)


def apple(pen: Pen, colour):
    pen.stroke((0, -0.45), (0.12, -0.95), 0.12, WOOD)
    pen.blob([(0.1, -0.62), (0.4, -0.98), (0.78, -0.9), (0.5, -0.6)], (84, 160, 62))
    pen.blob(
        [
            (0, -0.42),
            (0.5, -0.56),
            (0.92, -0.15),
            (0.82, 0.5),
            (0.4, 0.98),
            (0, 0.88),
            (-0.4, 0.98),
            (-0.82, 0.5),
            (-0.92, -0.15),
            (-0.5, -0.56),
        ],
        colour,
    )
    pen.ellipse(-0.5, -0.08, 0.13, 0.22, lighter(colour, 0.6))


def butterfly(pen: Pen, colour):
    for side in (-1, 1):
        pen.blob(
            [(0, -0.1), (side * 0.45, -0.85), (side * 1.1, -0.85), (side * 1.05, -0.2), (side * 0.5, 0.1)],
            colour,
        )
        pen.blob(
            [(0, 0), (side * 0.6, 0.1), (side * 0.9, 0.45), (side * 0.6, 0.9), (side * 0.2, 0.6)],
            darker(colour, 0.2),
        )
        pen.circle(side * 0.72, -0.5, 0.19, CREAM)
        pen.circle(side * 0.5, 0.45, 0.13, CREAM)
        pen.stroke((0, -0.5), (side * 0.3, -1), 0.06, DARK)
    pen.ellipse(0, 0.05, 0.11, 0.62, DARK)


def balloon(pen: Pen, colour):
    pen.stroke((0, 0.3), (0.06, 1), 0.05, (90, 84, 80))
    pen.polygon([(-0.13, 0.55), (0.13, 0.55), (0, 0.36)], darker(colour, 0.2))
    pen.blob(
        [(0, -1), (0.55, -0.8), (0.7, -0.3), (0.4, 0.2), (0, 0.45), (-0.4, 0.2), (-0.7, -0.3), (-0.55, -0.8)],
        colour,
    )
    pen.ellipse(-0.3, -0.55, 0.12, 0.2, lighter(colour, 0.65))


def umbrella(pen: Pen, colour):
    pen.box(-0.05, -0.95, 0.05, 0.8, WOOD)
    pen.blob(
        [
            (-0.05, 0.7),
            (0.05, 0.7),
            (0.1, 0.86),
            (0.24, 0.86),
            (0.3, 0.72),
            (0.4, 0.76),
            (0.3, 0.98),
            (0.08, 1),
            (-0.04, 0.88),
        ],
        WOOD,
    )
    pen.polygon(
        [(1.1 * math.cos(a), 0.05 + 0.95 * math.sin(a)) for a in [math.pi * (1 + k / 24) for k in range(25)]],
        colour,
    )
    pen.blob([(0, -0.9), (0.3, -0.45), (0.4, 0.05), (0, 0.08), (-0.4, 0.05), (-0.3, -0.45)], lighter(colour, 0.4))
    for x in (-0.75, 0, 0.75):
        pen.ellipse(x, 0.06, 0.36, 0.12, None)
    pen.box(-0.05, -0.08, 0.05, 0.8, WOOD)


def hat(pen: Pen, colour):
    pen.polygon([(-0.62, -0.75), (0.62, -0.75), (0.56, 0.7), (-0.56, 0.7)], colour)
    pen.ellipse(0, -0.75, 0.62, 0.14, lighter(colour, 0.2))
    pen.polygon([(-0.58, 0.3), (0.58, 0.3), (0.56, 0.66), (-0.56, 0.66)], CREAM)
    pen.ellipse(0, 0.76, 1.15, 0.23, darker(colour, 0.1))
    pen.polygon([(-0.57, 0.4), (0.57, 0.4), (0.56, 0.72), (-0.56, 0.72)], CREAM)


def clock(pen: Pen, colour):
    pen.polygon([(-0.75, 1), (-0.5, 0.6), (-0.3, 0.75), (-0.52, 1)], darker(colour, 0.3))
    pen.polygon([(0.75, 1), (0.5, 0.6), (0.3, 0.75), (0.52, 1)], darker(colour, 0.3))
    pen.circle(-0.55, -0.72, 0.28, darker(colour, 0.25))
    pen.circle(0.55, -0.72, 0.28, darker(colour, 0.25))
    pen.circle(0, 0, 0.92, colour)
    pen.circle(0, 0, 0.64, (252, 250, 240))
    pen.stroke((0, 0.05), (0, -0.5), 0.13, DARK)
    pen.stroke((-0.05, 0), (0.4, 0.2), 0.13, DARK)


def rocket(pen: Pen, colour):
    pen.blob([(-0.22, 0.7), (0.22, 0.7), (0.1, 0.95), (0, 1.1), (-0.1, 0.95)], (255, 170, 50))
    pen.polygon([(-0.3, 0.2), (-0.75, 0.85), (-0.25, 0.7)], darker(colour, 0.3))
    pen.polygon([(0.3, 0.2), (0.75, 0.85), (0.25, 0.7)], darker(colour, 0.3))
    pen.blob([(0, -1.05), (0.3, -0.6), (0.38, 0), (0.26, 0.72), (-0.26, 0.72), (-0.38, 0), (-0.3, -0.6)], colour)
    pen.blob([(0, -1.05), (0.25, -0.68), (0, -0.62), (-0.25, -0.68)], CREAM)
    pen.circle(0, -0.15, 0.21, darker(colour, 0.5))
    pen.circle(0, -0.15, 0.14, GLASS)


def cactus(pen: Pen, colour):
    side = darker(colour, 0.12)
    for sign, top, elbow in ((-1, -0.35, 0.2), (1, -0.6, -0.05)):
        pen.stroke((0, elbow), (sign * 0.66, elbow), 0.26, side)
        pen.stroke((sign * 0.66, elbow + 0.13), (sign * 0.66, top), 0.28, side)
        pen.circle(sign * 0.66, top, 0.14, side)
    pen.box(-0.24, -0.75, 0.24, 0.6, colour)
    pen.circle(0, -0.75, 0.24, colour)
    for x in (-0.1, 0.1):
        pen.box(x - 0.025, -0.8, x + 0.025, 0.6, lighter(colour, 0.45))
    pen.polygon([(-0.5, 0.5), (0.5, 0.5), (0.38, 1), (-0.38, 1)], (186, 98, 62))
    pen.box(-0.56, 0.46, 0.56, 0.62, (204, 116, 76))


def crown(pen: Pen, colour):
    pen.polygon([(-0.85, 0.8), (-1.05, -0.5), (-0.5, 0.1), (0, -0.8), (0.5, 0.1), (1.05, -0.5), (0.85, 0.8)], colour)
    pen.box(-0.86, 0.55, 0.86, 0.9, darker(colour, 0.25))
    for x, y in ((-1.05, -0.52), (0, -0.82), (1.05, -0.52)):
        pen.circle(x, y, 0.14, CREAM)
    for x in (-0.5, 0, 0.5):
        pen.circle(x, 0.72, 0.11, (120, 220, 230))


def bottle(pen: Pen, colour):
    pen.box(-0.16, -1, 0.16, -0.8, (176, 132, 88))
    pen.blob(
        [
            (-0.15, -0.82),
            (0.15, -0.82),
            (0.17, -0.4),
            (0.42, -0.1),
            (0.45, 0.3),
            (0.43, 0.95),
            (-0.43, 0.95),
            (-0.45, 0.3),
            (-0.42, -0.1),
            (-0.17, -0.4),
        ],
        colour,
    )
    pen.box(-0.45, 0.18, 0.45, 0.62, CREAM)
    pen.box(-0.32, -0.05, -0.2, 0.9, lighter(colour, 0.5))


SHAPES = {
    shape.__name__: shape
    for shape in (
        ball, house, tree, car, boat, fish, bird, cat, flower, mushroom, cup, lamp,
        star, moon, apple, butterfly, balloon, umbrella, hat, clock, rocket, cactus, crown, bottle,
    )
}  # fmt: skip

FLOATING = frozenset({"star", "moon", "butterfly", "balloon", "rocket"})
"""Things that hang in the air instead of standing on the ground."""
