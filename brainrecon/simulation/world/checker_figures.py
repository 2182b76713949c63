"""Figures on 10 x 10 cells, as the figure session of Miyawaki et al. (Neuron 2008) shows: shapes and letters.

A cell that is on is a flickering checker, one that is off is as grey as what surrounds the figure. Letters come in
three styles: strokes a cell wide ("thin"), the same drawn tall and narrow ("long"), and strokes two cells wide.
"""

import numpy as np
from scipy.ndimage import binary_dilation
from skimage.draw import line

SIDE = 10
RANDOM, GEOMETRIC, THIN, LONG, BOLD = 1, 2, 3, 4, 5
"""Kinds of pattern by the number that ``StimulusType`` has in the laboratory's files."""

_DOWN, _RIGHT = np.mgrid[:SIDE, :SIDE]
_V, _U = _DOWN - (SIDE - 1) / 2, _RIGHT - (SIDE - 1) / 2
_RING = np.maximum(abs(_U), abs(_V))  # 0.5 in the middle, 4.5 along the rim
_DIAMOND = abs(_U) + abs(_V)
_DISTANCE = np.hypot(_U, _V)

SHAPES = {
    "small frame": _RING == 2.5,
    "large frame": _RING == 4.5,
    "plus": (_RING < 4) & (np.minimum(abs(_U), abs(_V)) < 1),
    "X": (abs(abs(_U) - abs(_V)) < 0.5) & (_RING < 4),
    "square": _RING < 3,
    "disc": _DISTANCE < 4.2,
    "ring": (_DISTANCE > 2.7) & (_DISTANCE < 4.6),
    "diamond": _DIAMOND < 4.5,
    "outlined diamond": (_DIAMOND > 3.5) & (_DIAMOND < 5.5),
    "triangle": (abs(_U) < (_DOWN - 1) / 2) & (_DOWN > 1) & (_DOWN < 9),
    "rows": _DOWN // 2 % 2 == 0,
    "columns": _RIGHT // 2 % 2 == 1,
    "checkers": (_DOWN // 2 + _RIGHT // 2) % 2 == 0,
    "corner": ((_RIGHT < 3) | (_DOWN > 6)) & (_RIGHT > 0) & (_DOWN < 9),
    "arrow": ((_DIAMOND < 4.5) & (_V < 0)) | ((abs(_U) < 1) & (_V > 0) & (_V < 4)),
    "slope": abs(_DOWN - _RIGHT) < 2,
    "left half": _RIGHT < 5,
    "lower half": _DOWN > 4,
    "hourglass": abs(_V) >= abs(_U),
    "stairs": _RIGHT // 2 <= _DOWN // 2,
    "two frames": (_RING == 4.5) | (_RING == 1.5),
    "four corners": (abs(_U) > 2) & (abs(_V) > 2),
    "wide plus": (_RING < 4) & (np.minimum(abs(_U), abs(_V)) < 2),
    "rising slope": abs(_DOWN + _RIGHT - (SIDE - 1)) < 2,
    "turned triangle": (abs(_U) < (9 - _DOWN) / 2) & (_DOWN > 0) & (_DOWN < 9),
    "bow": abs(_U) >= abs(_V),
    "bar": (abs(_V) < 2) & (abs(_U) < 4),
    "upright bar": (abs(_U) < 2) & (abs(_V) < 4),
    "two bars": (abs(_V) > 2) & (abs(_V) < 4) & (abs(_U) < 4),
    "thick frame": (_RING > 2) & (_RING < 4),
}
"""Name -> cells, (10, 10) bool; no two alike."""

LETTERS = {
    "n": "0010 0002 1012",
    "e": "0212 0010 0111 0002",
    "u": "0002 0212 1012",
    "r": "0002 0010 1011 0111 0112",
    "o": "0010 1012 1202 0200",
    "a": "0002 0010 1012 0111",
    "c": "0010 0002 0212",
    "f": "0010 0002 0111",
    "h": "0002 1012 0111",
    "j": "1012 1202 0201",
    "l": "0002 0212",
    "p": "0002 0010 1011 0111",
    "s": "1000 0001 0111 1112 1202",
    "x": "0012 1002",
    "y": "0001 0111 1012",
    "z": "0010 1002 0212",
    "k": "0002 0110 0112",
}
"""Letter -> strokes; each is column and row of its start and its end, two columns (0, 1) and three rows (0, 1, 2)."""

# Style -> the rows and columns that a letter's strokes run along, and what the strokes grow by.
_STYLES = {
    THIN: ((1, 4, 8), (2, 7), None),
    LONG: ((0, 4, 9), (3, 6), None),
    BOLD: ((1, 4, 7), (1, 7), np.ones((2, 2), bool)),
}

MOST_FIGURES = 2 * min(len(SHAPES), len(LETTERS) * len(_STYLES))
"""Half of a session's figures are shapes."""


def draw_letter(letter, style):
    """Cells of a letter, (10, 10) bool.

    Parameters
    ----------
    letter : str
        A key of `LETTERS`.
    style : {THIN, LONG, BOLD}
    """
    rows, columns, growth = _STYLES[style]
    cells = np.zeros((SIDE, SIDE), bool)
    for stroke in LETTERS[letter].split():
        left, top, right, bottom = map(int, stroke)
        cells[line(rows[top], columns[left], rows[bottom], columns[right])] = True
    # Each cell grows down and to the right, which keeps a letter in the middle.
    return cells if growth is None else binary_dilation(cells, growth, origin=-1)


def draw_figures(n):
    """The first figures of a session: shapes, then letters in the three styles in turn.

    Parameters
    ----------
    n : int
        2 to `MOST_FIGURES`; of an odd number there is a shape more than letters.

    Returns
    -------
    cells : array of shape (n, 10, 10), uint8
        0 or 1, upright: row, column. No two are equal.
    kinds : array of shape (n,), int
        `GEOMETRIC`, `THIN`, `LONG` or `BOLD`.
    """
    shapes = list(SHAPES.values())[: n - n // 2]
    # There are 17 letters and 3 styles, so that counting through both meets every pair before one comes again.
    names, styles = list(LETTERS), list(_STYLES)
    pairs = [(names[k % len(names)], styles[k % len(styles)]) for k in range(n // 2)]
    cells = np.array(shapes + [draw_letter(*pair) for pair in pairs], dtype=np.uint8)
    return cells, np.array([GEOMETRIC] * len(shapes) + [style for _, style in pairs])
