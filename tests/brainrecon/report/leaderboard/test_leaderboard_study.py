"""A published comparison beside own scores: values, claims and weights stand where they belong, and nowhere else."""

import json

import numpy as np
import pytest
import tomli_w

from brainrecon.evaluation import Outputs, evaluate
from brainrecon.report.leaderboard.collect import collect
from brainrecon.report.leaderboard.comparison import method_difference
from brainrecon.report.leaderboard.pages import as_html, as_markdown
from brainrecon.runs.score import write_scores
from brainrecon.studies.preset import load_preset

N = 30
# Share of cells that are drawn wrongly, by row.
WRONG = {
    "OMP scale 2": 0.15,
    "OMP 1x1 alone": 0.25,
    "linear regression": 0.26,
    "univariate": 0.3,
    "OMP scale 2 equal weights": 0.15,
}


@pytest.fixture(scope="module")
def scores():
    """Scores of random patterns of which some cells are wrong, by row."""
    random = np.random.default_rng(0)
    ids = [f"p{row}" for row in range(N)]
    shown = random.integers(0, 2, (N, 10, 10))
    found = {}
    for row, share in WRONG.items():
        drawn = np.where(random.random(shown.shape) < share, 1 - shown, shown)
        shown_pictures, pictures = (
            np.repeat((255 * cells[..., None]).astype(np.uint8), 3, -1) for cells in (shown, drawn)
        )
        conditions = {"reconstruction": Outputs(ids, pictures)}
        data = {"dataset": "miyawaki", "subject": "subj01", "roi": "V1+V2", "test_stimuli": N, "simulated": True}
        found[row] = evaluate(shown_pictures, conditions, stimulus_ids=ids, protocol="miyawaki-2008", data=data)
    return found


def benchmark(folder, scores, preset="miyawaki-study"):
    for row, one in scores.items():
        write_scores(one, folder / row / "subj01" / "V1_V2")
    plan = {"data": "miyawaki:x", "subjects": ["subj01"], "preset": preset, "methods": {row: {} for row in scores}}
    (folder / "benchmark.toml").write_text(tomli_w.dumps(plan))
    return folder


def test_published_values_stand_beside_own_ones(scores, tmp_path):
    text = as_markdown(collect(benchmark(tmp_path, scores)))
    rows = text.split("The rows of miyawaki-study")[1].split("**")[1]
    assert "directions may be compared with the study's, numbers may not" in rows
    own = f"{100 * scores['OMP scale 2'].mean('reconstruction', 'binary_accuracy').mean:.1f}"
    (line,) = [line for line in rows.splitlines() if line.startswith("| OMP scale 2 |")]
    assert [cell.strip().split(" ")[0] for cell in line.split("|")[2:4]] == ["80.2", own]
    (line,) = [line for line in rows.splitlines() if line.startswith("| univariate |")]
    assert line.split("|")[2].strip() == "\N{EN DASH}"
    # In the order of the study, not of the scores.
    names = [line.split("|")[1].strip() for line in rows.splitlines() if line.startswith("| ")][2:]
    assert names == [row for row in load_preset("miyawaki-study").methods if row in WRONG]


def test_claims_are_paired_differences(scores, tmp_path):
    text = as_markdown(collect(benchmark(tmp_path, scores))).split("What miyawaki-study claims")[1].split("\n**")[0]
    assert "OMP scale 3" not in text
    for one, other, mark in (("OMP scale 2", "OMP 1x1 alone", "▲"), ("OMP scale 2", "OMP scale 2 equal weights", "○")):
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {one} minus {other} ")]
        expected = method_difference({"s": scores[one]}, {"s": scores[other]}, "binary_accuracy")
        assert mark in line and f"{100 * expected.mean:+.1f}".replace("-", "\N{MINUS SIGN}") in line


def test_weights_are_those_that_were_learnt(scores, tmp_path):
    folder = benchmark(tmp_path, scores)
    rows = [
        {"size": f"{h} x {w}", "elements": 9, "weight": 0.1 * h + 0.02 * w} for h, w in ((1, 1), (1, 2), (2, 1), (2, 2))
    ]
    path = folder / "OMP scale 2" / "subj01" / "V1_V2" / "decoder" / "summary.json"
    path.parent.mkdir()
    path.write_text(json.dumps(rows))
    text = as_markdown(collect(folder)).split("Weights of the sizes of elements")[1].split("\n**")[0]
    (line,) = [line for line in text.splitlines() if line.startswith("| OMP scale 2 ")]
    for own, published in zip(("0.12", "0.14", "0.22", "0.24"), ("0.18", "0.34", "0.27", "0.19")):
        assert own in line and f"published {published}" in line
    assert "univariate" not in text


def test_without_a_preset_nothing_of_a_study_is_said(scores, tmp_path):
    folder = benchmark(tmp_path, scores, preset="")
    assert "miyawaki-study" not in as_html(collect(folder))


def test_the_page_escapes_and_shows_the_tables(scores, tmp_path):
    page = as_html(collect(benchmark(tmp_path, scores)))
    assert "The rows of miyawaki-study" in page and "What miyawaki-study claims" in page
    assert "OMP scale 2 minus linear regression" in page
