"""Scores per region as a figure: a dot per method with its interval, regions from top to bottom."""

import textwrap

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from brainrecon.report.drawing import INK, METHOD_COLOURS, METHOD_MARKERS, STYLE, scores_from_left_to_right, svg_text
from brainrecon.report.leaderboard.comparison import metric_phrase
from brainrecon.report.leaderboard.regions import NOT_SCORED, chance_of_board, methods_of, rows_of_regions, voxels_of
from brainrecon.report.names import interval_text, score_text

_WIDTH, _LETTERS = 5.6, 74  # inches, and how many letters of the legend stand beside one another in them
_LONGEST_LABEL = 18


def region_figure(board):
    """Scores of the metric that orders methods, region by region.

    Parameters
    ----------
    board : brainrecon.report.leaderboard.boards.Board

    Returns
    -------
    svg : str
        An `<svg>` element that says its numbers in words to somebody who does not see it; empty if fewer than two regions
        have scores.
    """
    rows = [(roi, block) for roi, block in rows_of_regions(board) if block]
    if len(rows) < 2:
        return ""
    spec, methods, chance = board.metrics[board.headline], methods_of(rows), chance_of_board(board)
    with rc_context({**STYLE, "svg.hashsalt": f"brainrecon-regions-{board.protocol.name}-{board.identity}"}):
        columns = max(1, min(len(methods), _LETTERS // (max(map(len, methods)) + 7)))
        per_region = 0.24 + 0.17 * len(methods)
        height = 0.5 + 0.2 * -(-len(methods) // columns) + per_region * len(rows)
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.add_subplot()
        if chance is not None:
            axes.axvline(chance, color="#9aa1ab", linewidth=1, linestyle=(0, (3, 3)), zorder=1)
        drawn = []
        for place, (_, block) in enumerate(rows):
            there = {entry.method: entry for entry in block.entries}
            for number, method in enumerate(methods):
                mean = _mean_of(there.get(method), board)
                if mean is not None:
                    _draw(axes, mean, place + _offset(number, len(methods)), number)
                    drawn.append([end for end in (mean.mean, mean.ci_low, mean.ci_high) if end is not None])
        axes.set_yticks(range(len(rows)), [_label(roi, block) for roi, block in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        for border in range(1, len(rows)):
            axes.axhline(border - 0.5, color="#d9dce1", linewidth=0.8, zorder=0)
        scores_from_left_to_right(axes, spec, [np.concatenate(drawn)])
        figure.legend(
            handles=[Line2D([], [], **_look(number), label=method) for number, method in enumerate(methods)],
            loc="outside upper left",
            ncols=columns,
            frameon=False,
            handletextpad=0.2,
            columnspacing=1.2,
            borderaxespad=0.2,
        )
        return svg_text(figure, dpi=200, alternative=_in_words(rows, methods, board, chance))


def _draw(axes, mean, height, number):
    """A dot and its interval."""
    if mean.ci_low is not None:
        ends, color = [mean.ci_low, mean.ci_high], METHOD_COLOURS[number % len(METHOD_COLOURS)]
        axes.plot(ends, [height, height], color=color, linewidth=2, solid_capstyle="butt", zorder=3)
    axes.plot([mean.mean], [height], zorder=4, **_look(number))


def _look(number):
    """How the dots of a method look."""
    return {
        "marker": METHOD_MARKERS[number % len(METHOD_MARKERS)],
        "color": METHOD_COLOURS[number % len(METHOD_COLOURS)],
        "markersize": 6.5,
        "markeredgecolor": INK,
        "markeredgewidth": 0.7,
        "linestyle": "none",
    }


def _offset(number, n_methods):
    """Where a method's line is within its region, in -0.5..0.5 from top to bottom."""
    return (number - (n_methods - 1) / 2) / (n_methods + 0.6)


def _label(roi, block):
    voxels = voxels_of(block)
    return textwrap.fill(roi, _LONGEST_LABEL) + (f"\n{voxels} voxels" if voxels else "")


def _mean_of(entry, board):
    return None if entry is None else entry.means[entry.reference].get(board.headline)


def _in_words(rows, methods, board, chance):
    """What the figure shows, for somebody who does not see it."""
    spec, told = board.metrics[board.headline], []
    for roi, block in rows:
        there = {entry.method: _mean_of(entry, board) for entry in block.entries}
        told.append(f"{roi}: " + ", ".join(f"{method} {_number(there.get(method), spec)}" for method in methods))
    note = "" if chance is None else f" Chance is {score_text(chance, spec.metric)}."
    return f"Dots with intervals, {metric_phrase(spec)} by region. {'. '.join(told)}.{note}"


def _number(mean, spec):
    if mean is None:
        return NOT_SCORED
    interval = "" if mean.ci_low is None else f" ({interval_text(mean, spec.metric)})"
    return score_text(mean.mean, spec.metric) + interval
