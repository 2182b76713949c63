"""Figures of a report, each as SVG text that goes straight into the page."""

import io
import re

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from brainrecon.report.names import condition_label

REFERENCE_COLOUR = "#1f5a96"
COLOURS = {"stage_one": "#c2661a", "shuffled_responses": "#7a7f87", "oracle_embeddings": "#3b8058"}
OTHER_COLOUR = "#6f6a92"
INK, FAINT = "#23272e", "#d9dce1"

# As vectors every point costs about a hundred bytes of page; beyond this many they become one bitmap.
_MOST_VECTOR_POINTS = 1200

_STYLE = {
    "svg.fonttype": "none",  # text stays text: small, selectable, in the page's own font
    "font.family": "sans-serif",
    "font.sans-serif": ["system-ui", "Segoe UI", "Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 9.5,
    "text.parse_math": False,  # names are names, also those with a dollar sign
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": "#5b626c",
    "ytick.color": INK,
}


def colour(name, reference):
    """The colour of a condition, the same in every figure."""
    return REFERENCE_COLOUR if name == reference else COLOURS.get(name, OTHER_COLOUR)


def distribution(scores, metric_name):
    """One metric, a line per condition: every stimulus a dot, the mean and its interval on top.

    Scores that are only right or wrong have no distribution worth drawing: there the mean and interval stand
    alone.

    Parameters
    ----------
    scores : brainrecon.evaluation.scores.Scores
        Conditions are drawn from top to bottom in their order.
    metric_name : str
        One of its metrics.

    Returns
    -------
    svg : str
        An `<svg>` element without a header, scaled by the page.
    """
    spec = scores.metrics[metric_name]
    rows = [(name, one.values[metric_name]) for name, one in scores.conditions.items() if metric_name in one.values]
    binary = spec.metric.takes == "labels"
    with rc_context({**_STYLE, "svg.hashsalt": f"brainrecon-{metric_name}"}):
        figure = Figure(figsize=(5.6, 0.72 + 0.36 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        if spec.metric.chance is not None:
            axes.axvline(spec.metric.chance, color="#9aa1ab", linewidth=1, linestyle=(0, (3, 3)), zorder=1)
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
                axes.plot([row.ci_low, row.ci_high], [height, height], color=INK, linewidth=2.4, zorder=3)
            axes.plot(
                [row.mean],
                [height],
                "o",
                markersize=6.5,
                markerfacecolor=shade,
                markeredgecolor="white" if not binary else INK,
                markeredgewidth=1.1,
                zorder=4,
            )
        axes.set_yticks(range(len(rows)), [condition_label(name) for name, _ in rows])
        for label, (name, _) in zip(axes.get_yticklabels(), rows, strict=True):
            if name == scores.reference:
                label.set_fontweight("bold")
        axes.set_ylim(len(rows) - 0.45, -0.55)
        axes.set_xlim(_limits(spec, rows, scores, binary))
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        if spec.metric.percent:
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
        axes.tick_params(length=0)
        axes.grid(axis="x", color="#eceef1", linewidth=0.8)
        axes.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        return _svg(figure, dpi=200)


def _limits(spec, rows, scores, binary):
    """Horizontal limits that hold every dot, and the chance level."""
    low, high = spec.metric.bounds
    if spec.metric.percent:
        return low - 0.02, high + 0.02
    points = np.concatenate([values for _, values in rows])
    lowest, highest = min(points.min(), 0.0), points.max()
    margin = 0.04 * max(highest - lowest, 1e-3)
    return max(low, lowest - margin) - margin / 4, min(high, highest + margin) + margin / 4


def _spread(values):
    """Vertical offsets in -1..1 that separate close values: wide where many lie, the same every time."""
    order = np.argsort(values, kind="stable")
    counts, edges = np.histogram(values, bins=24)
    width = np.sqrt(counts / max(counts.max(), 1))[np.clip(np.searchsorted(edges, values, "right") - 1, 0, 23)]
    sequence = np.empty(len(values))
    # Steps of the golden ratio are evenly spread over every stretch of neighbours.
    sequence[order] = np.modf(np.arange(len(values)) * 0.6180339887)[0]
    return (2 * sequence - 1) * width


def _svg(figure, dpi):
    """The figure as an `<svg>` element without XML header, document type, metadata or fixed size."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None}, dpi=dpi)
    svg = text.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    return re.sub(r' (?:width|height)="[0-9.]+pt"', "", svg, count=2)
