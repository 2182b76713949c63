import numpy as np
import pytest
from scipy.ndimage import label

from brainrecon.simulation.world.checker_figures import (
    BOLD,
    GEOMETRIC,
    LETTERS,
    LONG,
    MOST_FIGURES,
    SHAPES,
    THIN,
    draw_figures,
    draw_letter,
)

STYLES = (THIN, LONG, BOLD)


def test_all_figures_differ_and_none_is_empty_or_full():
    cells, kinds = draw_figures(MOST_FIGURES)
    assert cells.shape == (MOST_FIGURES, 10, 10) and set(np.unique(cells)) == {0, 1}
    assert len({figure.tobytes() for figure in cells}) == MOST_FIGURES
    share = cells.mean(axis=(1, 2))
    assert 0.1 < share.min() and share.max() < 0.7


@pytest.mark.parametrize("n", (2, 3, 40, MOST_FIGURES))
def test_half_are_shapes_and_the_styles_of_letters_are_shared_out(n):
    cells, kinds = draw_figures(n)
    counts = [np.count_nonzero(kinds == style) for style in STYLES]
    assert len(cells) == n and np.count_nonzero(kinds == GEOMETRIC) == n - n // 2
    assert sum(counts) == n // 2 and max(counts) - min(counts) <= 1
    np.testing.assert_array_equal(cells[: n - n // 2], np.array(list(SHAPES.values())[: n - n // 2]))


@pytest.mark.parametrize("style", STYLES)
def test_letters_are_of_one_piece_and_differ(style):
    drawn = {letter: draw_letter(letter, style) for letter in LETTERS}
    assert len({cells.tobytes() for cells in drawn.values()}) == len(LETTERS)
    for cells in drawn.values():
        assert label(cells, np.ones((3, 3)))[1] == 1


def test_styles_are_thin_tall_and_bold():
    heights, strokes = {}, {}
    for style in STYLES:
        rows, columns = np.nonzero(draw_letter("o", style))
        heights[style] = np.ptp(rows) + 1, np.ptp(columns) + 1
        strokes[style] = draw_letter("l", style)[3].sum()
    assert heights == {THIN: (8, 6), LONG: (10, 4), BOLD: (8, 8)}
    assert strokes == {THIN: 1, LONG: 1, BOLD: 2}
