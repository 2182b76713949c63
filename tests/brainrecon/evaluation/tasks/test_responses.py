"""Predicted responses against measured ones, by NumPy's own correlations, and what is refused."""

import numpy as np
import pytest

from brainrecon.cli.score_tables import show_scores, splits_table
from brainrecon.evaluation.scores.response_scores import MEAN_TRAINING_RESPONSE, SHUFFLED_STIMULI
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.evaluation.scoring import evaluate
from brainrecon.evaluation.tasks.responses import MeasuredResponses, score_responses
from brainrecon.report.run.html import ReportContent, render
from brainrecon.report.run.verdict import write_verdict
from stages.ground.errors import InputError

RANDOM = np.random.default_rng(0)
VOXEL_MEANS = 3 * RANDOM.standard_normal(60)
MEASURED = RANDOM.standard_normal((40, 60)) + VOXEL_MEANS
PREDICTED = MEASURED + RANDOM.standard_normal((40, 60))
IDS = [f"s{row}" for row in range(40)]
FEW = {"n_resamples": 2000}


def measured(**changed):
    return MeasuredResponses(**({"patterns": MEASURED, "mean": VOXEL_MEANS} | changed))


def test_correlations_are_numpys_and_controls_say_what_they_are_worth():
    ceiling = np.linspace(40, 90, 60)
    found = score_responses(measured(noise_ceiling=ceiling), PREDICTED, IDS, **FEW)
    each = [np.corrcoef(*pair)[0, 1] for pair in zip(MEASURED.T, PREDICTED.T)]
    row = found.row("voxel_correlation")
    assert row.mean == pytest.approx(np.mean(each)) and row.ceiling == pytest.approx(np.sqrt(ceiling / 100).mean())
    assert found.row("voxel_correlation", SHUFFLED_STIMULI).above_low > 0
    assert abs(found.row("voxel_correlation", SHUFFLED_STIMULI).mean) < 0.1
    # Means of voxels make any pattern look alike: identification does not fall for it.
    assert found.row("pattern_correlation", MEAN_TRAINING_RESPONSE).mean > 0.9
    assert found.row("identification", MEAN_TRAINING_RESPONSE).mean == 0.5
    assert found.row("identification").mean > 0.99 and found.row("identification", SHUFFLED_STIMULI).above_low > 0.3
    assert found.row("voxel_correlation", MEAN_TRAINING_RESPONSE) is None


def test_voxels_that_do_not_vary_are_left_out_and_counted():
    predicted = PREDICTED.copy()
    predicted[:, :20] = 7.0
    found = score_responses(measured(noise_ceiling=np.r_[np.zeros(20), np.full(40, 81.0)]), predicted, IDS, **FEW)
    row = found.row("voxel_correlation")
    each = [np.corrcoef(*pair)[0, 1] for pair in zip(MEASURED.T[20:], PREDICTED.T[20:])]
    assert (row.n_voxels, row.n_constant, row.ceiling) == (60, 20, pytest.approx(0.9))
    assert row.mean == pytest.approx(np.mean(each)) and row.share == pytest.approx(row.mean / 0.9)


def test_what_does_not_fit_is_refused():
    for predicted, ids in ((PREDICTED[:, :50], IDS), (PREDICTED, IDS[:30])):
        with pytest.raises(InputError, match="predict for the same subject and roi"):
            score_responses(measured(), predicted, ids, **FEW)
    with pytest.raises(InputError, match="NaN or infinite"):
        score_responses(measured(), np.where(np.arange(60) == 3, np.nan, PREDICTED), IDS, **FEW)
    assert not score_responses(measured(patterns=MEASURED[:2]), PREDICTED[:2], IDS[:2], **FEW).rows


def test_scores_are_told_in_words(tmp_path, capsys):
    responses = measured(noise_ceiling=np.full(60, 50.0)), PREDICTED
    scores = evaluate(None, {}, stimulus_ids=IDS, responses=responses, protocol="brainrecon-1", **FEW)
    scores.to_json(tmp_path / "scores.json")
    assert Scores.from_json(tmp_path / "scores.json").responses == scores.responses
    verdict = write_verdict(scores)
    assert verdict.sentence.startswith("Responses predicted for 40 stimuli have a voxel correlation of 0.7")
    assert verdict.remains.startswith("Above those predicted for other stimuli") and verdict.informative
    shown = {name: np.zeros((8, 8, 3), dtype=np.uint8) for name in IDS}
    page = render(ReportContent("mine", "on nothing", IDS, shown, {}, scores))
    assert "of it reached" in page and 'id="pictures"' not in page
    show_scores(scores)
    assert "Two-way identification (%)" in capsys.readouterr().out
    columns, rows = splits_table({"test": scores, "imagery": scores})
    assert columns[1:] == ("test", "imagery") and ("Two-way identification (%)", "100.0", "100.0") in rows
