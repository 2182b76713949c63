"""Responses at one length: as numpy.pad wraps, as torch pools, and as MinD-Vis makes windows of a resting run."""

import numpy as np
import pytest
import torch

from stages.adapters.fixed_length import pooled, windows, wrapped, wrapped_to_multiple
from stages.ground.errors import InputError


@pytest.mark.parametrize("n, length", [(5, 5), (5, 7), (5, 23), (16, 32), (17, 32)])
def test_wrapping_is_numpys(n, length):
    patterns = np.random.default_rng(0).standard_normal((3, n)).astype(np.float32)
    expected = np.pad(patterns, ((0, 0), (0, length - n)), mode="wrap")
    assert np.array_equal(wrapped(patterns, length), expected)
    assert np.array_equal(wrapped(torch.from_numpy(patterns), length).numpy(), expected)


def test_a_longer_pattern_is_cut():
    assert wrapped(np.arange(10)[None], 4).tolist() == [[0, 1, 2, 3]]


def test_a_whole_patch_more_where_the_voxels_are_a_multiple():
    assert [wrapped_to_multiple(n, 16) for n in (1, 15, 16, 17, 4466, 4404, 4643, 4133, 4370, 1685)] == [
        *(16, 16, 32, 32),
        *(4480, 4416, 4656, 4144, 4384),
        1696,
    ]
    # 17 -> 32: the first fifteen stand behind.
    assert wrapped(np.arange(17), 32)[17:].tolist() == list(range(15))


@pytest.mark.parametrize("kind", ["max", "mean"])
@pytest.mark.parametrize("n, length", [(12, 5), (5, 5), (3, 7)])
def test_pooling_by_parts_that_overlap(n, length, kind):
    patterns = np.random.default_rng(1).standard_normal((2, n)).astype(np.float32)
    parts = [(i * n // length, -(-(i + 1) * n // length)) for i in range(length)]
    expected = np.stack([getattr(patterns[:, a:b], kind)(axis=1) for a, b in parts], axis=1)
    assert np.allclose(pooled(patterns, length, kind), expected, atol=1e-6)
    assert torch.is_tensor(pooled(torch.from_numpy(patterns), length, kind))


def test_a_resting_run_of_the_connectome_is_120_windows_of_10():
    series = np.random.default_rng(2).standard_normal((1200, 3))
    assert np.allclose(windows(series, 120), series.reshape(120, 10, 3).mean(axis=1))
    # As array_split: the first ones are longer.
    assert windows(np.arange(7.0)[:, None], 3).ravel().tolist() == [1.0, 3.5, 5.5]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: wrapped(np.zeros((2, 0)), 4), r"shape \(2, 0\); expected voxels"),
        (lambda: wrapped(np.zeros((2, 3)), 0), "length is 0"),
        (lambda: pooled(np.zeros((2, 3)), 2, "median"), "kind is 'median'"),
        (lambda: windows(np.zeros((5, 3)), 6), "5 moments, of which 6 windows cannot be made"),
        (lambda: wrapped_to_multiple(0, 16), "n_voxels is 0"),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(InputError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
