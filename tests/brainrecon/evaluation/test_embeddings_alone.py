"""Scores of a system that draws nothing: its predicted embeddings, and what is said of them."""

import numpy as np
import pytest
from study_of_scores import put

from brainrecon.cli.score_tables import show_scores
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.evaluation.scoring import evaluate
from brainrecon.report.leaderboard.collect import collect
from brainrecon.report.leaderboard.pages import as_html, as_markdown
from brainrecon.report.run.html import ReportContent, render
from brainrecon.report.run.verdict import write_verdict
from stages.ground.errors import InputError

IDS = [f"s{row:02d}" for row in range(20)]
TRUE = np.random.default_rng(0).standard_normal((20, 30))
NOISE = np.random.default_rng(1).standard_normal((20, 30))
SHOWN = np.random.default_rng(2).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)


def scored(predicted, protocol="brainrecon-1", target="clip_image"):
    embeddings = {target: TRUE}, {target: predicted}
    return evaluate(SHOWN, {}, stimulus_ids=IDS, embeddings=embeddings, protocol=protocol, n_resamples=2000)


@pytest.mark.parametrize(("predicted", "informative"), [(TRUE + 0.3 * NOISE, True), (NOISE, None)])
def test_they_are_scored_without_a_picture(predicted, informative, tmp_path, capsys):
    scores = scored(predicted)
    assert list(scores.conditions) == ["reconstruction"] and scores.summary == [] and scores.embeddings.rows
    assert scores.conditions["reconstruction"].stimulus_ids == tuple(IDS)
    scores.to_json(tmp_path / "scores.json")
    assert Scores.from_json(tmp_path / "scores.json").conditions == scores.conditions
    verdict = write_verdict(scores)
    assert verdict.informative is informative
    assert (
        verdict.sentence.startswith("Of 20 stimuli ") and "are found by their predicted embeddings" in verdict.sentence
    )
    assert "draws nothing" in verdict.details[0]
    page = render(ReportContent("mine", "on nothing", IDS, dict(zip(IDS, SHOWN)), {}, scores))
    assert verdict.sentence.split(" are ")[0] in page and 'id="pictures"' not in page
    show_scores(scores)
    said = capsys.readouterr().out
    assert "PixCorr" not in said and "two-way" in said


def test_a_leaderboard_of_them_orders_nothing(tmp_path):
    put(tmp_path, "a", "subj01", scored(TRUE + 0.3 * NOISE))
    put(tmp_path, "b", "subj01", scored(NOISE))
    for text in (as_markdown(collect(tmp_path)), as_html(collect(tmp_path))):
        assert "not scored in two-way identification" in text and "Best first" not in text
        assert "CLIP image tokens, two-way" in text


def test_embeddings_that_the_protocol_does_not_score_are_no_scores():
    with pytest.raises(InputError, match="scores picture, embeddings of clip_image, embeddings of vdvae"):
        scored(TRUE, target="mine")
