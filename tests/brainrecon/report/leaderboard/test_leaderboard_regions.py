"""Regions beside one another: the same numbers as in the blocks, in the order of the plan, and what is missing said so."""

import re
from html import unescape

import numpy as np
import pytest
from study_of_scores import HEADLINE, put, rows_of, scores_of, spread

from brainrecon.report.leaderboard.collect import collect
from brainrecon.report.leaderboard.pages import as_html, as_markdown
from brainrecon.report.leaderboard.region_figure import region_figure
from brainrecon.report.leaderboard.regions import region_table, rows_of_regions

LEVELS = {"a": {"V1": 0.8, "V1 + V2": 0.85, "nsdgeneral": 0.9}, "b": {"V1": 0.7, "V1 + V2": 0.6}}
VOXELS = {"V1": 312, "V1 + V2": 500, "nsdgeneral": 1500}


@pytest.fixture
def study(tmp_path):
    """Two methods, of which one lacks a region, on two subjects; the second subject has ten voxels more."""
    for method, levels in LEVELS.items():
        for roi, level in levels.items():
            for row, subject in enumerate(("subj01", "subj02")):
                data = {"subject": subject, "roi": roi, "voxels": VOXELS[roi] + 10 * row}
                data |= {"noise_ceiling_percent": 30.0 + row} if roi == "V1" else {}
                scores = scores_of({"reconstruction": level + 0.02 * row, "shuffled_responses": 0.5}, data=data)
                put(tmp_path, method, subject, scores, roi=re.sub(r"[^\w.+-]+", "_", roi))
    (tmp_path / "benchmark.toml").write_text('rois = ["nsdgeneral", "V1", "hV4", "V1 + V2"]\n')
    return tmp_path


def board_of(folder):
    (board,) = collect(folder).boards
    return board


def test_a_row_per_region_of_the_plan_and_a_column_per_method(study):
    table = region_table(board_of(study))
    assert [row.label for row in table.rows] == ["nsdgeneral", "V1", "hV4", "V1 + V2"]
    assert [label for label, *_ in table.columns] == ["Region", "a", "b", "Voxels", "Noise ceiling"]
    cells = {row.label: [cell.value for cell in row.cells] for row in table.rows}
    assert cells["V1"] == ["81.0", "71.0", "312 to 322", "30.0 to 31.0"]
    assert cells["V1 + V2"] == ["86.0", "61.0", "500 to 510", "–"]


def test_what_was_not_scored_says_so(study):
    table = region_table(board_of(study))
    under = {row.label: [cell.under for cell in row.cells] for row in table.rows}
    assert under["nsdgeneral"][1] == "not scored" and "not scored" not in under["nsdgeneral"][0]
    assert under["hV4"][:2] == ["not scored", "not scored"] and [c.value for c in table.rows[2].cells] == ["–"] * 4


def test_scores_are_those_of_the_blocks_and_of_the_csv(study):
    board, table = board_of(study), region_table(board_of(study))
    blocks = {block.roi: {entry.method: entry for entry in block.entries} for block in board.blocks}
    listed = {
        (row["roi"], row["method"]): float(row["mean"])
        for row in rows_of(collect(study))
        if (row["subject"], row["condition"], row["metric"]) == ("all", "reconstruction", HEADLINE)
    }
    assert set(listed) == {(roi, method) for method, levels in LEVELS.items() for roi in levels}
    for row in table.rows:
        for method, cell in zip("ab", row.cells):
            entry = blocks.get(row.label, {}).get(method)
            if entry is not None:
                mean = entry.means["reconstruction"][HEADLINE]
                assert cell.value == f"{100 * mean.mean:.1f}" == f"{100 * listed[row.label, method]:.1f}"
                assert cell.under == f"{100 * mean.ci_low:.1f} to {100 * mean.ci_high:.1f}"


def test_fewer_subjects_than_elsewhere_are_counted(study):
    put(study, "c", "subj02", scores_of({"reconstruction": 0.7}, data={"roi": "V1"}), roi="V1")
    (cell,) = (row.cells[2] for row in region_table(board_of(study)).rows if row.label == "V1")
    assert cell.under.endswith("; 1 of 2 subjects")


def test_bold_only_where_the_runner_up_is_told_apart(tmp_path):
    noise = 0.2 * (-1.0) ** np.arange(10)
    for roi, apart in (("V1", 0.3), ("V2", 0.001)):
        put(tmp_path, "a", "subj01", scores_of({"reconstruction": 0.5 + apart + 0 * noise}, data={"roi": roi}), roi)
        put(tmp_path, "b", "subj01", scores_of({"reconstruction": 0.5 + noise}, data={"roi": roi}), roi)
    kinds = {row.label: [cell.kind for cell in row.cells[:2]] for row in region_table(board_of(tmp_path)).rows}
    assert kinds == {"V1": ["best", ""], "V2": ["", ""]}


def test_one_region_has_neither_table_nor_figure(tmp_path):
    put(tmp_path, "a", "subj01", scores_of({"reconstruction": 0.9}))
    board = board_of(tmp_path)
    assert rows_of_regions(board) == [] and region_table(board) is None and region_figure(board) == ""
    assert "Region by region" not in as_html(collect(tmp_path)) + as_markdown(collect(tmp_path))


def test_the_figure_has_a_dot_and_an_interval_per_score_and_says_them_in_words(study):
    board = board_of(study)
    svg = region_figure(board)
    assert svg == region_figure(board) and svg.count("<svg") == 1 and "hV4" not in svg
    words = unescape(re.search(r'<svg role="img" aria-label="([^"]*)"', svg)[1])
    assert "nsdgeneral: a 91.0 % (" in words and "b not scored" in words and words.endswith("Chance is 50.0 %.")
    # Only text that is drawn: the legend, and the voxels of each region.
    drawn = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"a", "b", "nsdgeneral", "312 to 322 voxels"} <= set(drawn)


def places(svg, colour):
    """Horizontal places of the markers of a colour, in the order they are drawn; the legend's is the last."""
    found = re.findall(r'<use [^>]*?x="([\d.]+)"[^>]*?style="fill: ([^;"]+)', svg)
    return [float(x) for x, fill in found if colour in fill][:-1]


def test_dots_lie_where_the_scores_are(study):
    svg = region_figure(board_of(study))
    found = np.array(places(svg, "#1f5a96"))
    expected = np.array([0.91, 0.81, 0.86])  # of method a, in the order of the plan
    slope, intercept = np.polyfit(expected, found, 1)
    assert slope > 0 and np.allclose(slope * expected + intercept, found, atol=0.01)
    other = np.array(places(svg, "#c2661a"))
    assert np.allclose(slope * np.array([0.71, 0.61]) + intercept, other, atol=0.01)


def test_the_page_has_the_figure_and_the_table_and_a_dark_screen_too(study):
    html, text = as_html(collect(study)), as_markdown(collect(study))
    assert html.count('<svg role="img"') == 1 and html.index("<svg") < html.index("Voxels")
    assert "prefers-color-scheme: dark" in html and "var(--ink" in html
    assert "| V1 | **81.0** (" in text and "| – (not scored) |" in text and "<svg" not in text
    assert "<svg" not in collect(study)._repr_html_() and "312 to 322" in collect(study)._repr_html_()


def test_many_methods_and_long_names_stay_within_the_figure(tmp_path):
    for number in range(9):
        for roi in ("V1", "a-region-with-a-name-that-is-rather-long + V2 + V3"):
            scores = scores_of({"reconstruction": spread(0.5 + number / 30)}, data={"roi": roi})
            put(tmp_path, f"method-with-a-long-name-{number}", "subj01", scores, re.sub(r"\W+", "_", roi))
    svg = region_figure(board_of(tmp_path))
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])
    for x in re.findall(r'<text style="[^"]*" x="([-\d.]+)"', svg):
        assert 0 <= float(x) <= width
    assert len(set(re.findall(r'<use [^>]*?xlink:href="(#[^"]+)"', svg))) >= 7
