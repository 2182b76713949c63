"""The encoding model: ridge by scikit-learn, units, what it keeps on disk, and brain correlation through it."""

import json

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from brainrecon.evaluation.brain.encoding_model import EncodingModel
from stages.decoders.ridge.ridge import RidgeDecoder
from stages.ground.errors import InputError


@pytest.fixture(scope="module")
def data():
    """200 training and 60 other pictures with 30 features, 120 voxels; the last 40 voxels carry no signal."""
    random = np.random.default_rng(0)
    features = random.normal(size=(260, 30)) * np.geomspace(0.1, 10, 30) + 5
    weights = random.normal(size=(30, 120)) / np.geomspace(0.1, 10, 30)[:, None]
    weights[:, 80:] = 0
    patterns = (features - 5) @ weights / 4 + random.normal(size=(260, 120))
    patterns = patterns * random.uniform(0.5, 40, size=120) + 100 * random.normal(size=120)
    return (
        features[:200].astype("f4"),
        patterns[:200].astype("f4"),
        features[200:].astype("f4"),
        patterns[200:].astype("f4"),
    )


@pytest.fixture(scope="module")
def model(data):
    return EncodingModel().fit(*data[:2])


def row_correlation(one, other):
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(one, other)])


@pytest.mark.parametrize("width", [30, 12])
def test_predicts_what_scikit_learn_predicts_from_the_same_standardised_numbers(data, width):
    features, patterns, new, _ = data
    features, new = features[:20, :width], new[:, :width]  # more features than pictures, and fewer
    patterns = patterns[:20]
    model = EncodingModel(alphas=30.0).fit(features, patterns)
    mean, scale = features.mean(axis=0), features.std(axis=0, ddof=1)
    targets = (patterns.astype(float) - patterns.mean(axis=0, dtype=float)) / patterns.std(axis=0, dtype=float)
    expected = Ridge(alpha=30.0).fit((features - mean) / scale, targets).predict((new - mean) / scale)
    np.testing.assert_allclose(model.predict(new), expected, atol=2e-5)
    assert model.predict(new).dtype == np.float32


def test_standardises_with_the_training_patterns_statistics(data, model):
    standardised = model.standardise(data[1])
    np.testing.assert_allclose(standardised.mean(axis=0, dtype=float), 0, atol=1e-5)
    np.testing.assert_allclose(standardised.std(axis=0, dtype=float), 1, atol=1e-5)
    np.testing.assert_allclose(model.standardise(data[3]) * model.std_ + model.mean_, data[3], rtol=1e-4, atol=1e-3)
    assert standardised.dtype == np.float32


def test_units_of_the_patterns_do_not_matter(data, model):
    other = EncodingModel().fit(data[0], data[1] / 300 + 7)
    np.testing.assert_allclose(other.predict(data[2]), model.predict(data[2]), atol=1e-3)
    np.testing.assert_allclose(other.standardise(data[3] / 300 + 7), model.standardise(data[3]), atol=2e-3)


def test_a_prediction_is_nearer_to_its_own_pattern_than_to_others(data, model):
    predicted, measured = model.predict(data[2]), model.standardise(data[3])
    own, others = row_correlation(measured, predicted), row_correlation(measured, np.roll(predicted, 1, axis=0))
    assert own.mean() > 0.5 and abs(others.mean()) < 0.1


def test_without_standardising_any_prediction_would_score_high(data, model):
    # Why the units are as they are: means of voxels are the same for all stimuli.
    predicted = model.predict(data[2]) * model.std_ + model.mean_
    assert row_correlation(data[3], np.roll(predicted, 1, axis=0)).mean() > 0.8


def test_a_penalty_for_each_voxel_serves_voxels_that_differ(data, model):
    one_for_all = EncodingModel(penalty="group").fit(*data[:2])
    measured = model.standardise(data[3])
    own, common = (row_correlation(measured, one.predict(data[2])).mean() for one in (model, one_for_all))
    assert own > common
    assert model.predict(data[2])[:, 80:].std() < 0.5 * one_for_all.predict(data[2])[:, 80:].std()


def test_held_out_correlation_tells_how_good_it_is_on_other_pictures(data, model):
    predicted, measured = model.predict(data[2]), model.standardise(data[3])
    fresh = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(predicted[:, :80].T, measured[:, :80].T)])
    assert np.nanmean(model.voxel_correlation_[:80]) == pytest.approx(fresh.mean(), abs=0.05)
    assert model.held_out_correlation_ == pytest.approx(np.nanmean(model.voxel_correlation_))
    # Leaving a picture out anticorrelates with its mean: voxels without signal come out at or below zero.
    assert np.nanmean(model.voxel_correlation_[80:]) < 0.05


def test_voxels_that_did_not_vary_in_training_are_zero_everywhere(data):
    patterns = data[1].copy()
    patterns[:, 3] = 41.7
    model = EncodingModel().fit(data[0], patterns)
    assert model.std_[3] == 0 and (model.std_[[2, 4]] > 0).all()
    assert (model.standardise(data[3])[:, 3] == 0).all() and (model.predict(data[2])[:, 3] == 0).all()
    assert np.isnan(model.voxel_correlation_[3]) and np.isfinite(model.held_out_correlation_)


def test_blocks_of_voxels_change_nothing(data, model, monkeypatch):
    monkeypatch.setattr("brainrecon.evaluation.brain.encoding_model._VOXELS_PER_BLOCK", 17)
    again = EncodingModel().fit(*data[:2])
    np.testing.assert_array_equal(again.mean_, model.mean_)
    np.testing.assert_array_equal(again.standardise(data[3]), model.standardise(data[3]))


@pytest.mark.parametrize("options", [{}, {"penalty": "group"}, {"alphas": 50.0, "held_out": "none"}])
def test_comes_back_from_its_files_as_it_was(data, tmp_path, options):
    model = EncodingModel(**options).fit(*data[:2])
    model.save_pretrained(tmp_path / "encoder")
    again = EncodingModel.from_pretrained(tmp_path / "encoder")
    np.testing.assert_array_equal(again.predict(data[2]), model.predict(data[2]))
    np.testing.assert_array_equal(again.standardise(data[3]), model.standardise(data[3]))
    np.testing.assert_array_equal(again.voxel_correlation_, model.voxel_correlation_)
    np.testing.assert_equal(again.held_out_correlation_, model.held_out_correlation_)
    assert again.alpha_ == model.alpha_
    again.save_pretrained(tmp_path / "copy")
    for file in ("config.json", "model.safetensors", "ridge/config.json", "ridge/model.safetensors"):
        assert (tmp_path / "encoder" / file).read_bytes() == (tmp_path / "copy" / file).read_bytes()


def test_files_that_are_not_an_encoding_model_are_refused(data, model, tmp_path):
    with pytest.raises(InputError, match="config.json is missing"):
        EncodingModel.from_pretrained(tmp_path)
    RidgeDecoder().fit(*data[:2]).save_pretrained(tmp_path / "decoder")
    with pytest.raises(InputError, match="holds a 'RidgeDecoder', expected an encoding model"):
        EncodingModel.from_pretrained(tmp_path / "decoder")
    model.save_pretrained(tmp_path / "encoder")
    config = json.loads((tmp_path / "encoder" / "config.json").read_text())
    EncodingModel().fit(data[0], data[1][:, :50]).save_pretrained(tmp_path / "other")
    for name in ("model.safetensors", "ridge/model.safetensors"):
        whole = (tmp_path / "encoder" / name).read_bytes()
        (tmp_path / "encoder" / name).write_bytes((tmp_path / "other" / name).read_bytes())
        with pytest.raises(InputError, match="belong together|does not fit"):
            EncodingModel.from_pretrained(tmp_path / "encoder")
        (tmp_path / "encoder" / name).write_bytes(whole[:100])
        with pytest.raises(InputError, match="cannot be read"):
            EncodingModel.from_pretrained(tmp_path / "encoder")
        (tmp_path / "encoder" / name).write_bytes(whole)
    for content in ("{", "[]", json.dumps(config | {"n_voxels": 7}), json.dumps({"class": "EncodingModel"})):
        (tmp_path / "encoder" / "config.json").write_text(content)
        with pytest.raises(InputError):
            EncodingModel.from_pretrained(tmp_path / "encoder")


def test_nothing_given_is_changed(data, model):
    before = [one.copy() for one in data]
    EncodingModel().fit(*data[:2]).predict(data[2])
    model.standardise(data[3])
    for one, other in zip(before, data):
        np.testing.assert_array_equal(one, other)


def test_hostile_input(data, model):
    features, patterns, new, measured = data
    broken = features.copy()
    broken[7, 2] = np.nan
    with pytest.raises(InputError, match="Features of 1 of 200"):
        EncodingModel().fit(broken, patterns)
    with pytest.raises(InputError, match="200 pictures and patterns of 199"):
        EncodingModel().fit(features, patterns[:-1])
    with pytest.raises(InputError, match="at least 3"):
        EncodingModel().fit(features[:2], patterns[:2])
    with pytest.raises(InputError, match="29 features .* fitted on 30"):
        model.predict(new[:, :-1])
    with pytest.raises(InputError, match="Features have shape"):
        model.predict(new[0])
    with pytest.raises(InputError, match="119 voxels .* fitted on 120"):
        model.standardise(measured[:, :-1])
    for call in (lambda: EncodingModel().predict(new), lambda: EncodingModel().standardise(measured)):
        with pytest.raises(InputError, match="not fitted"):
            call()
