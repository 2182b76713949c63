"""Reliability from two halves: Spearman and Brown, Horst's formula by brute force, and the ceiling of simulated repeats."""

import numpy as np
import pytest

from brainrecon.evaluation.statistics.bootstrap import Estimate
from brainrecon.evaluation.statistics.split_half import ceiling_of_halves, reliability_of_average


def test_equal_halves_are_spearman_and_browns():
    r = np.linspace(0.01, 1, 50)
    np.testing.assert_allclose(reliability_of_average(r, 4, 4), 2 * r / (1 + r), atol=1e-12)
    np.testing.assert_allclose(reliability_of_average(-r, 4, 4), -2 * r / (1 + r), atol=1e-12)
    assert reliability_of_average(0.0, 4, 4) == reliability_of_average(1e-200, 1, 2) == 0


@pytest.mark.parametrize("smaller, larger", [(1, 2), (1, 1), (3, 4), (2, 7)])
@pytest.mark.parametrize("noise", [0.2, 1.0, 6.0])
def test_unequal_halves_give_back_the_noise(smaller, larger, noise):
    r = 1 / np.sqrt((1 + noise / smaller) * (1 + noise / larger))
    k = smaller + larger
    assert reliability_of_average(r, smaller, larger) == pytest.approx(1 / (1 + noise / k))


def test_numbers_of_repeats_may_differ():
    """Noise of averages is the mean of 1/k over stimuli: checked on the variances themselves."""
    smaller, larger, noise = np.array([1, 1, 2, 4]), np.array([1, 2, 3, 4]), 2.5
    parts = [1 + noise * np.mean(1 / own) for own in (smaller, larger, smaller + larger)]
    r = 1 / np.sqrt(parts[0] * parts[1])
    found = ceiling_of_halves(Estimate(50, r, 0.8 * r, r), smaller, larger)
    # a and b are effective numbers, their sum need not be k's: exact where it is, close elsewhere.
    assert found.mean == pytest.approx(np.sqrt(1 / parts[2]), abs=1e-6)


@pytest.mark.parametrize("low", [None, 0.0, -0.1])
def test_repeats_that_do_not_tell_have_no_ceiling(low):
    assert ceiling_of_halves(Estimate(3, 0.4, low, None if low is None else 0.8), np.ones(3), np.ones(3)) is None
