"""What the command line prints of a benchmark: short, and as wide as the screen."""

import re

import numpy as np
import pytest
from study_of_scores import put, scores_of, spread

from brainrecon.cli import console
from brainrecon.cli.boards import show_boards
from brainrecon.report.leaderboard.collect import collect
from brainrecon.report.names import mean_text


@pytest.fixture
def leaderboard(tmp_path):
    for method, level in (("brain-diffuser", 0.9), ("a-method-with-a-long-name", 0.8), ("mean-image", 0.5)):
        for subject in ("subj01", "subj02"):
            values = {
                "identification_evaluation": spread(level, 0.05),
                "pixcorr": -spread(level, 0.02),
                "identification_within_category": spread(level, 0.05),
            }
            put(tmp_path, method, subject, scores_of({"reconstruction": values, "shuffled_responses": 0.5}))
    return collect(tmp_path)


def test_a_board_is_a_row_per_score_and_a_sentence_per_method(leaderboard, capsys):
    show_boards(leaderboard)
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "nsdgeneral brain-diffuser a-method-with-a-long-name mean-image" in lines and "subjects 2 2 2" in lines
    assert any(line.startswith("PixCorr \N{MINUS SIGN}0.900") for line in lines)
    assert sum("above shuffled responses" in line for line in lines) == 2
    assert "|" not in out


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_board_fits_the_screen(leaderboard, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    show_boards(leaderboard)
    lines = capsys.readouterr().out.splitlines()
    assert width * 0.7 < max(map(len, lines)) <= width


LONG = ("brain-diffuser-with-another-decoder-and-without-its-captions", "x" * 90, "three plain words")


@pytest.mark.parametrize("width", [40, 60, 80])
def test_long_names_are_broken_and_numbers_are_not(tmp_path, capsys, monkeypatch, width):
    roi = "nsdgeneral minus early visual cortex and " + "V" * 70
    for number, method in enumerate(LONG):
        values = {"identification_evaluation": spread(0.8, 0.05), "pixcorr": -spread(0.1 * number, 0.02)}
        put(tmp_path, method, "subj01", scores_of({"reconstruction": values}, data={"roi": roi}))
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    board = collect(tmp_path)
    monkeypatch.setattr("brainrecon.cli.boards.tell", lambda sentence: None)
    show_boards(board)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert sum(map(len, re.findall("x{3,}", "\n".join(lines)))) == 90
    letters = "".join("".join(lines).split())
    assert all(part in letters for part in ("brain-diffuser", "captions", "three", "plain", "words"))
    for mean, metric in ((0.8, "identification_evaluation"), (-0.1, "pixcorr"), (-0.2, "pixcorr")):
        row = next(
            entry.means["reconstruction"][metric]
            for entry in board.boards[0].blocks[0].entries
            if abs(entry.means["reconstruction"][metric].mean - mean) < 1e-9
        )
        assert any(mean_text(row, board.boards[0].metrics[metric].metric) in line for line in lines)


@pytest.mark.parametrize("seed", range(20))
def test_no_number_and_no_word_is_lost_at_any_width(seed):
    draw = np.random.default_rng(seed)
    n_columns = int(draw.integers(1, 9))
    heads = ["score", *(" ".join(["word"] * draw.integers(1, 4)) + str(k) for k in range(n_columns))]
    rows = [
        [
            " ".join(["label"] * draw.integers(1, 12)),
            *(f"{draw.normal():.3f} ±{draw.uniform():.3f}" for _ in range(n_columns)),
        ]
        for _ in range(5)
    ]
    for width in (40, 60, 80, 200):
        lines = console.fitted(heads, rows, width)
        assert max(map(len, lines)) <= width
        together = " ".join(lines)
        assert all(cell in together for row in rows for cell in row[1:])
        n_blocks = lines.count("") + 1
        assert together.count("label") == n_blocks * sum(row[0].count("label") for row in rows)
        assert together.count("word") == sum(head.count("word") for head in heads)
