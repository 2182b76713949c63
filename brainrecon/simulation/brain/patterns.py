"""Binary checker patterns on a coarse grid, random or geometric, as in Miyawaki et al. (Neuron 2008)."""

from dataclasses import dataclass

import numpy as np

FIGURES = ("random", "cross", "frame", "diagonal", "stripes", "checkerboard", "disc", "corner")
CONTRASTS = ("strong", "weak")
TONES = ("dark", "mixed", "bright", "bright figure", "dark figure")

_SUPERSAMPLING = 4


@dataclass(frozen=True)
class Pattern:
    """What a checker picture shows."""

    figure: str
    """One of `FIGURES`."""
    contrast: str
    """One of `CONTRASTS`."""
    tone: str
    """One of `TONES`: what most cells of a random pattern are, or whether a figure is bright on dark."""
    cells: int
    """Cells along a side."""


def compose_pattern(generator) -> Pattern:
    """Choose a figure and how it is shown; half of all patterns are random."""
    figure = "random" if generator.random() < 0.5 else FIGURES[generator.integers(1, len(FIGURES))]
    tone = TONES[generator.integers(3)] if figure == "random" else TONES[3 + generator.integers(2)]
    cells = int((10, 10, 8, 6)[generator.integers(4)])
    contrast = CONTRASTS[0] if generator.random() < 0.6 else CONTRASTS[1]
    return Pattern(figure, contrast, tone, cells)


def _grid(pattern, generator):
    """Cells of the pattern, bool (cells, cells), True where bright."""
    n = pattern.cells
    row, column = np.mgrid[:n, :n]
    middle = (n - 1) / 2
    if pattern.figure == "random":
        return generator.random((n, n)) < {"dark": 0.28, "mixed": 0.5, "bright": 0.72}[pattern.tone]
    if pattern.figure == "cross":
        grid = (abs(row - middle) < 1.1) | (abs(column - middle) < 1.1)
    elif pattern.figure == "frame":
        ring = np.maximum(abs(row - middle), abs(column - middle))
        inner = generator.integers(1, n // 2 - 1) + 0.5
        grid = (ring >= inner) & (ring < inner + 1.2)
    elif pattern.figure == "diagonal":
        grid = (abs(row - column) < 1.1) | (abs(row + column - (n - 1)) < 1.1)
    elif pattern.figure == "stripes":
        grid = ((row if generator.random() < 0.5 else column) // 2) % 2 == 0
    elif pattern.figure == "checkerboard":
        grid = (row // 2 + column // 2) % 2 == 0
    elif pattern.figure == "disc":
        grid = np.hypot(row - middle, column - middle) < n * generator.uniform(0.28, 0.42)
    else:
        grid = (row < n // 2) & (column < n // 2)
        grid = np.rot90(grid, generator.integers(4))
    return ~grid if pattern.tone == "dark figure" else grid


def paint_pattern(pattern: Pattern, generator, size: int) -> np.ndarray:
    """Paint a composed pattern in greys, filling the picture or within a grey margin.

    Parameters
    ----------
    pattern : Pattern
        What it shows.
    generator : numpy.random.Generator
        Source of cells, greys and margin.
    size : int
        Side in pixels; the content is the same at every size.

    Returns
    -------
    array of shape (size, size, 3), uint8
    """
    grid = _grid(pattern, generator)
    half = generator.uniform(105, 127) if pattern.contrast == "strong" else generator.uniform(40, 65)
    margin = generator.uniform(0.06, 0.14) if generator.random() < 0.5 else 0.0
    fine = size * _SUPERSAMPLING
    places = (np.arange(fine) + 0.5) / fine
    cell = np.floor((places - margin) / (1 - 2 * margin) * pattern.cells).astype(int)
    inside = (cell >= 0) & (cell < pattern.cells)
    cell = np.clip(cell, 0, pattern.cells - 1)
    signs = np.where(grid, 1.0, -1.0).astype(np.float32)[cell][:, cell] * (inside[:, None] & inside)
    greys = 127.5 + half * signs.reshape(size, _SUPERSAMPLING, size, _SUPERSAMPLING).mean(axis=(1, 3))
    return np.repeat(np.clip(greys + 0.5, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
