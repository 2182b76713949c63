"""Banded ridge against scikit-learn, and the laws of a decoder."""

import json

import numpy as np
import pytest
from banded_voxels import (
    both_shapes,
    correlations_of_columns,
    planted,
    predicted_by_scikit_learn,
    simulated,
    standardised,
    thirds,
    without_himalaya,
)
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from stages.decoders.ridge.banded_ridge import BandedRidgeDecoder
from stages.decoders.ridge.ridge import RidgeDecoder
from stages.ground.errors import InputError


@pytest.mark.usefixtures("himalaya")
@parametrize_with_checks([BandedRidgeDecoder(n_iter=2, folds=2)])
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


@both_shapes
def test_equal_penalties_vs_scikit_learn(himalaya, shape):
    patterns, targets = simulated(*shape)
    new = simulated(11, shape[1], seed=1)[0]
    decoder = BandedRidgeDecoder(thirds(shape[1]), alphas=30.0, n_iter=1, rescale="none").fit(patterns, targets)
    assert decoder.band_penalty_["target"] == pytest.approx({"V1": 30.0, "V2": 30.0, "V3": 30.0})
    reference = Ridge(30.0).fit(standardised(patterns, patterns), targets)
    np.testing.assert_allclose(decoder.predict(new), reference.predict(standardised(new, patterns)), rtol=1e-8)


@both_shapes
def test_found_penalties_vs_scikit_learn_on_scaled_voxels(himalaya, shape):
    patterns, targets = simulated(*shape)
    new = simulated(11, shape[1], seed=1)[0]
    decoder = BandedRidgeDecoder(thirds(shape[1]), n_iter=8, rescale="none")
    predictions = decoder.fit(patterns, targets, groups={"a": 4, "b": 3}).split(decoder.predict(new))
    for name, columns in {"a": slice(0, 4), "b": slice(4, 7)}.items():
        expected = predicted_by_scikit_learn(decoder, name, patterns, targets[:, columns], new)
        np.testing.assert_allclose(predictions[name], expected, rtol=1e-7)


@both_shapes
@pytest.mark.parametrize("rescale", ["held_out", "none"])
def test_one_band_is_ordinary_ridge(himalaya, shape, rescale):
    patterns, targets = simulated(*shape)
    ordinary = RidgeDecoder(alphas=40.0, rescale=rescale).fit(patterns, targets)
    decoder = BandedRidgeDecoder(alphas=40.0, rescale=rescale).fit(patterns, targets)
    assert decoder.band_penalty_ == {"target": {"all": pytest.approx(40.0)}}
    assert decoder.held_out_correlation_["target"] == pytest.approx(ordinary.held_out_correlation_["target"], rel=1e-6)
    np.testing.assert_allclose(decoder.predict(patterns), ordinary.predict(patterns), rtol=1e-6)


@both_shapes
@pytest.mark.parametrize("rescale", ["held_out", "none"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_pattern_alone_equals_the_same_in_a_batch(himalaya, shape, rescale, dtype):
    patterns, targets = (array.astype(dtype) for array in simulated(*shape))
    decoder = BandedRidgeDecoder(thirds(shape[1]), n_iter=4, rescale=rescale).fit(patterns, targets)
    new = simulated(30, shape[1], seed=4)[0].astype(dtype)
    together = decoder.predict(new)
    alone = np.concatenate([decoder.predict(row[None]) for row in new])
    assert together.dtype == dtype
    assert np.abs(together - alone).max() < 1e-4 * together.std()


def test_prediction_needs_no_himalaya(himalaya, monkeypatch):
    patterns, targets = simulated(40, 60)
    decoder = BandedRidgeDecoder(thirds(60), n_iter=3).fit(patterns, targets)
    expected = decoder.predict(patterns)
    without_himalaya(monkeypatch)
    np.testing.assert_array_equal(decoder.predict(patterns), expected)


def test_held_out_rescaling_restores_the_training_spread(himalaya):
    patterns, targets, bands = planted(3000)
    train, new = slice(0, 400), slice(400, None)
    plain, rescaled = (
        BandedRidgeDecoder(bands, n_iter=6, rescale=rescale).fit(patterns[train], targets[train]).predict(patterns[new])
        for rescale in ("none", "held_out")
    )
    assert (plain.std(axis=0) < 0.95 * targets[train].std(axis=0)).all()
    np.testing.assert_allclose(rescaled.std(axis=0), targets[train].std(axis=0), rtol=0.15)
    np.testing.assert_allclose(correlations_of_columns(plain, rescaled), 1)


def test_constant_voxels_and_constant_targets_stay_finite(himalaya):
    patterns, targets = simulated(30, 20)
    patterns[:, :7], targets[:, 2] = 7.0, -4.0  # a whole band is constant
    bands = {"dead": np.arange(20) < 7, "alive": np.arange(20) >= 7}
    decoder = BandedRidgeDecoder(bands, n_iter=4).fit(patterns, targets)
    predictions = decoder.predict(simulated(5, 20, seed=8)[0])
    assert np.isfinite(predictions).all()
    np.testing.assert_allclose(predictions[:, 2], -4.0)


def test_voxels_of_no_band_are_the_rest(himalaya):
    patterns, targets = simulated(30, 20)
    decoder = BandedRidgeDecoder({"V1": np.arange(20) < 6}, n_iter=3).fit(patterns, targets)
    assert list(decoder.band_penalty_["target"]) == ["V1", "rest"]
    np.testing.assert_array_equal(decoder.band_of_voxel_, np.arange(20) >= 6)


@both_shapes
def test_fitting_again_forgets_the_first_fit(himalaya, shape):
    patterns, targets = simulated(*shape)
    decoder = BandedRidgeDecoder(n_iter=2).fit(*simulated(shape[1], shape[0])).fit(patterns, targets)
    fresh = BandedRidgeDecoder(n_iter=2).fit(patterns, targets)
    np.testing.assert_array_equal(decoder.predict(patterns), fresh.predict(patterns))


@both_shapes
def test_save_and_load_keep_every_prediction(himalaya, tmp_path, shape):
    patterns, targets = (array.astype(np.float32) for array in simulated(*shape))
    bands = {"V1": np.arange(shape[1]) < 10, "V2": np.arange(shape[1]) > 30}
    decoder = BandedRidgeDecoder(bands, n_iter=5).fit(patterns, targets, groups={"a": 4, "b": 3})
    decoder.save_pretrained(tmp_path)
    loaded = BandedRidgeDecoder.from_pretrained(tmp_path)
    new = simulated(6, shape[1], seed=6)[0].astype(np.float32)
    np.testing.assert_array_equal(loaded.predict(new), decoder.predict(new))
    for name in ("groups_", "band_names_", "band_penalty_", "held_out_correlation_"):
        assert getattr(loaded, name) == getattr(decoder, name)
    # The parameters came along, too: fitted on the same data it is the same.
    assert loaded.fit(patterns, targets, groups={"a": 4, "b": 3}).band_penalty_ == decoder.band_penalty_


def test_save_and_load_without_bands(himalaya, tmp_path):
    patterns, targets = simulated(30, 20)
    decoder = BandedRidgeDecoder(alphas=5.0).fit(patterns, targets[:, 0])
    decoder.save_pretrained(tmp_path)
    loaded = BandedRidgeDecoder.from_pretrained(tmp_path)
    assert loaded.bands is None and loaded.predict(patterns).shape == (30,)
    np.testing.assert_array_equal(loaded.predict(patterns), decoder.predict(patterns))


def test_files_that_do_not_belong_together_are_refused(himalaya, tmp_path):
    decoder = BandedRidgeDecoder(alphas=5.0).fit(*simulated(30, 20))
    decoder.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(tensors | {"coef_": tensors["coef_"][:-1].copy()}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="coef_"):
        BandedRidgeDecoder.from_pretrained(tmp_path)
    without = {name: value for name, value in config.items() if name != "bands"}
    (tmp_path / "config.json").write_text(json.dumps(without))
    with pytest.raises(InputError, match="another version"):
        BandedRidgeDecoder.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"class": "RidgeDecoder"}))
    with pytest.raises(InputError, match="'RidgeDecoder', expected a 'BandedRidgeDecoder'"):
        BandedRidgeDecoder.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"short")
    with pytest.raises(InputError, match="cannot be read"):
        BandedRidgeDecoder.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="config.json is missing"):
        BandedRidgeDecoder.from_pretrained(tmp_path / "nothing")
