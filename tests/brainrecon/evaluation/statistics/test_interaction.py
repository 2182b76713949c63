"""Differences of differences: against their definition, and what they refuse."""

import numpy as np
import pytest

from brainrecon.evaluation.statistics.interaction import bootstrap_interaction
from brainrecon.evaluation.statistics.intervals import bootstrap_mean
from stages.ground.errors import InputError

FEW = {"n_resamples": 2000}


def corners(effect, n=60, seed=0):
    """Four scores of the same stimuli: layers and regions differ anyhow, and `effect` is what they have together."""
    random = np.random.default_rng(seed)
    stimulus, own = random.normal(size=n), random.normal(size=(4, n)) * 0.1
    a, b, c, d = (stimulus + level + noise for level, noise in zip((0.9 + effect, 0.3, 0.6, 0.0), own, strict=True))
    return (a, b), (c, d)


def test_it_is_the_mean_of_paired_differences_of_differences():
    first, second = corners(0.2)
    found = bootstrap_interaction(first, second, **FEW)
    assert found == pytest.approx(bootstrap_mean(first[0] - first[1] - second[0] + second[1], **FEW), abs=1e-12)
    assert found.mean == pytest.approx(0.2, abs=0.1) and found.ci_low > 0


def test_effects_of_layers_and_of_regions_cancel():
    found = bootstrap_interaction(*corners(0.0), **FEW)
    assert found.ci_low < 0 < found.ci_high


def test_the_order_of_stimuli_changes_the_mean_by_rounding_alone():
    (a, b), (c, d) = corners(0.1)
    order = np.random.default_rng(1).permutation(60)
    turned = bootstrap_interaction((a[order], b[order]), (c[order], d[order]), **FEW)
    assert turned.mean == pytest.approx(bootstrap_interaction((a, b), (c, d), **FEW).mean, abs=1e-12)


def test_one_stimulus_has_no_interval():
    assert bootstrap_interaction(([1.0], [0.5]), ([0.2], [0.1]), **FEW)[2:] == (None, None)


@pytest.mark.parametrize(
    "first, second, said",
    [
        (([1.0, 2.0], [1.0]), ([1.0, 2.0], [1.0, 2.0]), "expected two and two of one shape"),
        (([1.0, 2.0],), ([1.0, 2.0], [1.0, 2.0]), "expected two and two of one shape"),
        (([1.0, np.nan], [1.0, 2.0]), ([1.0, 2.0], [1.0, 2.0]), "1 that are not finite"),
    ],
)
def test_what_is_not_paired_is_refused(first, second, said):
    with pytest.raises(InputError, match=said):
        bootstrap_interaction(first, second, **FEW)
