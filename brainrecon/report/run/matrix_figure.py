"""The figure of regions by layers, as SVG text that goes straight into the page."""

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from brainrecon.report.drawing import FAINT, STYLE, svg_text
from brainrecon.report.run.feature_matrix import number
from brainrecon.report.run.figures import REFERENCE_COLOUR

_FAINTEST = 0.06
_WIDTH = 4.6  # inches: labels are read on a phone


def matrix_figure(matrix):
    """A heat map: a column for each target, a row for each region; the darker, the better it is decoded.

    Parameters
    ----------
    matrix : dict
        One of `brainrecon.report.run.feature_matrix.feature_matrices`.

    Returns
    -------
    svg : str
        An `<svg>` element that says its numbers in words to somebody who does not see it.
    """
    means, regions, targets = matrix["means"].T, matrix["regions"], matrix["targets"]
    low, high = np.nanmin(means), np.nanmax(means)
    with rc_context({**STYLE, "svg.hashsalt": f"brainrecon-matrix-{matrix['measure']}"}):
        longest = max(len(name) for name in targets)
        figure = Figure(figsize=(_WIDTH, 0.75 + 0.075 * longest + 0.28 * len(regions)), layout="constrained")
        axes, scale = figure.subplots(2, 1, height_ratios=[len(regions), 0.45])
        for row, _ in enumerate(regions):
            for column, _ in enumerate(targets):
                _draw(axes, column, row, 1, _strength(means[row, column], low, high))
        axes.set(xlim=(-0.5, len(targets) - 0.5), ylim=(len(regions) - 0.5, -0.5))
        axes.set_xticks(range(len(targets)), targets, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(regions)), regions)
        steps = 24
        for step in range(steps):
            _draw(scale, step, 0, 1, _strength(low + (high - low) * step / (steps - 1), low, high), edge=False)
        scale.set(xlim=(-0.5, steps - 0.5), ylim=(-0.5, 0.5), yticks=[])
        scale.set_xticks([0, steps - 1], [matrix["low"], matrix["high"]])
        for one in (axes, scale):
            one.tick_params(length=0)
            for side in one.spines.values():
                side.set_visible(False)
        return svg_text(figure, dpi=200, alternative=_in_words(matrix))


def _draw(axes, column, row, width, strength, edge=True):
    """A cell; of what was not scored only its border."""
    axes.add_patch(
        Rectangle(
            (column - width / 2, row - 0.5),
            width,
            1,
            facecolor=REFERENCE_COLOUR if strength is not None else "none",
            alpha=strength,
            linewidth=0,
        )
    )
    if edge:
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=FAINT, linewidth=0.8))


def _strength(value, low, high):
    """How dark, None if there is no score."""
    if not np.isfinite(value):
        return None
    share = float((value - low) / (high - low)) if high > low else 1.0
    return min(_FAINTEST + (1 - _FAINTEST) * share, 1.0)


def _in_words(matrix):
    """What the figure shows, for somebody who does not see it."""
    told = [
        f"{roi}: " + ", ".join(f"{target} {number(value)}" for target, value in zip(matrix["targets"], values))
        for roi, values in zip(matrix["regions"], matrix["means"].T)
    ]
    return f"Heat map of regions by targets, {matrix['label'][:1].lower()}{matrix['label'][1:]}. {'. '.join(told)}."
