"""No cell is a formula, no two texts have one cell, and what is written is read again."""

import numpy as np
import pytest

from stages.ground.table_cells import text_cell, text_of

PIECES = ["=", "+", "-", "@", "\t", "\r", "'", "a", "1", ".", "e", "5", "|", " ", '"', "\n"]


def drawn(n=5000):
    draw = np.random.default_rng(0)
    return ["".join(PIECES[one] for one in draw.integers(len(PIECES), size=draw.integers(0, 6))) for _ in range(n)]


def test_no_cell_is_a_formula_unless_it_is_a_number():
    for text in drawn():
        cell = text_cell(text)
        if cell[:1] in tuple("=+-@\t\r"):
            assert cell == "" or np.isfinite(float(cell)) or not cell


def test_every_text_has_a_cell_of_its_own_and_comes_back():
    texts = set(drawn())
    assert len({text_cell(text) for text in texts}) == len(texts)
    assert all(text_of(text_cell(text)) == text for text in texts)


@pytest.mark.parametrize("number", ["1", "-1", "+2.5", "-1e-3", "nan", "-inf", "0"])
def test_numbers_stay_numbers(number):
    assert text_cell(number) == number == text_of(number)


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "@SUM(1)", "+1+1", "-2+3", "\t=1", "'=1", "''@a"])
def test_formulas_are_text(text):
    assert text_cell(text) == f"'{text}"
