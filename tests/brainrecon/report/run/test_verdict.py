"""The first sentences: they say what the numbers say, no more."""

import dataclasses

import numpy as np
import pytest

from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.evaluation.scores.scores import ConditionScores, Scores, SummaryRow
from brainrecon.report.names import condition_label, difference_text, in_sentence, score_text
from brainrecon.report.run.verdict import write_verdict

HEADLINE = "identification_evaluation"


def scores_of(means, differences, metric=HEADLINE):
    """Scores with the given (mean, low, high) per condition and no values behind them."""
    return Scores(
        protocol=load_protocol("brainrecon-1"),
        reference="reconstruction",
        conditions={name: ConditionScores(("a",), (1,), {metric: np.zeros(1)}) for name in means},
        summary=[SummaryRow(name, metric, 100, *row) for name, row in means.items()],
        differences=[SummaryRow(name, metric, 100, *row) for name, row in differences.items()],
        confidence=0.95,
        n_resamples=10_000,
        seed=0,
    )


def test_says_what_is_better_and_by_how_much():
    verdict = write_verdict(
        scores_of(
            {"reconstruction": (0.871, 0.842, 0.899), "shuffled_responses": (0.503, 0.46, 0.55)},
            {"stage_one": (0.123, 0.081, 0.164), "shuffled_responses": (0.37, 0.335, 0.402)},
        )
    )
    assert verdict.sentence == (
        "The reconstructions of 100 stimuli score 87.1 % in two-way identification on the evaluation network "
        "(95 % interval 84.2 to 89.9, chance 50 %)."
    )
    assert verdict.remains == (
        "Above shuffled responses by 37.0 points (33.5 to 40.2) and stage one alone by 12.3 points (8.1 to 16.4)."
    )
    assert verdict.informative is True
    assert verdict.details == ["Shuffled responses stay at chance: 50.3 % (46.0 to 55.0)."]


def test_says_when_nothing_differs():
    verdict = write_verdict(
        scores_of(
            {"reconstruction": (0.52, 0.48, 0.56), "shuffled_responses": (0.51, 0.47, 0.55)},
            {"stage_one": (-0.012, -0.043, 0.02), "shuffled_responses": (0.01, -0.05, 0.07)},
        )
    )
    assert verdict.remains == (
        "Above none of its controls; not told apart from shuffled responses (difference +1.0 points, "
        "\N{MINUS SIGN}5.0 to +7.0) and stage one alone (difference \N{MINUS SIGN}1.2 points, \N{MINUS SIGN}4.3 to +2.0)."
    )
    assert verdict.informative is None
    assert "cannot be told whether the pictures say more about what was shown" in verdict.details[0]


def test_one_stimulus_under_controls_leaves_it_open():
    verdict = write_verdict(
        scores_of({"reconstruction": (0.52, 0.48, 0.56)}, {"shuffled_responses": (0.1, None, None)})
    )
    assert verdict.informative is None and "cannot be told" in verdict.details[0]


def test_says_when_the_method_is_worse():
    verdict = write_verdict(
        scores_of(
            {"reconstruction": (0.6, 0.55, 0.65)},
            {"stage_one": (-0.2, -0.25, -0.15), "shuffled_responses": (-0.1, -0.15, -0.05)},
        )
    )
    assert verdict.remains == (
        "Above none of its controls; below shuffled responses by 10.0 points (5.0 to 15.0) and stage one alone by "
        "20.0 points (15.0 to 25.0)."
    )
    assert verdict.informative is False
    assert "no more about what was shown" in verdict.details[0]


def test_sorts_the_controls_in_one_sentence():
    verdict = write_verdict(
        scores_of(
            {"reconstruction": (0.8, 0.75, 0.85)},
            {
                "stage_one": (-0.05, -0.08, -0.02),
                "nearest_training_picture": (0.01, -0.02, 0.04),
                "mean_response": (0.3, 0.25, 0.35),
                "shuffled_responses": (0.31, 0.26, 0.36),
                "ridge_to_pixels": (0.2, 0.1, 0.3),
                "oracle_embeddings": (-0.1, -0.2, -0.05),
            },
        )
    )
    assert verdict.remains == (
        "Above shuffled responses by 31.0 points (26.0 to 36.0) and the mean response by 30.0 points (25.0 to 35.0); "
        "not told apart from the nearest training picture (difference +1.0 points, \N{MINUS SIGN}2.0 to +4.0); "
        "below stage one alone by 5.0 points (2.0 to 8.0)."
    )
    assert verdict.informative is True


def test_less_is_better_in_a_distance():
    protocol = load_protocol("brainrecon-1")
    metrics = [{"name": "d", "measure": "correlation_distance", "features": "clip", "label": "Distance"}]
    protocol = type(protocol)({"name": "own", "networks": protocol.content["networks"], "metrics": metrics})
    scores = scores_of(
        {"reconstruction": (0.5, 0.4, 0.6)},
        {"shuffled_responses": (-0.3, -0.4, -0.2), "mean_response": (0.1, 0.05, 0.15), "stage_one": (0.0, -0.1, 0.1)},
        metric="d",
    )
    verdict = write_verdict(dataclasses.replace(scores, protocol=protocol))
    assert verdict.remains == (
        "Better (lower) than shuffled responses by 0.300 (0.200 to 0.400); not told apart from stage one alone "
        "(difference 0.000, \N{MINUS SIGN}0.100 to +0.100); worse (higher) than the mean response by 0.100 (0.050 to 0.150)."
    )
    assert verdict.informative is True


def test_fewer_stimuli_under_a_control_are_said():
    scores = scores_of({"reconstruction": (0.8, 0.7, 0.9)}, {"shuffled_responses": (0.3, 0.2, 0.4)})
    few = [dataclasses.replace(row, n=50) for row in scores.differences]
    verdict = write_verdict(dataclasses.replace(scores, differences=few))
    assert verdict.remains == "Above shuffled responses by 30.0 points (20.0 to 40.0; 50 stimuli)."


def test_chance_follows_the_options():
    protocol = load_protocol("brainrecon-1")
    metrics = [
        {"name": "w", "measure": "n_way_identification", "features": "clip", "n_way": 50, "top_k": 1, "label": "50-way"}
    ]
    protocol = type(protocol)({"name": "own", "networks": protocol.content["networks"], "metrics": metrics})
    scores = scores_of(
        {"reconstruction": (0.3, 0.2, 0.4), "shuffled_responses": (0.022, 0.01, 0.03)},
        {"shuffled_responses": (0.278, 0.2, 0.3)},
        metric="w",
    )
    verdict = write_verdict(dataclasses.replace(scores, protocol=protocol))
    assert "(95 % interval 20.0 to 40.0, chance 2 %)" in verdict.sentence
    assert verdict.details == ["Shuffled responses stay at chance: 2.2 % (1.0 to 3.0)."]


def test_the_low_level_metric_has_its_own_sentence():
    scores = scores_of({"reconstruction": (0.8, 0.7, 0.9)}, {"shuffled_responses": (0.3, 0.2, 0.4)})
    row = SummaryRow("reconstruction", "pixcorr", 100, 0.31, 0.28, 0.34)
    low = dataclasses.replace(scores, summary=[*scores.summary, row])
    assert write_verdict(low).details[-1] == "In PixCorr they score 0.310 (0.280 to 0.340)."
    difference = SummaryRow("mean_response", "pixcorr", 100, 0.2, 0.1, 0.3)
    low = dataclasses.replace(low, differences=[*low.differences, difference])
    assert write_verdict(low).details[-1] == (
        "In PixCorr they score 0.310 (0.280 to 0.340): above the mean response by 0.200 (0.100 to 0.300)."
    )


def test_says_when_shuffled_responses_leave_chance():
    verdict = write_verdict(
        scores_of(
            {"reconstruction": (0.9, 0.88, 0.92), "shuffled_responses": (0.6, 0.56, 0.64)},
            {"shuffled_responses": (0.3, 0.25, 0.35)},
        )
    )
    assert "away from chance: 60.0 %" in verdict.details[0]


def test_says_when_no_control_was_drawn():
    verdict = write_verdict(scores_of({"reconstruction": (0.9, 0.88, 0.92)}, {}))
    assert verdict.informative is None and "were not scored" in verdict.details[0]
    assert verdict.sentence.endswith("chance 50 %).") and verdict.remains == ""


def test_one_stimulus_and_other_metrics_do():
    verdict = write_verdict(scores_of({"reconstruction": (0.31, None, None)}, {}, metric="pixcorr"))
    assert "score 0.310 in PixCorr (no interval)" in verdict.sentence
    assert write_verdict(scores_of({}, {})).sentence == "Nothing has been scored."


@pytest.mark.parametrize(
    "value, metric, score, difference",
    [
        (0.8714, HEADLINE, "87.1 %", "+87.1"),
        (-0.0414, "pixcorr", "\N{MINUS SIGN}0.041", "\N{MINUS SIGN}0.041"),
        (-0.0001, "pixcorr", "0.000", "0.000"),
        (-0.0004, HEADLINE, "0.0 %", "0.0"),
        (None, HEADLINE, "\N{EN DASH}", "\N{EN DASH}"),
    ],
)
def test_numbers(value, metric, score, difference):
    metric = load_protocol().metrics[metric].metric
    assert score_text(value, metric) == score
    assert difference_text(value, metric) == difference


def test_names():
    assert condition_label("shuffled_responses") == "Shuffled responses"
    assert condition_label("mean_response") == "Mean response"
    assert condition_label("my_own_control") == "My own control"
    assert in_sentence("PixCorr") == "PixCorr" and in_sentence("SSIM") == "SSIM"
    assert in_sentence("Category agreement") == "category agreement"
