"""Regions that share voxels made to share none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.adapters.disjoint_regions import REST, disjoint_regions
from stages.ground.errors import InputError

masks = st.integers(1, 30).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.lists(st.booleans(), min_size=n, max_size=n), max_size=6))
)


@given(masks)
def test_they_are_a_permutation_of_all_voxels(drawn):
    n, rows = drawn
    found = disjoint_regions({f"r{place}": np.array(row, dtype=bool) for place, row in enumerate(rows)}, n)
    order = [voxel for region in found.values() for voxel in region]
    assert sorted(order) == list(range(n)) and sum(map(len, found.values())) == n
    assert all(found.values())
    vector = np.random.default_rng(0).normal(size=n)
    back = np.empty(n)
    back[order] = vector[order]
    np.testing.assert_array_equal(back, vector)
    for voxel in range(n):
        first = next((f"r{place}" for place, row in enumerate(rows) if row[voxel]), REST)
        assert voxel in found[first]


@pytest.mark.parametrize("mask", [np.ones(4, dtype=bool), np.ones(5), np.ones((5, 1), dtype=bool)])
def test_what_is_no_mask_is_refused(mask):
    with pytest.raises(InputError, match="expected a bool for each"):
        disjoint_regions({"V1": mask}, 5)
