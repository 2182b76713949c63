"""A picture's noise depends on the seed, the stimulus and the sample, and on nothing else."""

import hashlib

import numpy as np
import pytest
import torch

from stages.ground.item_seeds import (
    item_generator,
    name_digest,
    named_generator,
    named_numpy_generator,
    numpy_generator,
)


def test_seed_vs_sha256_by_hand():
    digest = hashlib.sha256(b"7/nsd00042/1").hexdigest()
    expected = torch.Generator().manual_seed(int(digest[:16], 16))
    drawn = item_generator(7, "nsd00042", 1)
    assert drawn.device.type == "cpu"
    assert drawn.initial_seed() == int(digest[:16], 16)
    assert torch.equal(torch.randn(100, generator=drawn), torch.randn(100, generator=expected))


def test_order_does_not_matter():
    items = [(0, "nsd00001", 0), (0, "nsd00002", 0), (0, "nsd00001", 1)]
    forward = {item: torch.randn(8, generator=item_generator(*item)) for item in items}
    torch.manual_seed(123)
    torch.randn(1000)
    for item in reversed(items):
        assert torch.equal(torch.randn(8, generator=item_generator(*item)), forward[item])


def test_global_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.randn(4)
    torch.manual_seed(5)
    torch.randn(10, generator=item_generator(0, "a", 0))
    assert torch.equal(torch.randn(4), expected)


@pytest.mark.parametrize("other", [(1, "nsd00001", 0), (0, "nsd00002", 0), (0, "nsd00001", 1)])
def test_each_argument_matters(other):
    first = torch.randn(8, generator=item_generator(0, "nsd00001", 0))
    assert not torch.equal(first, torch.randn(8, generator=item_generator(*other)))


def test_both_libraries_vs_sha256_by_hand():
    seed = int(hashlib.sha256(b"7/nsd00042/1").hexdigest()[:16], 16)
    expected = np.random.default_rng(seed).standard_normal(5)
    np.testing.assert_array_equal(numpy_generator(7, "nsd00042", 1).standard_normal(5), expected)
    np.testing.assert_array_equal(named_numpy_generator("7/nsd00042/1").standard_normal(5), expected)
    assert named_generator(b"7/nsd00042/1").initial_seed() == item_generator(7, "nsd00042", 1).initial_seed() == seed
    assert name_digest("7/nsd00042/1") == name_digest(b"7/nsd00042/1") == hashlib.sha256(b"7/nsd00042/1").digest()
