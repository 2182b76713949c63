"""What the figures of all pages have in common: style, axes, and the SVG text that goes straight into a page."""

import io
import re
from html import escape

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.ticker import FuncFormatter, MaxNLocator

INK, FAINT = "#23272e", "#d9dce1"

# Legible on white and on a dark screen. Shapes change with every method and colours with a period of their own, so that
# 42 methods differ, and neighbours in both.
METHOD_COLOURS = ("#1f5a96", "#c2661a", "#3b8058", "#8f62b3", "#b8474a", "#80785a")
METHOD_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# Drawn on white; in the page each is a colour of its style sheet, which has another one for a dark screen.
_OF_THE_PAGE = {
    "#ffffff": "page",
    "#23272e": "ink",
    "#5b626c": "soft",
    "#d9dce1": "line",
    "#eceef1": "faint",
    "#9aa1ab": "grey",
    "#1f5a96": "blue",
}

HALO = "white"  # around mean and interval, to keep them apart from a thousand dots

STYLE = {
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


def percent_formatter():
    """Labels of an axis on which shares stand: "50 %"."""
    return FuncFormatter(lambda value, _: f"{100 * value:.0f} %")


def limits_of(spec, values):
    """Limits of an axis that hold every dot and zero: all of 0..1 for percentages."""
    low, high = spec.metric.bounds
    if spec.metric.percent:
        return low - 0.02, high + 0.02
    points = np.concatenate(values)
    lowest, highest = min(points.min(), 0.0), points.max()
    margin = 0.04 * max(highest - lowest, 1e-3)
    return max(low, lowest - margin) - margin / 4, min(high, highest + margin) + margin / 4


def scores_from_left_to_right(axes, spec, values):
    """Have scores of a metric, `values` as `limits_of` takes them, along the only axis that is drawn."""
    axes.set_xlim(limits_of(spec, values))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    if spec.metric.percent:
        axes.xaxis.set_major_formatter(percent_formatter())
    axes.tick_params(length=0)
    axes.grid(axis="x", color="#eceef1", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def svg_text(figure, dpi, alternative=""):
    """The figure as an `<svg>` element without XML header, document type, metadata, fixed size or ids of groups.

    Groups are numbered alike in every figure, and a page may hold an id only once.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    dpi : int
        Of its bitmaps.
    alternative : str
        What is read to somebody who does not see it; without one, the texts in it are.

    Returns
    -------
    svg : str
    """
    _lay_out(figure)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None}, dpi=dpi)
    svg = text.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r' (?:width|height)="[0-9.]+pt"', "", svg, count=2)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    if alternative:
        svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(alternative)}"', 1)
    return re.sub(r"(?<=: )#[0-9a-f]{6}\b", lambda found: _page_colour(found[0]), svg)


def _lay_out(figure):
    """Do what its layout engine does, and let go of it: otherwise matplotlib draws and lays out everything twice."""
    engine = figure.get_layout_engine()
    if engine is not None:
        FigureCanvasSVG(figure)
        # Texts are as wide as in the file, whose unit is a point.
        figure.dpi = FigureCanvasSVG.fixed_dpi
        engine.execute(figure)
        figure.set_layout_engine(None)


def _page_colour(colour):
    """The style sheet's colour of a colour in a figure, with itself for a page without that style sheet."""
    return f"var(--{_OF_THE_PAGE[colour]}, {colour})" if colour in _OF_THE_PAGE else colour
