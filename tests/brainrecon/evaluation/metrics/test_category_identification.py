"""Identification of categories: the published count written out, chance, ties, and what is undefined."""

import time

import numpy as np
import pytest

from brainrecon.evaluation.metrics.category_identification import (
    category_identification,
    category_rates_of_all_pairs,
    first_label,
)
from stages.ground.errors import InputError

N, N_CANDIDATES, N_VALUES = 30, 80, 25


@pytest.fixture(scope="module")
def drawn():
    random = np.random.default_rng(0)
    candidates = random.normal(size=(N_CANDIDATES, N_VALUES)).astype(np.float32)
    own = random.integers(0, N_CANDIDATES, N)
    return candidates, own, (candidates[own] + 2 * random.normal(size=(N, N_VALUES))).astype(np.float32)


def counted(predicted, candidates, own, own_candidates=None):
    """As get_pwident_correctrate of the authors' Python counts: those that are greater fail, and nothing else."""
    rates = []
    for row, one in enumerate(predicted):
        others = [np.corrcoef(one, candidate)[0, 1] for place, candidate in enumerate(candidates) if place != own[row]]
        true = candidates[own[row]] if own_candidates is None else own_candidates[row]
        rates.append((len(others) - sum(other > np.corrcoef(one, true)[0, 1] for other in others)) / len(others))
    return np.array(rates)


def test_rates_vs_the_published_count(drawn):
    candidates, own, predicted = drawn
    np.testing.assert_allclose(category_identification(predicted, candidates, own), counted(predicted, candidates, own))


def test_an_own_candidate_that_differs_from_its_row(drawn):
    """The row of its category competes with nobody; what stands for it need not be among the candidates."""
    candidates, own, predicted = drawn
    beside = candidates[own] + 0.3 * np.random.default_rng(1).normal(size=predicted.shape)
    found = category_identification(predicted, candidates, own, beside)
    np.testing.assert_allclose(found, counted(predicted, candidates, own, beside))
    pairs = category_rates_of_all_pairs(predicted, candidates, own, beside)
    turned = np.random.default_rng(2).permutation(N)
    expected = counted(predicted[turned], candidates, own, beside)
    np.testing.assert_allclose(pairs[np.arange(N), turned], expected)


def test_a_random_predictor_is_at_chance_and_a_perfect_one_at_the_top():
    random = np.random.default_rng(3)
    candidates = random.normal(size=(400, 60))
    own = random.integers(0, 400, 300)
    rates = category_identification(random.normal(size=(300, 60)), candidates, own)
    # A uniform rate has the standard deviation 1 / sqrt(12).
    assert abs(rates.mean() - 0.5) < 3.5 / np.sqrt(12 * 300)
    assert (category_identification(5 - 3 * -candidates[own], candidates, own) == 1).all()


def test_ties_succeed_as_published_or_fail():
    candidates = np.tile(np.random.default_rng(4).normal(size=8), (6, 1))
    predicted, own = np.random.default_rng(5).normal(size=(4, 8)), np.arange(4)
    assert category_identification(predicted, candidates, own).tolist() == [1.0] * 4
    assert category_identification(predicted, candidates, own, ties="fail").tolist() == [0.0] * 4


def test_candidates_that_hold_nan_are_dropped_and_their_own_stimuli_have_no_rate(drawn):
    candidates, own, predicted = drawn
    spoilt = candidates.copy()
    spoilt[own[0], 3], spoilt[(own[0] + 1) % N_CANDIDATES] = np.nan, 7.0
    kept = np.delete(np.arange(N_CANDIDATES), [own[0], (own[0] + 1) % N_CANDIDATES])
    rates, there = category_identification(predicted, spoilt, own), np.isin(own, kept)
    assert np.isnan(rates[~there]).all() and not there[0]
    rows = [int(np.flatnonzero(kept == one)[0]) for one in own[there]]
    np.testing.assert_allclose(rates[there], counted(predicted[there], candidates[kept], rows))


def test_a_constant_prediction_finds_nothing(drawn):
    """Published code calls it right every time: no correlation is greater than one that is not defined."""
    candidates, own, predicted = drawn
    flat = predicted.copy()
    flat[2] = 4.0
    rates = category_identification(flat, candidates, own)
    assert rates[2] == 0 and (category_identification(np.ones_like(predicted), candidates, own) == 0).all()
    np.testing.assert_array_equal(
        np.delete(rates, 2), np.delete(category_identification(predicted, candidates, own), 2)
    )


def test_the_published_size_is_quick():
    random = np.random.default_rng(6)
    candidates = random.normal(size=(15_372, 1000)).astype(np.float32)
    own = np.arange(50)
    start = time.process_time()
    rates = category_identification(candidates[own] + 20 * random.normal(size=(50, 1000)), candidates, own)
    assert 0.5 < rates.mean() < 1 and time.process_time() - start < 10


def test_the_order_of_candidates_and_company_change_nothing(drawn):
    candidates, own, predicted = drawn
    order = np.random.default_rng(7).permutation(N_CANDIDATES)
    places = np.argsort(order)[own]
    expected = category_identification(predicted, candidates, own)
    np.testing.assert_allclose(category_identification(predicted, candidates[order], places), expected)
    np.testing.assert_allclose(category_identification(predicted[:3], candidates, own[:3]), expected[:3])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"own": [0, 1]}, "expected the row of each"),
        ({"own": [-1] * N}, "expected the row of each"),
        ({"ties": "maybe"}, "ties is 'maybe'"),
        ({"candidates": np.full((5, N_VALUES), np.nan), "own": [0] * N}, "0 of 5 candidates can be compared with"),
        ({"own_candidates": np.zeros((2, N_VALUES))}, "Own candidates have shape"),
        ({"candidates": np.zeros((9, 4)), "own": [0] * N}, "features"),
    ],
)
def test_what_does_not_fit_is_refused(drawn, arguments, said):
    candidates, own, predicted = drawn
    with pytest.raises(InputError, match=said):
        category_identification(**{"predicted": predicted, "candidates": candidates, "own": own} | arguments)


def test_first_names():
    right = [["n02951358 canoe"], ["boat", "ship"], ["cat"], ["fish"]]
    said = ["n02951358\nboat", "ship", "dog\ncat", ""]
    assert first_label(right, said).tolist() == [1, 1, 0, 0]
