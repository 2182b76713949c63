"""Scores by the number of sessions as a figure: a line for each way of learning, on a log scale, with intervals and floors.

Few methods share a panel; of many each has its own, small one.
"""

import io
import textwrap

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from brainrecon.report.drawing import INK, METHOD_COLOURS, METHOD_MARKERS, STYLE, percent_formatter, svg_text
from brainrecon.report.leaderboard.by_sessions import ALONE
from brainrecon.report.names import interval_text, score_text

_WIDTH, _HEIGHT = 4.4, 2.9  # inches of a panel, of which the page shows one beside the other, or below it on a phone
_SMALL_HEIGHT = 1.45  # of a method's own panel, of which two stand beside one another
_LETTERS = 58  # of the legend beside one another, and of a title
# Methods whose lines can be told apart in one panel.
_MOST_TOGETHER = 3
# Of two lines, as a share of the axis.
_APART, _SMALL_APART = 0.014, 0.035
_GREY, _BEHIND = "#9aa1ab", "#d9dce1"
_DASHES = {"others first": "-", "others together": (0, (1, 1.6)), ALONE: (0, (4, 2))}


def sessions_svg(lines, panels, sessions_label, salt):
    """A panel, or several beside one another, as an `<svg>` element of the page that says its numbers in words.

    Parameters
    ----------
    lines : list of brainrecon.report.leaderboard.by_sessions.Line
    panels : list of brainrecon.report.leaderboard.by_sessions.Panel
    sessions_label : str
        Of the axis.
    salt : str
        What tells this figure from others of the page.
    """
    with rc_context({**STYLE, "svg.hashsalt": f"brainrecon-sessions-{salt}"}):
        words = " ".join(_in_words(lines, panel) for panel in panels)
        return svg_text(_figure(lines, panels, sessions_label), dpi=200, alternative=words)


def sessions_file(lines, panels, sessions_label, salt):
    """The same as the text of an SVG file, in its own colours."""
    with rc_context({**STYLE, "svg.hashsalt": f"brainrecon-sessions-{salt}"}):
        text = io.StringIO()
        figure = _figure(lines, panels, sessions_label)
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        return text.getvalue()


def _figure(lines, panels, sessions_label):
    if len({line.group for line in lines}) > _MOST_TOGETHER:
        return _by_method(lines, panels, sessions_label)
    handles = _legend(lines, panels)
    columns = max(1, min(2, _LETTERS * len(panels) // (max(len(one.get_label()) for one in handles) + 6)))
    height = _HEIGHT + 0.19 * -(-len(handles) // columns)
    figure = Figure(figsize=(_WIDTH * len(panels), height), layout="constrained")
    for axes, panel in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels):
        seen = _draw(axes, lines, panel, _counts(lines))
        _scores_from_bottom_to_top(axes, panel, seen)
        axes.set_xlabel(sessions_label)
        axes.set_title(_title(panel), loc="left", fontsize=9.5, color=INK)
    _place_legend(figure, handles, columns)
    return figure


def _by_method(lines, panels, sessions_label):
    """A small panel for each method, with the others in grey behind it; all of one score have one pair of axes."""
    groups = {panel.name: _groups(lines, panel) for panel in panels}
    rows = -(-max(map(len, groups.values())) // 2)
    figure = Figure(figsize=(_WIDTH * len(panels), _SMALL_HEIGHT * rows + 1), layout="constrained")
    for part, panel in zip(np.atleast_1d(figure.subfigures(1, len(panels))), panels):
        part.suptitle(_title(panel), x=0.02, ha="left", fontsize=9.5, color=INK)
        part.supxlabel(sessions_label, fontsize=9.5, color=INK)
        grid = part.subplots(rows, 2, sharex=True, sharey=True, squeeze=False)
        own, seen = groups[panel.name], []
        for place, axes in enumerate(grid.flat):
            if place >= len(own):
                axes.set_visible(False)
                continue
            for line in (line for other in own if other is not own[place] for line in other):
                points = _points(line, panel)
                axes.plot([*points], [mean.mean for mean in points.values()], color=_BEHIND, linewidth=0.8, zorder=1)
            seen += _draw(axes, own[place], panel, _counts(lines), _SMALL_APART)
            axes.set_title(own[place][0].name, loc="left", fontsize=8.5, color=_colour(own[place][0]), pad=3)
            # Of the last panel of a column the axis stays, also above an empty place.
            axes.tick_params(labelbottom=place + 2 >= len(own))
        _scores_from_bottom_to_top(grid.flat[0], panel, seen)
        for axes in grid.flat:
            _plain(axes)
    _place_legend(figure, _legend_of_ways(lines, panels), 2 * len(panels))
    return figure


def _groups(lines, panel):
    """Lines of each method that has the score of a panel."""
    groups: dict = {}
    for line in lines:
        if _points(line, panel):
            groups.setdefault(line.group, []).append(line)
    return list(groups.values())


def _points(line, panel):
    """Means by the number of sessions."""
    return {count: mean for count, entry in line.entries.items() if (mean := panel.mean(entry)) is not None}


def _counts(lines):
    return sorted({count for line in lines for count in line.entries})


def _title(panel):
    return textwrap.fill(panel.label + ("" if panel.metric.higher_is_better else " (lower is better)"), _LETTERS)


def _draw(axes, lines, panel, counts, apart=_APART):
    """Draw lines, and return every height that the axis has to hold."""
    span = np.log(counts[-1] / counts[0])
    seen = [] if panel.chance is None else [panel.chance]
    if panel.chance is not None:
        axes.axhline(panel.chance, color=_GREY, linewidth=1, linestyle=(0, (3, 3)), zorder=1)
    for place, line in enumerate(lines):
        # Beside one another, so that intervals of one number of sessions can be told apart.
        aside = np.exp(apart * span * (place - (len(lines) - 1) / 2))
        points = _points(line, panel)
        places = [count * aside for count in points]
        axes.plot(places, [mean.mean for mean in points.values()], zorder=4, **_look(line))
        for x, mean in zip(places, points.values()):
            if mean.ci_low is not None:
                axes.plot([x, x], [mean.ci_low, mean.ci_high], color=_colour(line), linewidth=1.4, zorder=3)
                seen += [mean.ci_low, mean.ci_high]
            seen.append(mean.mean)
        floor = {count: mean for count, entry in line.entries.items() if (mean := panel.shuffled(entry)) is not None}
        heights = [mean.mean for mean in floor.values()]
        axes.plot([count * aside for count in floor], heights, **_floor(_colour(line)), zorder=2)
        seen += heights
    axes.set_xscale("log")
    axes.set_xticks(counts, list(map(str, counts)))
    axes.xaxis.set_minor_locator(NullLocator())
    margin = np.exp((0.06 + apart * (len(lines) - 1) / 2) * span)
    axes.set_xlim(counts[0] / margin, counts[-1] * margin)
    return seen


def _scores_from_bottom_to_top(axes, panel, seen):
    """An axis that holds every interval and floor, and no more of 0..1 than that."""
    low, high = panel.metric.bounds
    margin = 0.06 * max(max(seen) - min(seen), 0.05 if panel.metric.percent else 1e-3)
    axes.set_ylim(max(low - margin, min(seen) - margin), min(high + margin, max(seen) + margin))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    if panel.metric.percent:
        axes.yaxis.set_major_formatter(percent_formatter())
    _plain(axes)


def _plain(axes):
    axes.tick_params(length=0)
    axes.grid(axis="y", color="#eceef1", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _place_legend(figure, handles, columns):
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        handletextpad=0.5,
        columnspacing=1.2,
        borderaxespad=0.2,
        handlelength=2.4,
    )


def _legend_of_ways(lines, panels):
    """How lines of any method look; which it is stands above its panel."""
    ways = dict.fromkeys(line.way for line in lines)
    looks = {way: _look(next(line for line in lines if line.way == way)) for way in ways}
    grey = {"color": _GREY, "markeredgecolor": _GREY, "marker": "o"}
    handles = [
        Line2D([], [], label=way, **look | grey | {"markerfacecolor": "#ffffff" if way == ALONE else _GREY})
        for way, look in looks.items()
    ]
    return [*handles, *_floors(lines, panels)]


def _legend(lines, panels):
    there = [line for line in lines if any(panel.mean(one) for panel in panels for one in line.entries.values())]
    handles = [Line2D([], [], label=line.label, **_look(line)) for line in there]
    return [*handles, *_floors(lines, panels)]


def _floors(lines, panels):
    handles = []
    if any(panel.shuffled(entry) is not None for panel in panels for line in lines for entry in line.entries.values()):
        handles.append(Line2D([], [], label="shuffled responses", **_floor(_GREY)))
    if any(panel.chance is not None for panel in panels):
        handles.append(Line2D([], [], label="chance", color=_GREY, linewidth=1, linestyle=(0, (3, 3))))
    return handles


def _colour(line):
    return METHOD_COLOURS[line.group % len(METHOD_COLOURS)]


def _look(line):
    """Filled and whole with other subjects, hollow and dashed alone."""
    return {
        "marker": METHOD_MARKERS[line.group % len(METHOD_MARKERS)],
        "color": _colour(line),
        "markerfacecolor": "#ffffff" if line.way == ALONE else _colour(line),
        "markeredgecolor": _colour(line),
        "markersize": 6,
        "linewidth": 1.5,
        "linestyle": _DASHES[line.way],
    }


def _floor(colour):
    return {"marker": "x", "color": colour, "markersize": 4.5, "markeredgewidth": 1, "linestyle": "none", "alpha": 0.8}


def _in_words(lines, panel):
    """What a panel shows, for somebody who does not see it."""
    told = []
    for line in lines:
        means = ((count, panel.mean(entry)) for count, entry in line.entries.items())
        numbers = ", ".join(f"{count} sessions {_number(mean, panel)}" for count, mean in means if mean is not None)
        told.append(f"{line.label}: {numbers}.")
    note = "" if panel.chance is None else f" Chance is {score_text(panel.chance, panel.metric)}."
    return f"{panel.label} by the number of sessions. {' '.join(told)}{note}"


def _number(mean, panel):
    interval = "" if mean.ci_low is None else f" ({interval_text(mean, panel.metric)})"
    return score_text(mean.mean, panel.metric) + interval
