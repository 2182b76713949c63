"""How a searched picture is shown."""

import numpy as np
import pytest

from stages.inverters.picture_display import displayed


@pytest.mark.parametrize("clip", [4.0, 10.0])
def test_so_many_percent_of_different_values_are_cut_off(clip):
    values = np.random.default_rng(1).permutation(3000).reshape(20, 50, 3).astype(float)
    low, high = np.sort(values.ravel())[[round(30 * clip / 2), -1 - round(30 * clip / 2)]]
    shown = displayed(values, clip)
    assert shown.dtype == np.uint8 and shown.min() == 0 and shown.max() == 255
    # Both ends, half and half, of the three colours together.
    limits = np.percentile(values, [clip / 2, 100 - clip / 2])
    assert ((values < limits[0]) | (values > limits[1])).sum() == pytest.approx(30 * clip, abs=2)
    expected = 255 * (np.clip(values, *limits) - limits[0]) / (limits[1] - limits[0])
    assert np.abs(shown - np.floor(expected)).max() <= 1
    assert np.abs(displayed(values, clip, rounded=True) - expected).max() <= 0.5 + 1e-9
    assert (shown[values < low] == 0).all() and (shown[values > high] >= 254).all()


def test_a_picture_of_one_value_is_black():
    assert displayed(np.full((4, 4, 3), 90.0)).max() == 0


def test_limits_of_a_larger_picture():
    larger = np.random.default_rng(2).normal(100, 60, (12, 12, 3))
    limits = np.percentile(larger, [2, 98])
    expected = 255 * (np.clip(larger[3:9, 3:9], *limits) - limits[0]) / (limits[1] - limits[0])
    assert np.abs(displayed(larger[3:9, 3:9], limits_of=larger) - np.floor(expected)).max() <= 1
    assert np.abs(displayed(larger[3:9, 3:9]) - np.floor(expected)).max() > 1
