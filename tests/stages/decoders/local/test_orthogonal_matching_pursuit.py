"""Orthogonal matching pursuit of many targets against scikit-learn's, one by one."""

import warnings

import numpy as np
import pytest
from sklearn.linear_model import OrthogonalMatchingPursuit

from stages.decoders.local import orthogonal_matching_pursuit as module
from stages.decoders.local.orthogonal_matching_pursuit import orthogonal_matching_pursuit


def simulated(n_samples, n_voxels, n_targets=6, seed=0):
    generator = np.random.default_rng(seed)
    voxels = generator.normal(size=(n_voxels, n_samples)) + generator.normal(size=n_samples)
    voxels -= voxels.mean(axis=1, keepdims=True)
    voxels /= voxels.std(axis=1, keepdims=True)
    targets = generator.normal(size=(n_targets, n_voxels)) @ voxels + 5 * generator.normal(size=(n_targets, n_samples))
    return voxels, targets - targets.mean(axis=1, keepdims=True)


def dense(chosen, weights, n_voxels):
    found = np.zeros((len(chosen), n_voxels))
    np.add.at(found, (np.arange(len(chosen))[:, None], chosen), weights)
    return found


def scikit_learn(voxels, target, n_nonzero):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return OrthogonalMatchingPursuit(n_nonzero_coefs=n_nonzero).fit(voxels.T, target).coef_


@pytest.mark.parametrize("shape", [(40, 70), (90, 30)])
@pytest.mark.parametrize("n_nonzero", [1, 4, 12])
def test_all_voxels_vs_scikit_learn(shape, n_nonzero):
    voxels, targets = simulated(*shape)
    found = dense(*orthogonal_matching_pursuit(voxels, targets, n_nonzero), shape[1])
    expected = [scikit_learn(voxels, target, n_nonzero) for target in targets]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("block_bytes", [1, 2**30])
def test_selected_voxels_vs_scikit_learn(block_bytes, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", block_bytes)
    voxels, targets = simulated(50, 90)
    generator = np.random.default_rng(1)
    selected = np.stack([np.sort(generator.permutation(90)[:20]) for _ in targets])
    found = dense(*orthogonal_matching_pursuit(voxels, targets, 8, selected), 90)
    for row, target, own in zip(found, targets, selected):
        expected = np.zeros(90)
        expected[own] = scikit_learn(voxels[own], target, 8)
        np.testing.assert_allclose(row, expected, rtol=1e-9, atol=1e-12)


def test_what_is_explained_stops_alone():
    voxels, targets = simulated(60, 30)
    targets[1] = 3 * voxels[7]
    targets[2] = 0
    chosen, weights = orthogonal_matching_pursuit(voxels, targets, 10)
    assert chosen[1, 0] == 7 and weights[1, 0] == pytest.approx(3)
    np.testing.assert_allclose(weights[1, 1:], 0, atol=1e-12)
    assert not weights[2].any()
    assert (weights[[0, 3, 4, 5]] != 0).all()


def test_twins_enter_once():
    voxels, targets = simulated(60, 10)
    doubled = np.concatenate([voxels, voxels, np.zeros((3, 60))])
    found = dense(*orthogonal_matching_pursuit(doubled, targets, 20), 23)
    expected = dense(*orthogonal_matching_pursuit(voxels, targets, 10), 10)
    np.testing.assert_allclose(found[:, :10] + found[:, 10:20], expected, rtol=1e-9, atol=1e-11)
    assert np.isfinite(found).all() and not found[:, 20:].any()


def test_steps_are_no_more_than_the_data_allow():
    voxels, targets = simulated(5, 30)
    chosen, _ = orthogonal_matching_pursuit(voxels, targets, 10)
    assert chosen.shape == (6, 4)
    assert orthogonal_matching_pursuit(voxels[:3], targets, 10)[0].shape == (6, 3)


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_no_unit_stops_it(factor):
    voxels, targets = simulated(40, 70)
    chosen, weights = orthogonal_matching_pursuit(voxels, targets, 8)
    scaled, scaled_weights = orthogonal_matching_pursuit(voxels, targets * factor, 8)
    np.testing.assert_array_equal(scaled, chosen)
    np.testing.assert_allclose(scaled_weights, weights * factor, rtol=1e-9)
