"""Pages of all test pictures: every stimulus once, a hundred to a page, nothing outside, nothing unescaped."""

import re

import numpy as np
import pytest

from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.evaluation.scores.scores import ConditionScores, Scores
from brainrecon.report.pictures import data_uri
from brainrecon.report.run.html import ReportContent
from brainrecon.report.run.picture_pages import PER_PAGE, page_names, render_pages

N = 203
HOSTILE = "<script>alert('x')</script> & \"quoted\""
IDS = [f"nsd{row:05d}" for row in range(N - 1)] + [HOSTILE]


@pytest.fixture(scope="module")
def content():
    draw = np.random.default_rng(0)
    shown = dict(zip(IDS, draw.integers(0, 256, (N, 4, 4, 3), dtype=np.uint8)))
    drawn = {name: [255 - picture, picture] for name, picture in shown.items()}
    scored = ConditionScores(tuple(IDS), (2,) * N, {"pixcorr": np.linspace(0, 1, N)})
    scores = Scores(load_protocol("brainrecon-1"), "reconstruction", {"reconstruction": scored}, [], [], 0.95, 1000, 0)
    conditions = {"reconstruction": drawn, "my control": {name: drawn[name] for name in IDS[:5]}}
    return ReportContent(
        HOSTILE, "", IDS, shown, conditions, scores, captions={IDS[0]: ["a red house"]}, simulated=True
    )


@pytest.fixture(scope="module")
def pages(content):
    return dict(render_pages(content))


def test_every_stimulus_stands_on_one_page_in_order(pages):
    assert list(pages) == ["1.html", "2.html", "3.html"] == page_names(N)
    listed = [re.findall(r"<h2>([^<:]*)", html) for html in pages.values()]
    assert [len(ids) for ids in listed] == [PER_PAGE, PER_PAGE, 3]
    assert [name for ids in listed for name in ids][: N - 1] == IDS[:-1]


@pytest.mark.parametrize(("n", "n_pages"), [(0, 0), (1, 1), (100, 1), (101, 2), (982, 10)])
def test_as_many_pages_as_are_needed(n, n_pages):
    assert len(page_names(n)) == n_pages


def test_a_page_has_the_pictures_of_its_stimuli_each_enlarged_by_a_click(pages, content):
    first = pages["1.html"]
    assert (
        data_uri(content.shown[IDS[7]]) in first and data_uri(content.conditions["reconstruction"][IDS[7]][0]) in first
    )
    assert data_uri(content.shown[IDS[100]]) not in first and data_uri(content.shown[IDS[100]]) in pages["2.html"]
    # Two pictures of each, and five of the control.
    assert first.count("<img ") == first.count('type="checkbox"') == 2 * PER_PAGE + 5
    assert "PixCorr: 0.035" in first and "nsd00000: a red house" in first


def test_pages_lead_to_each_other_and_to_the_report(pages):
    for name, html in pages.items():
        assert set(re.findall(r'href="([^"]*)"', html)) == {"../report.html", *pages} - {name}


def test_nothing_is_run_fetched_or_left_unescaped(pages):
    for html in pages.values():
        assert "<script" not in html and HOSTILE not in html and "default-src 'none'" in html
        assert all(source.startswith("data:image/") for source in re.findall(r'src="([^"]*)"', html))
