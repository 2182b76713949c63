"""Trials filled up to three: against averages of padded lists, and plain averages of those that are whole."""

import numpy as np
import pytest

from brainrecon.datasets.padded_trials import padded, padded_patterns
from brainrecon.datasets.split import NotFiniteError, Split


def test_patterns_are_means_of_padded_lists():
    random = np.random.default_rng(0)
    shown = [f"s{number}" for number, times in enumerate((1, 2, 3, 4, 2)) for _ in range(times)]
    shown = [shown[row] for row in random.permutation(len(shown))]
    betas = random.normal(size=(len(shown), 6)).astype(np.float32)
    split = Split(betas, shown)
    found = padded_patterns(split)
    assert found.dtype == np.float32 and found.shape == (5, 6)
    for name, pattern in zip(split.stimulus_ids, found):
        own = [betas[row].astype(np.float64) for row, one in enumerate(shown) if one == name]
        three = {1: [0, 0, 0], 2: [0, 1, 0], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[len(own)]
        np.testing.assert_allclose(pattern, np.mean([own[k] for k in three], axis=0), atol=1e-6)
        assert padded(len(own), 3) == three
    np.testing.assert_allclose(padded_patterns(split, to=1), split.patterns, atol=1e-6)


def test_responses_on_disk_are_read_in_order(monkeypatch):
    monkeypatch.setattr("brainrecon.datasets.padded_trials.ROWS_PER_BLOCK", 3)
    betas = np.arange(14, dtype=np.float32).reshape(7, 2)
    split = Split(betas, list("abababa"))
    np.testing.assert_allclose(padded_patterns(split), [betas[[0, 2, 4, 6]].mean(0), betas[[1, 3, 5]].mean(0)])


def test_a_value_that_is_not_finite_is_refused():
    betas = np.float32([[1, 2], [np.nan, 3]])
    with pytest.raises(NotFiniteError):
        padded_patterns(Split(betas, ["a", "b"]))
