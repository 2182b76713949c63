"""n-way identification by classes, against every way to draw the others, and a literal loop over trials."""

from itertools import combinations

import numpy as np
import pytest

from brainrecon.evaluation.metrics.metric import find_metric
from brainrecon.evaluation.metrics.n_way_classes import n_way_of_classes, n_way_of_classes_drawn
from stages.ground.errors import InputError

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("n_way, top_k", [(2, 1), (3, 1), (3, 2), (5, 2), (5, 4), (9, 3)])
def test_the_expectation_is_the_mean_over_every_way_to_draw(n_way, top_k):
    shown = RANDOM.random((6, 7))
    drawn = np.round(RANDOM.random((6, 7)), 1)  # with ties
    found = n_way_of_classes(shown, drawn, n_way, top_k)
    for row, own in enumerate(shown.argmax(axis=1)):
        others = [k for k in range(7) if k != own]
        ways = list(combinations(others, min(n_way - 1, 6)))
        won = [sum(drawn[row, k] >= drawn[row, own] for k in way) < top_k for way in ways]
        assert found[row] == pytest.approx(np.mean(won), abs=1e-12)


def test_trials_tend_to_the_expectation_and_say_so_by_themselves():
    shown, drawn = RANDOM.random((8, 1000)), RANDOM.random((8, 1000))
    drawn[np.arange(8), shown.argmax(axis=1)] = np.linspace(0.9, 1.0, 8)
    exact = n_way_of_classes(shown, drawn)
    trials = n_way_of_classes_drawn(shown, drawn, n_trials=4000, items=list("abcdefgh"))
    assert np.all(np.abs(trials - exact) <= 5 * np.sqrt(exact * (1 - exact) / 4000) + 1e-12)
    assert 0 < exact.min() < 0.5 < exact.max()
    published = n_way_of_classes_drawn(shown, drawn, items=list("abcdefgh"))
    np.testing.assert_allclose(published * 1000, np.round(published * 1000), atol=1e-9)


def test_draws_are_of_the_stimulus_and_without_replacement_among_the_others():
    shown, drawn = RANDOM.random((3, 50)), RANDOM.random((3, 50))
    items = ["cat", "dog", "cat"]
    found = n_way_of_classes_drawn(shown, drawn, n_way=5, items=items)
    for order in ([2, 0, 1], [1], [1, 1]):
        part = n_way_of_classes_drawn(shown[order], drawn[order], n_way=5, items=[items[row] for row in order])
        np.testing.assert_array_equal(part, found[order])
    assert (n_way_of_classes_drawn(shown, drawn, n_way=5, items=["a", "b", "c"]) != found).any()
    # With all classes drawn nothing is left to chance.
    whole = n_way_of_classes_drawn(shown, drawn, n_way=50, n_trials=3, items=items)
    np.testing.assert_array_equal(whole, (drawn.argmax(axis=1) == shown.argmax(axis=1)).astype(float))
    np.testing.assert_array_equal(whole, n_way_of_classes(shown, drawn, n_way=50))


@pytest.mark.parametrize("function", [n_way_of_classes, n_way_of_classes_drawn])
def test_what_is_known_beforehand(function):
    shown = np.zeros((1, 1000))
    shown[0, 7] = 1
    assert function(shown, shown)[0] == 1.0
    second = shown.copy()
    second[0, 8] = 2
    assert function(shown, second)[0] == pytest.approx(1 - 49 / 999, abs=0.02)
    # Of no opinion: every other class has as much, and ties fail.
    assert function(shown, np.ones((1, 1000)))[0] == 0.0
    shown, drawn = RANDOM.random((150, 1000)), RANDOM.random((150, 1000))
    found = function(shown, drawn)
    assert found.mean() == pytest.approx(1 / 50, abs=4 * found.std() / 150**0.5)


def test_chance_is_that_of_the_options():
    metric = find_metric("n_way_of_classes_drawn")
    assert metric.by_lot and metric.chance_level(n_way=50, top_k=5, n_trials=1000) == 0.1 and metric.chance == 0.02
    assert metric.options == ["n_way", "top_k", "n_trials"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((np.ones((2, 10)), np.ones((3, 10))), "of both"),
        ((np.ones((2, 1)), np.ones((2, 1))), "two classes or more"),
        ((np.ones((2, 10)), np.full((2, 10), np.nan)), "NaN or infinite"),
        ((np.ones((2, 10)), np.ones((2, 10)), 1), "looked for among"),
        ((np.ones((2, 10)), np.ones((2, 10)), 5, 5), "looked for among"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, said):
    for function in (n_way_of_classes, n_way_of_classes_drawn):
        with pytest.raises(InputError, match=said):
            function(*arguments)
    with pytest.raises(InputError, match="drawn in 0 trials"):
        n_way_of_classes_drawn(np.eye(3), np.eye(3), 2, n_trials=0)
    with pytest.raises(InputError, match="give the stimulus of each"):
        n_way_of_classes_drawn(np.eye(3), np.eye(3), 2, items=["a"])
