"""The files of NSD's further experiments of one subject, whether or not they are there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from brainrecon.datasets.nsd import sizes as nsd_sizes
from brainrecon.datasets.nsd.further import experiments, imagery
from brainrecon.datasets.nsd.hemispheres import HemisphereFiles
from brainrecon.datasets.nsd.layout import SURFACES, Layout
from brainrecon.datasets.spaces.surface_places import HEMISPHERES
from stages.ground.errors import InputError

TRIALS = {"synthetic": 744, "imagery": 720}
"""Betas of a session as released (NSD data manual); only to reckon how large a file is at most."""


class FurtherFile(NamedTuple):
    """A file of a further experiment.

    Attributes
    ----------
    path : pathlib.Path
    what : str
    optional : bool
    largest : int or None
        Bytes at most.
    """

    path: Path
    what: str
    optional: bool = False
    largest: int | None = None


def further_listing(
    layout: Layout, subject: str, space: str, version: str, file_format: str, also: object, pictures: bool
) -> Iterator[FurtherFile]:
    """The files of the experiments that are asked for; by default of those whose betas are there.

    Raises
    ------
    InputError
        There is no such experiment.
    """
    there = experiments.on_disk(layout, subject, space, version)
    asked = experiments.read_also(also)
    wanted = tuple(there) if also is None else experiments.EXPERIMENTS if asked == (experiments.ALL,) else asked
    for name in wanted:
        betas = there.get(name) or experiments.further_files(layout, name, subject, space, version, file_format)
        yield from _betas(name, betas, subject, space)
        yield from {"synthetic": _synthetic, "imagery": _imagery}[name](layout, subject, pictures)


def _betas(name, betas, subject, space):
    what = f"betas of {name}"
    if isinstance(betas, HemisphereFiles):
        per_vertex = TRIALS[name] * (4 if SURFACES[space] == "mgh" else 2)
        for side, file in zip(HEMISPHERES, betas):
            yield FurtherFile(file, what, largest=nsd_sizes.hemisphere_bytes(subject, space, side, per_vertex))
    else:
        volume = nsd_sizes.volume_bytes(subject, space, 2)
        yield FurtherFile(betas, what, largest=None if volume is None else TRIALS[name] * volume)


def _synthetic(layout, subject, pictures):
    yield FurtherFile(experiments.synthetic_design(layout), "which picture of synthetic on which trial")
    yield FurtherFile(experiments.synthetic_classes(layout), "what the pictures of synthetic are", True)
    if pictures:
        for path, whose in zip(experiments.synthetic_pictures(layout, subject), ("all subjects", subject)):
            yield FurtherFile(path, f"pictures of synthetic, of {whose}", True)


def _imagery(layout, subject, pictures):
    runs = {name: experiments.imagery_run(layout, subject, name) for name in experiments.RUNS}
    runs |= imagery.run_files(layout, subject)
    for name, path in runs.items():
        yield FurtherFile(path, f"trials of run {name} of imagery")
    for of_set in sorted({name[3] for name in runs if not name.startswith("att")}):
        path = experiments.imagery_targets(layout, of_set)
        yield FurtherFile(path, f"targets of set {of_set} of imagery")
        if pictures and path.is_file():
            for target in _targets(layout, of_set):
                yield FurtherFile(experiments.imagery_picture(layout, of_set, target), "a target of imagery", True)


def _targets(layout, of_set):
    """Names of the pictures of a set; none if its list is damaged, which loading says."""
    try:
        return [target for target in imagery.read_targets(layout, of_set).values() if target.endswith(imagery.PICTURE)]
    except InputError:
        return []
