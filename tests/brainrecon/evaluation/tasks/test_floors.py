"""What a score has to be above: the best picture that is one for all stimuli, against every picture there is."""

from itertools import product

import numpy as np
import pytest

from brainrecon.evaluation import evaluate
from brainrecon.evaluation.metrics.metric import METRICS
from brainrecon.evaluation.metrics.pixel_metrics import binary_accuracy, mean_squared_error
from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.report.run.verdict import write_verdict
from brainrecon.simulation.world.checker_figures import draw_figures

PROTOCOL = "miyawaki-2008-identification"


@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_no_constant_picture_is_more_accurate_than_the_floors(threshold):
    shown = np.random.default_rng(0).random((7, 2, 3, 1)) ** 2
    best = METRICS["binary_accuracy"].best_constant(shown, threshold=threshold)
    found = binary_accuracy(shown, np.broadcast_to(best, shown.shape), threshold).mean()
    every = [
        binary_accuracy(shown, np.broadcast_to(np.reshape(cells, (2, 3, 1)), shown.shape), threshold).mean()
        for cells in product([0.0, 1.0], repeat=6)
    ]
    assert found == pytest.approx(max(every)) and found > np.median(every)


def test_no_constant_picture_has_a_smaller_squared_error_than_the_floors():
    random = np.random.default_rng(1)
    shown = random.random((9, 3, 3, 3))
    best = METRICS["mean_squared_error"].best_constant(shown)
    found = mean_squared_error(shown, np.broadcast_to(best, shown.shape)).mean()
    for _ in range(50):
        other = np.clip(best + 0.1 * random.normal(size=best.shape), 0, 1)
        assert mean_squared_error(shown, np.broadcast_to(other, shown.shape)).mean() > found


@pytest.fixture(scope="module")
def figures():
    cells, _ = draw_figures(20)
    return np.repeat(255 * cells[..., None], 3, axis=-1).astype(np.uint8)


@pytest.fixture(scope="module")
def scores(figures):
    """A faint, noisy reconstruction; and a black picture, which is right wherever a figure is off."""
    random = np.random.default_rng(0)
    faint = 110 + 0.2 * (figures[..., :1].astype(float) - 60) + 20 * random.normal(size=(20, 10, 10, 1))
    conditions = {
        "reconstruction": np.repeat(np.clip(faint, 0, 255).astype(np.uint8), 3, axis=-1),
        "noise": np.repeat(random.integers(0, 128, (20, 10, 10, 1), dtype=np.uint8), 3, axis=-1),
    }
    return evaluate(figures, conditions, stimulus_ids=[f"f{k}" for k in range(20)], protocol=PROTOCOL, n_resamples=2000)


def test_identification_ranks_what_accuracy_turns_around(scores):
    accuracy, identification = (
        {name: scores.mean(name, metric).mean for name in scores.conditions}
        for metric in ("binary_accuracy", "identification_pixels")
    )
    assert identification["reconstruction"] > 0.8 > 0.6 > identification["noise"]
    assert load_protocol(PROTOCOL).headline == next(iter(load_protocol(PROTOCOL).metrics)) == "identification_pixels"
    floor = scores.ceilings["best_constant_picture"]["binary_accuracy"].mean
    assert accuracy["reconstruction"] != accuracy["noise"] and floor >= accuracy["noise"]


def test_accuracy_stands_against_its_floor_in_words_and_files(scores, figures, tmp_path):
    on = figures[..., 0] > 127
    share = on.mean(axis=0)
    expected = np.maximum(share, 1 - share).mean()
    row = scores.ceilings["best_constant_picture"]["binary_accuracy"]
    assert row.mean == pytest.approx(expected) and row.ci_low < expected < row.ci_high
    assert set(scores.ceilings["best_constant_picture"]) == {"binary_accuracy"}
    verdict = write_verdict(scores)
    assert "two-way identification on cells" in verdict.sentence and "chance 50 %" in verdict.sentence
    (told,) = [text for text in verdict.details if "in accuracy" in text.lower()]
    assert f"the best constant picture {100 * expected:.1f} %" in told
    scores.to_json(tmp_path / "scores.json")
    assert Scores.from_json(tmp_path / "scores.json").ceilings == scores.ceilings


def test_both_protocols_of_these_patterns_score_the_same(scores, figures):
    drawn = {"reconstruction": figures[::-1]}
    ids = [f"f{k}" for k in range(20)]
    new, old = (
        evaluate(figures, drawn, stimulus_ids=ids, protocol=name, n_resamples=2000)
        for name in (PROTOCOL, "miyawaki-2008")
    )
    assert set(new.metrics) == set(old.metrics) and list(new.metrics) != list(old.metrics)
    for name in old.metrics:
        np.testing.assert_array_equal(
            new.conditions["reconstruction"].values[name], old.conditions["reconstruction"].values[name]
        )
