"""A pen that paints plain shapes on a supersampled canvas.

Shapes are given in the coordinates of the thing being drawn (x to the right, y downwards, the thing about
two units tall around the origin) and carried to the canvas by a placement: centre, scale, tilt and
mirroring. Everything becomes polygons, so a placement treats all shapes alike and a picture has the same
content at every size.
"""

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

SUPERSAMPLING = 3

Colour = tuple[float, float, float]


def mix(first: Colour, second: Colour, amount: float) -> Colour:
    """Colour at `amount` (0..1) of the way from `first` to `second`."""
    return tuple(a + (b - a) * amount for a, b in zip(first, second, strict=True))


def lighter(colour: Colour, amount: float = 0.35) -> Colour:
    """`colour` mixed with white."""
    return mix(colour, (255, 255, 255), amount)


def darker(colour: Colour, amount: float = 0.35) -> Colour:
    """`colour` mixed with a blue-black, as shade is outdoors."""
    return mix(colour, (12, 10, 22), amount)


@lru_cache(maxsize=1024)
def _ellipse(x: float, y: float, radius_x: float, radius_y: float) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return np.stack([x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)], axis=1)


@lru_cache(maxsize=1024)
def _spline(points: tuple) -> np.ndarray:
    """Closed Catmull-Rom curve through `points`, six steps a segment."""
    p1 = np.asarray(points, float)
    p0, p2, p3 = np.roll(p1, 1, 0), np.roll(p1, -1, 0), np.roll(p1, -2, 0)
    t = np.linspace(0, 1, 6, endpoint=False)[None, :, None]
    p0, p1, p2, p3 = (p[:, None, :] for p in (p0, p1, p2, p3))
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    return curve.reshape(-1, 2)


class Pen:
    """Paints on a transparent square canvas.

    Parameters
    ----------
    size : int
        Side of the finished layer in pixels; drawing happens at `SUPERSAMPLING` times that.
    centre : (float, float)
        Where the origin of the drawing lies, as fractions of the side from the left and the top.
    scale : float
        Length of one drawing unit as a fraction of the side.
    tilt : float
        Clockwise rotation in degrees.
    mirror : bool
        Whether left and right change places.
    """

    def __init__(self, size, centre=(0.5, 0.5), scale=0.5, tilt=0.0, mirror=False):
        side = size * SUPERSAMPLING
        self._canvas = Image.new("RGBA", (side, side))
        self._draw = ImageDraw.Draw(self._canvas)
        angle = math.radians(tilt)
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        flip = np.diag([-1.0 if mirror else 1.0, 1.0])
        # Row vectors are multiplied from the right: turn the drawing, mirror it, enlarge it.
        self._matrix = turn @ flip * (scale * side)
        self._offset = np.asarray(centre, float) * side - 0.5
        self._numbers = (*self._matrix.ravel().tolist(), *self._offset.tolist())

    def polygon(self, points, colour: Colour | None):
        """Fill a polygon; `colour` None cuts a hole."""
        if isinstance(points, np.ndarray):
            corners = (points @ self._matrix + self._offset).ravel().tolist()
        else:  # a handful of corners is quicker without arrays
            xx, xy, yx, yy, left, top = self._numbers
            corners = [(x * xx + y * yx + left, x * xy + y * yy + top) for x, y in points]
        fill = (0, 0, 0, 0) if colour is None else (*(min(255, max(0, round(c))) for c in colour), 255)
        self._draw.polygon(corners, fill=fill)

    def ellipse(self, x, y, radius_x, radius_y, colour):
        """Fill an ellipse around (x, y)."""
        self.polygon(_ellipse(x, y, radius_x, radius_y), colour)

    def circle(self, x, y, radius, colour):
        """Fill a circle around (x, y)."""
        self.polygon(_ellipse(x, y, radius, radius), colour)

    def box(self, left, top, right, bottom, colour):
        """Fill an upright box."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def blob(self, points, colour):
        """Fill the smooth closed curve through `points`."""
        self.polygon(_spline(tuple(points)), colour)

    def stroke(self, start, end, width, colour):
        """Fill a straight bar of `width` from `start` to `end`."""
        (x0, y0), (x1, y1) = start, end
        half = width / 2 / math.hypot(x1 - x0, y1 - y0)
        dx, dy = (y0 - y1) * half, (x1 - x0) * half
        self.polygon([(x0 - dx, y0 - dy), (x1 - dx, y1 - dy), (x1 + dx, y1 + dy), (x0 + dx, y0 + dy)], colour)

    def layer(self) -> np.ndarray:
        """Finish the layer.

        Returns
        -------
        array of shape (size, size, 4), float32
            Red, green and blue times coverage in 0..255, and coverage in 0..1.
        """
        pixels = np.asarray(self._canvas.convert("RGBa").reduce(SUPERSAMPLING), np.float32)
        pixels[..., 3] /= 255
        return pixels
