"""Scores of predicted embeddings: against the published definitions done by hand, their null, and what they refuse."""

import json
import weakref
from itertools import combinations

import numpy as np
import pytest

from brainrecon.evaluation.metrics.effective_rank import effective_rank
from brainrecon.evaluation.metrics.identification import n_way_rates, success_matrix
from brainrecon.evaluation.protocols.task_specs import EmbeddingSpec
from brainrecon.evaluation.scores.embedding_scores import EmbeddingScores
from brainrecon.evaluation.statistics.intervals import bootstrap_mean
from brainrecon.evaluation.statistics.pair_intervals import bootstrap_pairs
from brainrecon.evaluation.tasks.embeddings import score_embeddings
from brainrecon.features.table import FeatureTable, arrange
from stages.ground.errors import InputError

FEW = {"n_permutations": 20, "n_resamples": 2000}


def specs(*given):
    return {spec.name: spec for spec in given}


def simulated(n=30, n_targets=40, noise=3.0, seed=0):
    """True values that share a strong common part, as those of real pictures do, and noisy predictions of them."""
    random = np.random.default_rng(seed)
    true = random.normal(size=(n, n_targets)) + 2 * random.normal(size=n_targets)
    return true.astype("f4"), (true + noise * random.normal(size=true.shape)).astype("f4"), [f"s{i}" for i in range(n)]


def similarities(true, predicted, similarity):
    """Of true value i with prediction j, one by one."""
    true, predicted = true.astype(float), predicted.astype(float)
    if similarity == "pearson":
        with np.errstate(invalid="ignore"):
            return np.array([[np.corrcoef(one, other)[0, 1] for other in predicted] for one in true])
    norm = np.linalg.norm
    return np.array([[one @ other / norm(one) / norm(other) for other in predicted] for one in true])


def found_among(own, others, n_way, top_k):
    """The definition: every choice of candidates; the own one is found where fewer than top_k do as well or better."""
    chosen = list(combinations(others, min(n_way - 1, len(others))))
    return np.mean([sum(not other < own - 1e-12 for other in some) < top_k for some in chosen])


@pytest.mark.parametrize("measure", ["image_retrieval", "brain_retrieval"])
@pytest.mark.parametrize("similarity", ["pearson", "cosine"])
@pytest.mark.parametrize("n_way, top_k", [(2, 1), (4, 1), (4, 2), (300, 1)])
def test_equals_every_choice_of_candidates(measure, similarity, n_way, top_k):
    true, predicted, ids = simulated(n=9)
    spec = EmbeddingSpec("found", measure, "clip", similarity, n_way, top_k)
    scores = score_embeddings(specs(spec), {"clip": true}, {"clip": predicted}, ids, **FEW)
    matrix = similarities(true, predicted, similarity)
    expected = []
    for j in range(9):
        column = matrix[:, j] if measure == "image_retrieval" else matrix[j]
        expected.append(found_among(column[j], np.delete(column, j), n_way, top_k))
    np.testing.assert_allclose(scores.values["found"], expected, atol=1e-12)
    assert 0 < np.mean(expected) < 1
    assert scores.rows[0].mean == pytest.approx(np.mean(expected))
    assert (scores.rows[0].metric, scores.rows[0].target, scores.rows[0].n) == ("found", "clip", 9)


def test_forward_and_backward_retrieval_are_those_of_mindeye():
    true, predicted, ids = simulated(n=50, n_targets=15, noise=2.0)
    forward, backward = (
        EmbeddingSpec(name, name, "clip", "cosine", n_way=300) for name in ("image_retrieval", "brain_retrieval")
    )
    scores = score_embeddings(specs(forward, backward), {"clip": true}, {"clip": predicted}, ids, **FEW)
    unit_true, unit_predicted = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (true, predicted))
    brain_to_image = unit_predicted @ unit_true.T
    labels = np.arange(50)
    assert scores.rows[0].mean == pytest.approx(np.mean(brain_to_image.argmax(axis=1) == labels))
    assert scores.rows[1].mean == pytest.approx(np.mean(brain_to_image.T.argmax(axis=1) == labels))
    assert scores.rows[0].mean != scores.rows[1].mean


@pytest.mark.parametrize("measure", ["image_retrieval", "brain_retrieval"])
@pytest.mark.parametrize("n_way, top_k", [(2, 1), (10, 3)])
def test_the_null_is_that_of_predictions_in_another_order(measure, n_way, top_k):
    true, predicted, ids = simulated(n=25)
    predicted[[3, 8]] = predicted[4]  # ties fail in every order
    predicted[6] = 0.25  # and so does what is undefined
    spec = EmbeddingSpec("found", measure, "clip", "pearson", n_way, top_k)
    row = score_embeddings(specs(spec), {"clip": true}, {"clip": predicted}, ids, seed=5, n_permutations=50).rows[0]
    matrix, generator, null = similarities(true, predicted, "pearson"), np.random.default_rng(5), []
    for _ in range(50):
        order = generator.permutation(25)
        if measure == "image_retrieval":
            # Column j looks for row order[j]: the same as giving stimulus order[j] the response of stimulus j.
            permuted = matrix[order]
        else:
            permuted = matrix[:, order].T
        null.append(n_way_rates(permuted, n_way=n_way, top_k=top_k).mean())
    assert row.null_mean == pytest.approx(np.mean(null), abs=1e-12)
    np.testing.assert_allclose([row.null_low, row.null_high], np.quantile(null, [0.025, 0.975]), atol=1e-12)
    assert row.n_permutations == 50


@pytest.mark.parametrize("n_way, top_k", [(2, 1), (10, 1), (10, 3)])
def test_the_null_lies_about_chance_and_what_is_decoded_above_it(n_way, top_k):
    true, predicted, ids = simulated(n=80)
    spec = EmbeddingSpec("found", "image_retrieval", "clip", "pearson", n_way, top_k)
    row = score_embeddings(specs(spec), {"clip": true}, {"clip": predicted}, ids, n_permutations=400).rows[0]
    assert row.null_mean == pytest.approx(top_k / n_way, abs=0.01)
    assert row.null_low < top_k / n_way < row.null_high < row.ci_low < row.mean < row.ci_high


def test_predictions_without_information_fall_into_the_null_as_often_as_it_says():
    spec, inside = EmbeddingSpec("found", "image_retrieval", "clip"), 0
    for seed in range(100):
        true, predicted, ids = simulated(n=30, seed=seed)
        order = np.random.default_rng(seed).permutation(30)
        scores = score_embeddings(
            specs(spec), {"clip": true}, {"clip": predicted[order]}, ids, n_permutations=200, n_resamples=2000
        )
        inside += scores.rows[0].null_low <= scores.rows[0].mean <= scores.rows[0].null_high
    assert 87 <= inside <= 100


@pytest.mark.parametrize("measure", ["image_retrieval", "brain_retrieval"])
def test_constant_predictions_find_nothing_and_their_null_neither(measure):
    true, _, ids = simulated()
    for predicted, similarity in ((np.full_like(true, 0.3), "pearson"), (np.zeros_like(true), "cosine")):
        spec = EmbeddingSpec("found", measure, "clip", similarity, 4, 2)
        scores = score_embeddings(specs(spec), {"clip": true}, {"clip": predicted}, ids, **FEW)
        assert (scores.values["found"] == 0).all()
        assert (scores.rows[0].mean, scores.rows[0].null_mean, scores.rows[0].null_high) == (0, 0, 0)
        assert scores.ranks[0].predicted == 0


def test_the_same_prediction_for_all_does_not_pass_for_retrieval():
    # Its similarities to the true values differ, so it "finds" those it is like: chance, as the null says.
    true, predicted, ids = simulated()
    same = np.tile(predicted[0], (30, 1))
    forward = EmbeddingSpec("forward", "image_retrieval", "clip")
    backward = EmbeddingSpec("backward", "brain_retrieval", "clip")
    scores = score_embeddings(specs(forward, backward), {"clip": true}, {"clip": same}, ids, **FEW)
    assert scores.rows[0].mean == scores.rows[0].null_low == scores.rows[0].null_high == pytest.approx(0.5)
    assert (scores.values["backward"] == 0).all()  # all tie


def test_perfect_predictions_find_all_and_scale_and_shift_change_nothing():
    true, predicted, ids = simulated()
    spec = EmbeddingSpec("found", "image_retrieval", "clip", "pearson", 300)
    perfect = score_embeddings(specs(spec), {"clip": true}, {"clip": 3 * true + 1}, ids, **FEW)
    assert (perfect.values["found"] == 1).all() and perfect.rows[0].null_high < 0.2
    one, other = (
        score_embeddings(specs(spec), {"clip": true}, {"clip": values}, ids, **FEW)
        for values in (predicted, predicted.astype(float) * 7 - 3)
    )
    assert one.rows == other.rows


def test_order_of_stimuli_is_that_of_the_values():
    true, predicted, ids = simulated()
    spec, order = EmbeddingSpec("found", "brain_retrieval", "clip"), np.random.default_rng(0).permutation(30)
    one = score_embeddings(specs(spec), {"clip": true}, {"clip": predicted}, ids, **FEW)
    moved = [ids[i] for i in order]
    other = score_embeddings(specs(spec), {"clip": true[order]}, {"clip": predicted[order]}, moved, **FEW)
    np.testing.assert_allclose(other.values["found"], one.values["found"][order])
    assert other.stimulus_ids == tuple(moved)


def test_targets_that_one_side_lacks_are_left_out_and_ranks_are_of_all_others():
    true, predicted, ids = simulated()
    latents = true @ np.random.default_rng(1).normal(size=(40, 5))
    given = specs(
        EmbeddingSpec("late", "image_retrieval", "latents"),
        EmbeddingSpec("early", "image_retrieval", "clip"),
        EmbeddingSpec("absent", "image_retrieval", "text"),
        EmbeddingSpec("unpredicted", "image_retrieval", "vision"),
    )
    truth = {"clip": true, "vision": true, "latents": latents, "unscored": latents}
    guesses = {"clip": predicted, "latents": latents + 1, "text": true, "unscored": latents * 0}
    scores = score_embeddings(given, truth, guesses, ids, **FEW)
    assert [row.metric for row in scores.rows] == list(scores.values) == ["late", "early"]
    assert [rank.target for rank in scores.ranks] == ["clip", "latents", "unscored"]
    assert scores.ranks[0].true == pytest.approx(effective_rank(true))
    assert scores.ranks[0].predicted == pytest.approx(effective_rank(predicted))
    assert scores.ranks[2].predicted == 0


def test_two_way_identification_has_the_interval_of_pairs():
    true, predicted, ids = simulated()
    given = specs(
        EmbeddingSpec("two", "image_retrieval", "clip"), EmbeddingSpec("ten", "image_retrieval", "clip", n_way=10)
    )
    two, ten = score_embeddings(given, {"clip": true}, {"clip": predicted}, ids, seed=3, **FEW).rows
    pairs = bootstrap_pairs(*success_matrix(similarities(true, predicted, "pearson")), seed=3, n_resamples=2000)
    assert (two.n, two.ci_low, two.ci_high) == (pairs.n, pairs.ci_low, pairs.ci_high)
    assert two.mean == pytest.approx(pairs.mean)
    rates = n_way_rates(similarities(true, predicted, "pearson"), n_way=10)
    assert (ten.ci_low, ten.ci_high) == pytest.approx(bootstrap_mean(rates, seed=3, n_resamples=2000)[2:])


def test_one_stimulus_has_no_scores():
    true, predicted, ids = simulated(n=1)
    spec = EmbeddingSpec("found", "image_retrieval", "clip")
    scores = score_embeddings(specs(spec), {"clip": true}, {"clip": predicted}, ids, **FEW)
    assert scores == EmbeddingScores(("s0",), {}, [], [])


def test_same_seed_same_scores_and_another_seed_another_null():
    true, predicted, ids = simulated()
    spec = EmbeddingSpec("found", "image_retrieval", "clip", n_way=5)
    one, same, other = (
        score_embeddings(specs(spec), {"clip": true}, {"clip": predicted}, ids, seed=seed, **FEW) for seed in (1, 1, 2)
    )
    assert one == same and one != other
    np.testing.assert_array_equal(one.values["found"], other.values["found"])


def test_comes_back_from_json_as_it_was():
    true, predicted, ids = simulated()
    spec = EmbeddingSpec("found", "image_retrieval", "clip", n_way=5)
    scores = score_embeddings(specs(spec), {"clip": true}, {"clip": predicted}, ids, **FEW)
    again = EmbeddingScores.from_dict(json.loads(json.dumps(scores.to_dict(), allow_nan=False)))
    assert again == scores and again.stimulus_ids == scores.stimulus_ids
    np.testing.assert_array_equal(again.values["found"], scores.values["found"])
    with pytest.raises((KeyError, TypeError)):
        EmbeddingScores.from_dict({"rows": []})


def test_tables_on_disk_are_read_and_must_be_of_the_same_stimuli(tmp_path):
    true, predicted, ids = simulated(n_targets=70)
    table = FeatureTable(tmp_path, tuple(ids), true.shape, np.dtype(np.float32))
    for _ in arrange(true, table):
        pass
    spec = EmbeddingSpec("found", "image_retrieval", "clip")
    scores = score_embeddings(specs(spec), {"clip": table}, {"clip": predicted}, ids, **FEW)
    assert scores == score_embeddings(specs(spec), {"clip": true}, {"clip": predicted}, ids, **FEW)
    with pytest.raises(InputError, match="another order"):
        score_embeddings(specs(spec), {"clip": table}, {"clip": predicted}, ids[::-1], **FEW)


def test_one_target_is_in_memory_at_a_time():
    true, _, ids = simulated()
    read, alive = [], []

    class Table:
        shape, stimulus_ids = true.shape, tuple(ids)

        def __array__(self, dtype=None, copy=None):
            values = true.copy()
            read.append(weakref.ref(values))
            alive.append(sum(one() is not None for one in read))
            return values

    names = ("a", "b", "c")
    given = specs(*(EmbeddingSpec(name, "image_retrieval", name, n_way=5) for name in names))
    tables = {name: Table() for name in names}
    assert len(score_embeddings(given, tables, tables, ids, **FEW).rows) == 3
    assert alive == [1, 2] * 3


def test_hostile_input():
    true, predicted, ids = simulated()
    given = specs(EmbeddingSpec("found", "image_retrieval", "clip"))
    broken = predicted.copy()
    broken[4, 2] = np.nan
    for sides in ((true, broken), (broken, true)):
        with pytest.raises(InputError, match="Target 'clip': 1 of 30 rows hold NaN"):
            score_embeddings(given, {"clip": sides[0]}, {"clip": sides[1]}, ids, **FEW)
    for other in (predicted[:-1], predicted[:, :-1], predicted[..., None], predicted[0]):
        with pytest.raises(InputError, match="Target 'clip' has true values of shape"):
            score_embeddings(given, {"clip": true}, {"clip": other}, ids, **FEW)
    with pytest.raises(InputError, match="19 permutations"):
        score_embeddings(given, {"clip": true}, {"clip": predicted}, ids, n_permutations=19)
    with pytest.raises(InputError, match="29 different ones among 30"):
        score_embeddings(given, {"clip": true}, {"clip": predicted}, ["s1", *ids[1:]], **FEW)
    with pytest.raises(InputError, match="measures 'retrieval'"):
        score_embeddings(specs(EmbeddingSpec("a", "retrieval", "clip")), {"clip": true}, {"clip": predicted}, ids)
    with pytest.raises(InputError, match="3 best of 3"):
        unfailing = specs(EmbeddingSpec("a", "image_retrieval", "clip", n_way=3, top_k=3))
        score_embeddings(unfailing, {"clip": true}, {"clip": predicted}, ids, **FEW)
