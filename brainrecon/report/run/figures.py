"""Figures of a report, each as SVG text that goes straight into the page."""

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from brainrecon.report.drawing import (
    HALO,
    INK,
    STYLE,
    limits_of,
    percent_formatter,
    scores_from_left_to_right,
    svg_text,
)
from brainrecon.report.names import chance_of, condition_label

REFERENCE_COLOUR = "#1f5a96"
COLOURS = {
    "stage_one": "#c2661a",
    "shuffled_responses": "#7a7f87",
    "mean_response": "#80785a",
    "oracle_embeddings": "#3b8058",
}
OTHER_COLOUR = "#6f6a92"

# A shape per condition, so that a page printed in black still tells them apart.
REFERENCE_MARKER = "o"
MARKERS = {
    "stage_one": "s",
    "unrefined": "8",
    "binarised": "*",
    "shuffled_responses": "X",
    "mean_response": "v",
    "mean_picture": "d",
    "oracle_embeddings": "D",
    "nearest_training_picture": "^",
    "ridge_to_pixels": "P",
    "without_stage_one": "<",
    "without_image_context": ">",
    "without_text_context": "p",
    "prior_only": "H",
}
OTHER_MARKER = "h"

# As vectors every point costs about a hundred bytes of page; beyond this many they become one bitmap.
_MOST_VECTOR_POINTS = 1200

_LARGEST_DOT = 12  # in stimuli; a heap of more is no larger


def colour(name, reference):
    """The colour of a condition, the same in every figure."""
    return REFERENCE_COLOUR if name == reference else COLOURS.get(name, OTHER_COLOUR)


def marker(name, reference):
    """The shape of a condition's mean, the same in every figure."""
    return REFERENCE_MARKER if name == reference else MARKERS.get(name, OTHER_MARKER)


def distribution(scores, metric_name):
    """One metric, a line per condition: every stimulus a dot, the mean and its interval on top.

    Scores that are only right or wrong have no distribution worth drawing: there the mean and interval stand
    alone.

    Parameters
    ----------
    scores : brainrecon.evaluation.scores.scores.Scores
        Conditions are drawn from top to bottom in their order.
    metric_name : str
        One of its metrics.

    Returns
    -------
    svg : str
        An `<svg>` element without a header, scaled by the page.
    """
    spec = scores.metrics[metric_name]
    rows = [(name, one.scored(metric_name)[1]) for name, one in scores.conditions.items() if metric_name in one.values]
    binary = _only_right_or_wrong(spec, [values for _, values in rows])
    with rc_context({**STYLE, "svg.hashsalt": f"brainrecon-{metric_name}"}):
        figure = Figure(figsize=(5.6, 0.72 + 0.36 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        if (chance := chance_of(scores, spec)) is not None:
            axes.axvline(chance, color="#9aa1ab", linewidth=1, linestyle=(0, (3, 3)), zorder=1)
        n_points = sum(len(values) for _, values in rows)
        for height, (name, values) in enumerate(rows):
            shade = colour(name, scores.reference)
            if not binary:
                offsets = _spread(values)
                axes.scatter(
                    values,
                    height + 0.34 * offsets,
                    s=9,
                    color=shade,
                    alpha=0.38,
                    linewidths=0,
                    zorder=2,
                    rasterized=n_points > _MOST_VECTOR_POINTS,
                )
            row = scores.mean(name, metric_name)
            if row.ci_low is not None:
                axes.plot(
                    [row.ci_low, row.ci_high],
                    [height, height],
                    color=INK,
                    linewidth=2.4,
                    zorder=3,
                    path_effects=[withStroke(linewidth=4, foreground=HALO)],
                )
            axes.plot(
                [row.mean],
                [height],
                marker(name, scores.reference),
                markersize=8,
                markerfacecolor=shade,
                markeredgecolor=INK,
                markeredgewidth=0.8,
                zorder=4,
                path_effects=[withStroke(linewidth=2.4, foreground=HALO)],
            )
        axes.set_yticks(range(len(rows)), [condition_label(name) for name, _ in rows])
        for label, (name, _) in zip(axes.get_yticklabels(), rows, strict=True):
            if name == scores.reference:
                label.set_fontweight("bold")
        axes.set_ylim(len(rows) - 0.45, -0.55)
        scores_from_left_to_right(axes, spec, [values for _, values in rows])
        return svg_text(figure, dpi=200)


def curve(name, label, steps, values):
    """The course of one number in a training, over steps.

    Parameters
    ----------
    name : str
        What was trained: no two figures of a page have the same ids inside.
    label : str
    steps : sequence of int
    values : sequence of float
        None if there is none.

    Returns
    -------
    svg : str
        An `<svg>` element without a header.
    """
    with rc_context({**STYLE, "svg.hashsalt": f"brainrecon-course {name} {label}"}):
        figure = Figure(figsize=(3.4, 2.2), layout="constrained")
        axes = figure.subplots()
        axes.plot(
            steps, [np.nan if value is None else value for value in values], color=REFERENCE_COLOUR, linewidth=1.4
        )
        # A value's name stays as it is typed.
        title = label if "_" in label.split()[0] else label[:1].upper() + label[1:]
        axes.set_title(title, fontsize=9, color=INK)
        axes.set_xlabel("Step")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.grid(color="#eceef1", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        return svg_text(figure, dpi=200)


def against(scores, metric_name, others):
    """The reference condition against others: a panel per other condition, a dot per stimulus, the line of equality.

    Dots on one side of the line are stimuli that the reference scores better. Stimuli with the same two scores
    are one dot, larger the more they are.

    Parameters
    ----------
    scores : brainrecon.evaluation.scores.scores.Scores
    metric_name : str
        One of its metrics.
    others : sequence of str
        Conditions for the horizontal axes; those without stimuli in common with the reference are left out.

    Returns
    -------
    svg : str or None
        An `<svg>` element without a header; None if no panel is left, or where a stimulus is only right or
        wrong, so that all dots would fall on four places.
    """
    spec = scores.metrics[metric_name]
    pairs = {name: pair for name in others if (pair := _paired_values(scores, name, metric_name)) is not None}
    everything = [values for pair in pairs.values() for values in pair]
    if not pairs or _only_right_or_wrong(spec, everything):
        return None
    n_points = sum(len(own) for own, _ in pairs.values())
    limits = limits_of(spec, everything)
    with rc_context({**STYLE, "svg.hashsalt": f"brainrecon-against-{metric_name}"}):
        figure = Figure(figsize=(2.9 * len(pairs) + 0.5, 3.3), layout="compressed")
        for axes, (name, (own, other)) in zip(
            figure.subplots(1, len(pairs), squeeze=False, sharey=True)[0], pairs.items(), strict=True
        ):
            axes.plot(limits, limits, color=INK, linewidth=1, linestyle=(0, (4, 2)), zorder=1)
            places, counts = np.unique(np.column_stack([other, own]), axis=0, return_counts=True)
            # One call per size, so that all dots of a size share one shape in the file.
            for size in np.unique(np.minimum(counts, _LARGEST_DOT)):
                axes.scatter(
                    *places[np.minimum(counts, _LARGEST_DOT) == size].T,
                    s=16 * size,
                    color=REFERENCE_COLOUR,
                    alpha=0.5,
                    linewidths=0,
                    zorder=2,
                    rasterized=n_points > _MOST_VECTOR_POINTS,
                )
            axes.set_title(_tally(own, other, spec.metric.higher_is_better), fontsize=9, color="#5b626c")
            axes.set_xlabel(condition_label(name))
            axes.set(xlim=limits, ylim=limits, aspect="equal")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
                if spec.metric.percent:
                    axis.set_major_formatter(percent_formatter())
            axes.tick_params(length=0)
            axes.grid(color="#eceef1", linewidth=0.8)
            axes.set_axisbelow(True)
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
        figure.axes[0].set_ylabel(condition_label(scores.reference), fontweight="bold")
        return svg_text(figure, dpi=130)


def _paired_values(scores, name, metric_name):
    """Values of the reference and of another condition for the stimuli both have, or None if there are none."""
    if name == scores.reference or name not in scores.conditions:
        return None
    own, other = (scores.conditions[one].scored(metric_name) for one in (scores.reference, name))
    if own is None or other is None:
        return None
    _, rows, others = np.intersect1d(own[0], other[0], return_indices=True)
    if not len(rows):
        return None
    return own[1][rows], other[1][others]


def _tally(own, other, higher_is_better):
    """'better 41, equal 2, worse 17': on which side of the line the stimuli are."""
    higher, equal, lower = ((own > other).sum(), (own == other).sum(), (own < other).sum())
    better, worse = (higher, lower) if higher_is_better else (lower, higher)
    return f"better {better}, equal {equal}, worse {worse}"


def _only_right_or_wrong(spec, values):
    return spec.metric.percent and bool(np.isin(np.concatenate(values), (0.0, 1.0)).all())


def _spread(values):
    """Vertical offsets in -1..1 that separate close values: wide where many lie, the same every time."""
    order = np.argsort(values, kind="stable")
    low, high = values.min(), values.max()
    if high - low < 1e-6:  # equal but for rounding: too close to be cut into bins
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(values, bins=24, range=(low, high))
    width = np.sqrt(counts / max(counts.max(), 1))[np.clip(np.searchsorted(edges, values, "right") - 1, 0, 23)]
    sequence = np.empty(len(values))
    # Steps of the golden ratio are evenly spread over every stretch of neighbours.
    sequence[order] = np.modf(np.arange(len(values)) * 0.6180339887)[0]
    return (2 * sequence - 1) * width
