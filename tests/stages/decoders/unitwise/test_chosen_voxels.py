"""Which voxels units are decoded from: the strongest correlations, ties by place."""

import numpy as np
import torch

from stages.decoders.unitwise.chosen_voxels import chosen_voxels, places_of
from stages.decoders.unitwise.unitwise import UnitwiseDecoder


def test_the_strongest_correlations_vs_numpy():
    correlations = np.random.default_rng(0).uniform(-1, 1, (50, 37))
    expected = np.sort(np.argsort(-np.abs(correlations), axis=1)[:, :11], axis=1)
    np.testing.assert_array_equal(places_of(chosen_voxels(torch.from_numpy(correlations), 11)), expected)


def test_of_equal_correlations_the_first_voxels():
    correlations = torch.tensor([[0.5, -0.5, 0.5, -0.5], [0.0, 0.0, 0.0, 0.0], [0.1, 0.5 + 1e-14, -0.5, 0.5 + 2e-14]])
    assert places_of(chosen_voxels(correlations.double(), 2)).tolist() == [[0, 1], [0, 1], [1, 2]]


def test_as_many_as_there_are():
    assert chosen_voxels(torch.rand(3, 4).double(), 4).all() and chosen_voxels(torch.rand(3, 4).double(), 9).all()


def test_an_informative_voxel_is_chosen_by_its_unit_alone_and_a_constant_one_by_none():
    random = np.random.default_rng(1)
    patterns, units = random.normal(size=(400, 40)), random.normal(size=(400, 6))
    units[:, 4] += 2 * patterns[:, 17]
    patterns[:, [3, 30]] = 7.0
    decoder = UnitwiseDecoder(voxels=2).fit(patterns, units)
    chosen = decoder.tensors_["chosen_"]
    correlations = np.corrcoef(np.delete(patterns, [3, 30], axis=1).T, units.T)[:38, 38:]
    expected = np.delete(np.arange(40), [3, 30])[np.argsort(-np.abs(correlations), axis=0)[:2].T]
    np.testing.assert_array_equal(chosen, np.sort(expected, axis=1))
    assert (chosen == 17).any(axis=1).tolist() == [False, False, False, False, True, False]
    assert not np.isin(chosen, [3, 30]).any()
    assert "2 of 40 voxels do not vary and are never chosen." in decoder.notes()


def test_copies_of_a_voxel_are_taken_from_the_first_on():
    random = np.random.default_rng(2)
    patterns, units = random.normal(size=(90, 30)), random.normal(size=(90, 8))
    patterns[:, [5, 12, 20, 29]] = units[:, :1]
    decoder = UnitwiseDecoder(voxels=3).fit(patterns, units)
    assert decoder.tensors_["chosen_"][0].tolist() == [5, 12, 20]
