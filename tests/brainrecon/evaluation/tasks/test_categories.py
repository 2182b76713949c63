"""The task of category identification: rates by value, the null, stimuli without a category, and files."""

import numpy as np
import pytest

from brainrecon.evaluation import Outputs, Protocol, Shown, evaluate, find_task
from brainrecon.evaluation.metrics.category_identification import category_identification
from brainrecon.evaluation.protocols.task_specs import CategorySpec, category_spec
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.evaluation.statistics.intervals import bootstrap_mean
from brainrecon.evaluation.tasks.categories import Candidates, score_categories
from stages.ground.errors import InputError

N = 40
IDS = [f"n{row:05d}" for row in range(N)]
SPECS = {"found": CategorySpec("found")}
PROTOCOL = Protocol({"name": "categories", "categories": {"found": {}}, "captions": {"first_label": {"of": "labels"}}})


@pytest.fixture(scope="module")
def candidates():
    """Fifty categories by two values: one tells them, the other nothing."""
    random = np.random.default_rng(0)
    own = random.integers(0, 50, N)
    labels = tuple(f"category {number}" for number in range(50))
    return {
        f"cnn8_{roi}": Candidates(labels, random.normal(size=(50, 30)), own, target="cnn8", roi=roi)
        for roi in ("V1", "VC")
    }


@pytest.fixture(scope="module")
def predicted(candidates):
    random, told = np.random.default_rng(1), candidates["cnn8_VC"]
    return {
        "cnn8_V1": random.normal(size=(N, 30)),
        "cnn8_VC": told.means[told.own] + 1.5 * random.normal(size=(N, 30)),
        "aside": random.normal(size=(N, 4)),
    }


def scored(candidates, predicted, specs=SPECS, **options):
    return score_categories(specs, candidates, predicted, IDS, n_resamples=2000, **options)


def test_a_row_for_each_value_with_its_target_and_region(candidates, predicted):
    scores = scored(candidates, predicted)
    assert [(row.value, row.target, row.roi) for row in scores.rows] == [
        ("cnn8_V1", "cnn8", "V1"),
        ("cnn8_VC", "cnn8", "VC"),
    ]
    for name, one in candidates.items():
        rates, row = category_identification(predicted[name], one.means, one.own), scores.row("found", name)
        np.testing.assert_array_equal(scores.values["found"][name], rates)
        assert (row.n, row.n_candidates, row.n_categories, row.chance) == (N, 50, len(set(one.own.tolist())), 0.5)
        assert row.mean == pytest.approx(rates.mean()) and row.ci_low == bootstrap_mean(rates, n_resamples=2000).ci_low
    assert scores.row("found", "cnn8_VC").is_above and not scores.row("found", "cnn8_V1").is_above


def test_the_null_is_of_responses_that_belong_to_others(candidates, predicted):
    scores = scored(candidates, predicted)
    for row in scores.rows:
        assert row.null_low < row.null_mean < row.null_high and row.null_mean == pytest.approx(0.5, abs=0.05)
    informed = scores.row("found", "cnn8_VC")
    assert informed.mean > informed.null_high
    again = scored(candidates, predicted)
    assert again == scores and scored(candidates, predicted, seed=1) != scores


def test_stimuli_whose_category_is_no_candidate_have_no_rate(candidates, predicted):
    one = candidates["cnn8_VC"]
    own = np.where(np.arange(N) < 5, -1, one.own)
    beside = np.where(np.arange(N)[:, None] == 7, np.nan, one.means[one.own])
    some = {"cnn8_VC": Candidates(one.labels, one.means, own, beside, "cnn8", "VC")}
    scores = scored(some, predicted)
    missing = [*range(5), 7]
    assert np.flatnonzero(np.isnan(scores.values["found"]["cnn8_VC"])).tolist() == missing
    assert scores.rows[0].n == N - 6
    whole = scored(candidates, predicted).values["found"]["cnn8_VC"]
    np.testing.assert_array_equal(np.delete(scores.values["found"]["cnn8_VC"], missing), np.delete(whole, missing))
    nobody = {"cnn8_VC": Candidates(one.labels, one.means, np.full(N, -1))}
    assert scored(nobody, predicted).rows == []


def test_through_evaluate_and_a_file(candidates, predicted, tmp_path):
    scores = evaluate(
        None,
        {},
        stimulus_ids=IDS,
        embeddings=({}, predicted),
        candidates=candidates,
        protocol=PROTOCOL,
        n_resamples=2000,
    )
    assert scores.categories.rows == scored(candidates, predicted).rows
    scores.to_json(tmp_path / "scores.json")
    assert Scores.from_json(tmp_path / "scores.json") == scores
    task = find_task("categories")(n_resamples=2000)
    turned = Outputs(IDS[::-1], {name: values[::-1] for name, values in predicted.items()})
    found = task.score({"reconstruction": turned}, Shown(IDS, candidates=candidates), PROTOCOL).categories
    assert found == scores.categories


@pytest.mark.parametrize(
    ("table", "said"),
    [({"ties": "always"}, "Invalid ties in categories found"), ({"similarity": "dot"}, "Invalid similarity")],
)
def test_tables_that_make_no_sense_are_refused(table, said):
    with pytest.raises(InputError, match=said):
        category_spec("found", table)


def test_predictions_of_another_length_are_refused(candidates, predicted):
    with pytest.raises(InputError, match="cnn8_V1 has predictions of shape"):
        scored(candidates, predicted | {"cnn8_V1": np.zeros((N, 3))})
