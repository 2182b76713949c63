"""Scoring whole conditions, with networks that stand in for the trained ones."""

import csv

import numpy as np
import pytest
from stand_in_networks import IDS, MeanColours, N, noisy

from brainrecon.cli.score_tables import show_scores
from brainrecon.evaluation import Outputs, evaluate
from brainrecon.evaluation.metrics.identification import two_way_identification
from brainrecon.evaluation.metrics.pixel_metrics import pixel_correlation
from brainrecon.evaluation.metrics.structural_similarity import structural_similarity
from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.evaluation.statistics.intervals import bootstrap_mean
from brainrecon.evaluation.statistics.pair_intervals import bootstrap_pairs

WITHIN = ("identification_pixels_within_category", "identification_evaluation_within_category")


def test_scores_equal_the_metrics_themselves(shown, networks):
    images = noisy(shown, 120)
    scores = evaluate(shown, {"reconstruction": Outputs(IDS, images)}, stimulus_ids=IDS, networks=networks)
    values = scores.conditions["reconstruction"].values
    one, other = shown / np.float32(255), images / np.float32(255)
    network = MeanColours()
    expected = {
        "pixcorr": pixel_correlation(one, other),
        "ssim": structural_similarity(one, other),
        "identification_pixels": two_way_identification(one, other),
        "identification_evaluation": two_way_identification(network.embed(shown), network.embed(images)),
        "identification_clip": two_way_identification(network.embed(shown), network.embed(images)),
    }
    for name, expect in expected.items():
        np.testing.assert_allclose(values[name], expect, atol=1e-9)
        row = scores.mean("reconstruction", name)
        assert row.mean == pytest.approx(expect.mean())
        if "identification" not in name:
            assert (row.n, row.mean, row.ci_low, row.ci_high) == bootstrap_mean(values[name])
    without = (*WITHIN, "category_agreement", "brain_correlation")
    assert list(values) == [name for name in load_protocol().metrics if name not in without]
    assert scores.differences == []


def test_identification_within_a_category_vs_pairs_counted(shown, networks):
    images = np.random.default_rng(3).permutation(noisy(shown, 200))
    categories = [["six"] if row % 3 else ["nine", "round"] for row in range(N)]
    scores = evaluate(
        shown,
        {"reconstruction": Outputs(IDS, images)},
        stimulus_ids=IDS,
        categories=categories,
        networks=networks,
    )
    correlation = np.corrcoef(shown.reshape(N, -1), images.reshape(N, -1))[:N, N:]
    expected = [
        np.mean([correlation[i, j] < correlation[j, j] for i in range(N) if i != j and categories[i] == categories[j]])
        for j in range(N)
    ]
    values = scores.conditions["reconstruction"].values
    np.testing.assert_allclose(values[WITHIN[0]], expected)
    assert 0 < np.mean(expected) < 1 and not np.allclose(expected, values["identification_pixels"])


def test_a_stimulus_alone_in_its_category_has_no_score_there_and_the_others_have(tmp_path, shown, networks):
    images = noisy(shown, 200)
    categories = [["alone"], *([["six"]] * (N - 1))]
    conditions = {"reconstruction": Outputs(IDS, images), "stage_one": Outputs(IDS, noisy(shown, 250, seed=2))}
    scores = evaluate(shown, conditions, stimulus_ids=IDS, categories=categories, networks=networks)
    rest = {name: Outputs(IDS[1:], one.values[1:]) for name, one in conditions.items()}
    without = evaluate(shown[1:], rest, stimulus_ids=IDS[1:], categories=categories[1:], networks=networks)
    found, expected = (one.conditions["reconstruction"].values[WITHIN[0]] for one in (scores, without))
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1:], expected)
    assert scores.mean("reconstruction", WITHIN[0]) == without.mean("reconstruction", WITHIN[0])
    assert scores.difference("stage_one", WITHIN[0]) == without.difference("stage_one", WITHIN[0])
    scores.to_json(tmp_path / "scores.json")
    scores.to_csv(tmp_path / "scores.csv")
    assert Scores.from_json(tmp_path / "scores.json").conditions == scores.conditions
    assert next(csv.DictReader((tmp_path / "scores.csv").open()))[WITHIN[0]] == ""


@pytest.mark.parametrize("categories", [None, [[str(row)] for row in range(N)]])
def test_without_others_of_the_category_nothing_is_said_of_them(shown, networks, categories):
    condition = {"reconstruction": Outputs(IDS, noisy(shown, 50))}
    scores = evaluate(shown, condition, stimulus_ids=IDS, categories=categories, networks=networks)
    assert not set(WITHIN) & set(scores.conditions["reconstruction"].values)
    assert not set(WITHIN) & {row.metric for row in scores.summary}


def test_category_agreement_asks_for_the_digit_where_a_digit_was_shown(networks):
    shown, other = np.zeros((2, 4, 64, 64, 3), dtype=np.uint8)
    shown[:2, :32, :, 0] = 200  # two digits, bright above: "6"
    shown[2:, :, :, 1] = 200  # two trees
    other[0, :32, :, 0] = 100  # a six
    other[1, 32:, :, 0] = 100  # a nine
    other[2, :, :, 1] = 100  # a tree, bright nowhere in particular
    other[3, :, :, 2] = 100  # a house
    other[2, 32:, :, 1] = 150  # the digit head disagrees on the tree, and nobody asks it
    given = dict(stimulus_ids=IDS[:4], networks=networks)
    condition = {"reconstruction": Outputs(IDS[:4], other)}
    scores = evaluate(shown, condition, categories=[["digit"], ["digit"], ["tree"], ["tree"]], **given)
    np.testing.assert_array_equal(scores.conditions["reconstruction"].values["category_agreement"], [1, 0, 1, 0])


def test_what_a_network_calls_pictures_is_not_compared_if_the_data_name_no_categories(shown, networks, capsys):
    condition = {"reconstruction": Outputs(IDS, noisy(shown, 50))}
    scores = evaluate(shown, condition, stimulus_ids=IDS, networks=networks)
    show_scores(scores)
    assert "category_agreement" not in scores.conditions["reconstruction"].values
    printed = capsys.readouterr().out
    assert "PixCorr" in printed and "Category agreement" not in printed and "within the category" not in printed


def test_order_of_a_condition_does_not_matter(shown, networks):
    images, order = noisy(shown, 120), np.random.default_rng(2).permutation(N)
    straight = evaluate(shown, {"reconstruction": Outputs(IDS, images)}, stimulus_ids=IDS, networks=networks)
    mixed = evaluate(
        shown,
        {"reconstruction": Outputs([IDS[k] for k in order], images[order])},
        stimulus_ids=IDS,
        networks=networks,
    )
    assert straight.conditions["reconstruction"].stimulus_ids == mixed.conditions["reconstruction"].stimulus_ids
    for name, values in straight.conditions["reconstruction"].values.items():
        np.testing.assert_allclose(values, mixed.conditions["reconstruction"].values[name], atol=1e-12)


def test_a_smaller_condition_is_compared_on_what_both_have(shown, networks):
    subset = [1, 4, 5, 9, 12]
    images, control = noisy(shown, 120), noisy(shown, 200, seed=3)[subset]
    ids = [IDS[k] for k in subset]
    scores = evaluate(
        shown,
        {"reconstruction": Outputs(IDS, images), "stage_one": Outputs(ids, control)},
        stimulus_ids=IDS,
        networks=networks,
    )
    alone = evaluate(
        shown[subset],
        {"reconstruction": Outputs(ids, images[subset]), "stage_one": Outputs(ids, control)},
        stimulus_ids=ids,
        networks=networks,
    )
    for name in alone.conditions["stage_one"].values:
        assert scores.mean("stage_one", name) == alone.mean("stage_one", name)
        assert scores.difference("stage_one", name) == alone.difference("stage_one", name)
        assert scores.mean("reconstruction", name).n == N
        assert scores.difference("stage_one", name).n == len(subset)
    assert scores.mean("reconstruction", "identification_pixels") != alone.mean(
        "reconstruction", "identification_pixels"
    )


def test_differences_are_reference_minus_condition(shown, networks):
    scores = evaluate(
        shown,
        {"reconstruction": Outputs(IDS, noisy(shown, 40)), "stage_one": Outputs(IDS, noisy(shown, 250))},
        stimulus_ids=IDS,
        networks=networks,
    )
    for name in ("pixcorr", "ssim"):
        better, worse = (scores.conditions[c].values[name] for c in ("reconstruction", "stage_one"))
        row = scores.difference("stage_one", name)
        assert row.mean == pytest.approx((better - worse).mean()) and row.ci_low > 0 and row.excludes_zero
    swapped = evaluate(
        shown,
        {"reconstruction": Outputs(IDS, noisy(shown, 40)), "stage_one": Outputs(IDS, noisy(shown, 250))},
        stimulus_ids=IDS,
        networks=networks,
        reference="stage_one",
    )
    assert swapped.difference("reconstruction", "pixcorr").mean == pytest.approx(
        -scores.difference("stage_one", "pixcorr").mean
    )


def test_samples_are_scored_each_and_then_averaged(shown, networks):
    first, second = noisy(shown, 120, seed=1), noisy(shown, 120, seed=2)
    extra = np.concatenate([first, second[:3]])  # three stimuli have a second sample
    scores, one, two = (
        evaluate(shown, {"reconstruction": condition}, stimulus_ids=IDS, networks=networks).conditions["reconstruction"]
        for condition in (Outputs(IDS + IDS[:3], extra), Outputs(IDS, first), Outputs(IDS, second))
    )
    assert scores.n_samples == (2,) * 3 + (1,) * (N - 3)
    for name in scores.values:
        expected = one.values[name].copy()
        expected[:3] = (one.values[name][:3] + two.values[name][:3]) / 2
        np.testing.assert_allclose(scores.values[name], expected, atol=1e-12)


def test_scoring_changes_no_picture_and_looks_once(shown, networks):
    images = noisy(shown, 120)
    before = shown.copy(), images.copy()
    shown.flags.writeable = images.flags.writeable = False
    steps = []
    evaluate(
        shown,
        {"reconstruction": Outputs(IDS, images), "stage_one": Outputs(IDS[:4], images[:4])},
        stimulus_ids=IDS,
        networks=networks,
        progress=lambda *step: steps.append(step),
    )
    np.testing.assert_array_equal(shown, before[0])
    np.testing.assert_array_equal(images, before[1])
    assert networks["clip"].calls == 3  # the shown pictures and two conditions
    assert [step[1:] for step in steps] == [(1, 3), (2, 3), (3, 3)]


def test_one_stimulus_has_scores_but_no_interval_and_no_identification(shown, networks):
    scores = evaluate(shown, {"reconstruction": Outputs(IDS[:1], shown[:1])}, stimulus_ids=IDS, networks=networks)
    assert scores.mean("reconstruction", "pixcorr").mean == pytest.approx(1)
    assert scores.mean("reconstruction", "pixcorr").ci_low is None
    assert scores.mean("reconstruction", "identification_pixels") is None


def test_uniform_pictures_score_without_nan(shown, networks):
    grey = np.full((N, 64, 64, 3), 128, dtype=np.uint8)
    scores = evaluate(shown, {"reconstruction": Outputs(IDS, grey)}, stimulus_ids=IDS, networks=networks)
    for values in scores.conditions["reconstruction"].values.values():
        assert np.isfinite(values).all()
    assert scores.mean("reconstruction", "identification_pixels").mean == 0


def test_the_interval_of_identification_resamples_both_roles(shown, networks):
    images = np.random.default_rng(3).permutation(noisy(shown, 200))
    scores = evaluate(shown, {"reconstruction": Outputs(IDS, images)}, stimulus_ids=IDS, networks=networks)
    correlation = np.corrcoef(shown.reshape(N, -1), images.reshape(N, -1))[:N, N:]
    success = correlation < correlation.diagonal()
    row = scores.mean("reconstruction", "identification_pixels")
    expected = bootstrap_pairs(success.astype(float), ~np.eye(N, dtype=bool))
    assert (row.ci_low, row.ci_high) == (expected.ci_low, expected.ci_high)
    values = scores.conditions["reconstruction"].values["identification_pixels"]
    assert (row.ci_low, row.ci_high) != bootstrap_mean(values)[2:]
