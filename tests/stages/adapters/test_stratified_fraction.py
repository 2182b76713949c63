"""Shares of stimuli: every kind is there, sizes are proportional, and the draw is that of its seed."""

import numpy as np
import pytest

from stages.adapters.stratified_fraction import stratified_fraction
from stages.ground.errors import InputError

SIZES = (400, 300, 150, 80, 20, 2)


def clustered():
    random = np.random.default_rng(0)
    kinds = np.repeat(np.arange(6), SIZES)
    order = random.permutation(len(kinds))
    return (20 * np.eye(6)[kinds] + 0.1 * random.standard_normal((len(kinds), 6)))[order], kinds[order]


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.25, 0.5])
def test_every_cluster_has_its_share(fraction):
    vectors, kinds = clustered()
    rows = stratified_fraction(vectors, fraction, seed=3)
    counts = np.bincount(kinds[rows], minlength=6)
    assert (counts >= 1).all() and len(set(rows.tolist())) == len(rows) and (np.diff(rows) > 0).all()
    assert (np.abs(counts - fraction * np.array(SIZES)) < 1).all()
    assert len(rows) - fraction * len(kinds) < 6


def test_all_of_it_is_all_of_it():
    vectors, kinds = clustered()
    assert np.array_equal(stratified_fraction(vectors, 1.0), np.arange(len(kinds)))


def test_the_seed_draws():
    vectors, _ = clustered()
    first, again, other = (stratified_fraction(vectors, 0.25, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_fewer_vectors_than_clusters_are_fewer_clusters():
    assert len(stratified_fraction(np.zeros((20, 3)), 0.25)) == 5
    assert np.array_equal(stratified_fraction(np.arange(3.0)[:, None], 0.1), [0, 1, 2])


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1, np.nan])
def test_shares_that_are_none_are_refused(fraction):
    with pytest.raises(InputError, match="above 0 and up to 1"):
        stratified_fraction(np.zeros((20, 3)), fraction)
