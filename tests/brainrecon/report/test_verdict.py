"""The first sentences: they say what the numbers say, no more."""

import numpy as np
import pytest

from brainrecon.evaluation.protocol import load_protocol
from brainrecon.evaluation.scores import ConditionScores, Scores, SummaryRow
from brainrecon.report.names import condition_label, difference_text, in_sentence, score_text
from brainrecon.report.verdict import write_verdict

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
        "(95 % interval 84.2 to 89.9, chance 50 %): 12.3 points above stage one alone (8.1 to 16.4), and "
        "37.0 points above shuffled responses (33.5 to 40.2)."
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
    assert "not distinguishable from stage one alone (difference \N{MINUS SIGN}1.2 points" in verdict.sentence
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
    assert "20.0 points below stage one alone (15.0 to 25.0)" in verdict.sentence
    assert verdict.informative is False
    assert "no more about what was shown" in verdict.details[0]


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
    assert verdict.sentence.endswith("chance 50 %).")


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
    assert condition_label("my_own_control") == "My own control"
    assert in_sentence("PixCorr") == "PixCorr" and in_sentence("SSIM") == "SSIM"
    assert in_sentence("Category agreement") == "category agreement"
