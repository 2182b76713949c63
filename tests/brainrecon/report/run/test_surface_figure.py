"""The cortex in a report: what it says is what came back."""

import re
from dataclasses import replace

import numpy as np

from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.report.run.surface_figure import surface_map


def test_a_report_shows_the_surface_and_its_round_trip(surface_cohort, tmp_path, capsys):
    run = tmp_path / "run"
    line = ["run", "ridge-to-pixels", f"nsd:{surface_cohort}", "--option", "space=fsaverage", "--out", str(run)]
    assert run_command(line) == 0
    page = (run / "report.html").read_text()
    section = page[page.index('<section id="surface">') :].split("</section>")[0]
    n = load(f"nsd:{surface_cohort}", space="fsaverage").n_voxels
    assert f"{n} vertices on 256 x 256 pixels: own raster of the flat map of fsaverage3" in section
    assert f"{n} of {n} vertices have a pixel of their own" in section and "and this one did." in section
    assert section.count("<svg") == 2 and '<a href="#surface">On the cortex</a>' in page
    assert len(re.findall(r'\bid="surface"', page)) == 1


def test_volumes_and_surfaces_without_a_flat_map_have_none(surface_cohort, small_cohort):
    assert surface_map(load(f"nsd:{small_cohort}")) is None
    subject = load(f"nsd:{surface_cohort}", space="fsaverage")
    assert surface_map(replace(subject, space=replace(subject.surface, flat=None))) is None


def test_places_that_share_a_pixel_and_those_off_the_map_are_counted(surface_cohort):
    subject = load(f"nsd:{surface_cohort}", space="fsaverage")
    flat = subject.surface.flat.copy()
    flat[:4], flat[4:7] = flat[0], np.nan
    told = surface_map(replace(subject, space=replace(subject.surface, flat=flat))).round_trip
    n = subject.n_voxels
    assert f"{n - 7} of {n} vertices have a pixel of their own" in told
    assert "The other 4 share a pixel and come back as an average." in told and "3 are not on the flat map" in told
    flat[:] = np.nan
    assert surface_map(replace(subject, space=replace(subject.surface, flat=flat))) is None
