"""A map of the responses on the flattened cortex, and the same map after it went through the raster and back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure

from brainrecon.datasets.noise_ceiling import measured_noise_ceiling
from brainrecon.datasets.subject import Subject
from brainrecon.datasets.subject_raster import raster_of
from brainrecon.report.drawing import STYLE, svg_text
from stages.adapters.surface_raster import SurfaceRaster

_WIDTH = 4.6  # inches: labels are read on a phone
_COLOURS = "viridis"


class SurfaceMap(NamedTuple):
    """What a report shows of a subject's surface.

    Attributes
    ----------
    explanation : str
        What was drawn.
    round_trip : str
        What came back from the raster, in numbers.
    panels : list of (str, str, str)
        Title, explanation and `<svg>` of each picture.
    """

    explanation: str
    round_trip: str
    panels: list[tuple[str, str, str]]


def surface_map(subject: Subject) -> SurfaceMap | None:
    """The picture of a subject's surface; None if its values are on none, or on no flat map."""
    if subject.surface is None or subject.surface.flat is None or not np.isfinite(subject.surface.flat).any():
        return None
    raster = raster_of(subject)
    values, what = measured_noise_ceiling(subject), "noise ceiling of each vertex, percent of variance"
    if values is None:
        values, what = subject.test.patterns.mean(axis=0), "response of each vertex, mean over the test stimuli"
    drawn = raster.to_raster(torch.from_numpy(np.asarray(values, dtype=np.float32)[None]))
    again = raster.to_raster(back := raster.to_vertices(drawn))
    limits = tuple(np.percentile(values, (1, 99)))
    shown = [("Drawn from the vertices", drawn), ("Read back to the vertices, and drawn again", again)]
    panels = [
        (title, f"The {what}.", _picture(picture, raster, limits, f"{title}: {what}")) for title, picture in shown
    ]
    size = f"{len(raster):,} vertices on {raster.side} x {raster.side} pixels"
    explanation = f"{size}: {raster.origin}. The left hemisphere is on the left."
    return SurfaceMap(explanation, _round_trip(raster, values, back[0].numpy()), panels)


def _round_trip(raster: SurfaceRaster, values: np.ndarray, back: np.ndarray) -> str:
    alone = raster.alone
    told = f"{alone.sum():,} of {len(raster):,} vertices have a pixel of their own: any map comes back from there unchanged"
    same = (back == np.asarray(values, dtype=np.float32))[alone].all()
    told += ", and this one did." if same else ", but this one did not."
    others = ~alone & (raster.pixels >= 0)
    if others.any():
        told += f" The other {others.sum():,} share a pixel and come back as an average"
        if np.std(values[others]) > 0 and np.std(back[others]) > 0:
            told += f", for this map with a correlation of {np.corrcoef(values[others], back[others])[0, 1]:.3f}"
        told += "."
    if (absent := int((raster.pixels < 0).sum())) > 0:
        told += f" {absent:,} are not on the flat map and are not drawn."
    return told


def _picture(pictures: torch.Tensor, raster: SurfaceRaster, limits: tuple[float, float], told: str) -> str:
    with rc_context({**STYLE, "svg.hashsalt": "brainrecon-surface", "image.interpolation": "none"}):
        figure = Figure(figsize=(_WIDTH, _WIDTH + 0.45), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.subplots()
        image = axes.imshow(
            np.ma.masked_array(pictures[0, 0].numpy(), ~raster.mask), cmap=_COLOURS, vmin=limits[0], vmax=limits[1]
        )
        axes.set_axis_off()
        bar = figure.colorbar(image, ax=axes, orientation="horizontal", fraction=0.05, pad=0.02, aspect=40)
        bar.outline.set_visible(False)
        return svg_text(figure, dpi=150, alternative=told)
