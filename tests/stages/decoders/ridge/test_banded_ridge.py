"""Banded ridge against scikit-learn, its search and held-out predictions by brute force, and the laws of a decoder."""

import json
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from stages.decoders.ridge import band_search
from stages.decoders.ridge.banded_ridge import BandedRidgeDecoder
from stages.decoders.ridge.leave_one_out import Trials
from stages.decoders.ridge.ridge import RidgeDecoder
from stages.ground.errors import InputError

SHAPES = {"fewer trials than voxels": (40, 90), "more trials than voxels": (90, 40)}
both_shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


@pytest.fixture
def himalaya():
    return pytest.importorskip("himalaya")


def simulated(n_stimuli, n_voxels, n_targets=7, noise=5.0, seed=0):
    generator = np.random.default_rng(seed)
    patterns = generator.normal(2, 3, size=(n_stimuli, n_voxels))
    weights = generator.normal(size=(n_voxels, n_targets))
    return patterns, patterns @ weights + 10 + noise * generator.normal(size=(n_stimuli, n_targets))


def planted(n_stimuli, n_signal=30, n_noise=400, n_targets=5, seed=0):
    """Targets that only the first voxels know of; the bands that say so."""
    generator = np.random.default_rng(seed)
    weights = np.random.default_rng(99).normal(size=(n_signal, n_targets))
    patterns = generator.normal(size=(n_stimuli, n_signal + n_noise))
    targets = patterns[:, :n_signal] @ weights + 3 * generator.normal(size=(n_stimuli, n_targets))
    signal = np.arange(n_signal + n_noise) < n_signal
    return patterns, targets, {"signal": signal, "noise": ~signal}


def thirds(n_voxels):
    return {name: np.arange(n_voxels) % 3 == k for k, name in enumerate(["V1", "V2", "V3"])}


def standardised(patterns, train):
    return (patterns - train.mean(axis=0)) / train.std(axis=0, ddof=1)


def correlations_of_columns(first, second):
    return [np.corrcoef(*columns)[0, 1] for columns in zip(first.T, second.T)]


def predicted_by_scikit_learn(decoder, name, patterns, targets, new):
    """Ridge with a penalty of 1 on voxels scaled by 1 / sqrt(penalty of their band)."""
    penalty = np.array([decoder.band_penalty_[name][band] for band in decoder.band_names_])[decoder.band_of_voxel_]
    scaled, scaled_new = (standardised(each, patterns) / np.sqrt(penalty) for each in (patterns, new))
    return Ridge(1.0).fit(scaled, targets).predict(scaled_new)


@pytest.mark.usefixtures("himalaya")
@parametrize_with_checks([BandedRidgeDecoder(n_iter=2, folds=2)])
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


# Against scikit-learn and ordinary ridge


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


# The search


@both_shapes
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_chosen_penalties_vs_trying_each(himalaya, shape, dtype):
    """Cross-validation error of every weighting and penalty, one ridge at a time."""
    n_repeats, alphas = 2, [3.0, 100.0, 3000.0]
    patterns, targets = simulated(*shape, noise=60)
    stimuli, values = np.repeat(np.arange(shape[0] // n_repeats), n_repeats), targets[: shape[0] // n_repeats]
    decoder = BandedRidgeDecoder(thirds(shape[1]), alphas=alphas, n_iter=6, folds=3, seed=4)
    decoder.fit(patterns.astype(dtype), values.astype(dtype), groups={"a": 5, "b": 2}, stimuli=stimuli)

    generator = np.random.default_rng(4)
    weightings = band_search.weightings(3, 6, generator)
    folds = band_search.folds_of(stimuli, 3, generator)
    scaled_targets = standardised(values[stimuli], values[stimuli])
    voxels = standardised(patterns, patterns)
    for name, columns in {"a": slice(0, 5), "b": slice(5, 7)}.items():
        errors = {}
        for weights in weightings:
            for alpha in alphas:
                scaled = voxels * np.sqrt(weights)[decoder.band_of_voxel_]
                ridge = Ridge(alpha, fit_intercept=False)
                losses = [
                    (
                        ridge.fit(scaled[train], scaled_targets[train, columns]).predict(scaled[test])
                        - scaled_targets[test, columns]
                    )
                    ** 2
                    for train, test in folds
                ]
                errors[tuple(alpha / weights)] = np.mean([loss.mean() for loss in losses])
        expected = min(errors, key=errors.get)
        np.testing.assert_allclose(list(decoder.band_penalty_[name].values()), expected, rtol=1e-9)


@pytest.mark.parametrize("n_stimuli", [150, 600])
def test_a_band_of_noise_is_silenced(himalaya, n_stimuli):
    patterns, targets, bands = planted(n_stimuli)
    decoder = BandedRidgeDecoder(bands, n_iter=20).fit(patterns, targets)
    penalty = decoder.band_penalty_["target"]
    assert penalty["noise"] > 20 * penalty["signal"]

    ordinary = RidgeDecoder().fit(patterns, targets)
    new, truth, _ = planted(2000, seed=1)
    correlations = [np.mean(correlations_of_columns(truth, each.predict(new))) for each in (decoder, ordinary)]
    assert correlations[0] > correlations[1] + 0.05
    assert decoder.held_out_correlation_["target"] > ordinary.held_out_correlation_["target"] + 0.05
    assert decoder.held_out_correlation_["target"] == pytest.approx(correlations[0], abs=0.05)


def test_each_target_gets_its_own_weights(himalaya):
    patterns, targets, bands = planted(200, n_signal=100, n_noise=100)
    others = patterns[:, 100:] @ np.random.default_rng(8).normal(size=(100, 3))
    decoder = BandedRidgeDecoder(bands, n_iter=12).fit(
        patterns, np.hstack([targets, others]), groups={"first": 5, "last": 3}
    )
    first, last = decoder.band_penalty_["first"], decoder.band_penalty_["last"]
    assert first["signal"] < first["noise"] and last["signal"] > last["noise"]
    assert list(decoder.split(decoder.predict(patterns))) == ["first", "last"]


def test_the_sketch_of_many_columns_chooses_as_all_of_them(himalaya, monkeypatch):
    patterns, latent, bands = planted(120)
    targets = latent @ np.random.default_rng(3).normal(size=(5, 300))
    whole = BandedRidgeDecoder(bands, n_iter=10).fit(patterns, targets)
    monkeypatch.setattr(band_search, "SKETCH_COLUMNS", 100)
    sketched = BandedRidgeDecoder(bands, n_iter=10).fit(patterns, targets)
    assert sketched.band_penalty_ == whole.band_penalty_
    assert BandedRidgeDecoder(bands, n_iter=10).fit(patterns, targets).band_penalty_ == sketched.band_penalty_


def test_a_sketch_sums_over_blocks_and_has_the_variance_of_its_columns(monkeypatch):
    monkeypatch.setattr(band_search, "SKETCH_COLUMNS", 100)
    monkeypatch.setattr(band_search, "COLUMNS_PER_BLOCK", 128)
    values = np.random.default_rng(0).normal(3, 5, size=(60, 400))
    groups, trials = {"few": 100, "many": 300}, Trials(60)
    few, many = band_search._sketches(values, groups, trials, np.random.default_rng(1))
    np.testing.assert_allclose(few, standardised(values[:, :100], values[:, :100]))
    assert many.shape == (60, 100)
    expected = (standardised(values[:, 100:], values[:, 100:]) ** 2).mean()
    assert (many**2).mean() == pytest.approx(expected, rel=0.1)


def test_the_same_seed_gives_the_same_decoder(himalaya):
    patterns, targets, bands = planted(80)
    first, again, other = (BandedRidgeDecoder(bands, n_iter=6, seed=seed).fit(patterns, targets) for seed in (3, 3, 4))
    assert first.band_penalty_ == again.band_penalty_ != other.band_penalty_
    np.testing.assert_array_equal(first.predict(patterns), again.predict(patterns))


def test_weightings_start_equal_and_have_mean_one():
    weights = band_search.weightings(4, 50, np.random.default_rng(0))
    np.testing.assert_array_equal(weights[0], 1)
    np.testing.assert_allclose(weights.mean(axis=1), 1)
    assert weights.shape == (50, 4) and weights.min() > 1e-7


@pytest.mark.parametrize("fails", [False, True])
def test_the_backend_of_himalaya_is_left_as_it_was(himalaya, monkeypatch, fails):
    from himalaya.backend import get_backend, set_backend

    seen = []

    def search(*args, **options):
        seen.append(get_backend().name)
        if fails:
            raise MemoryError
        return solvers[0](*args, **options)

    solvers = band_search.solvers()
    monkeypatch.setattr(band_search, "solvers", lambda: (search, search))
    before = set_backend("torch")
    try:
        decoder = BandedRidgeDecoder()
        if fails:
            with pytest.raises(MemoryError):
                decoder.fit(*simulated(20, 30))
        else:
            decoder.fit(*simulated(20, 30))
        assert seen == ["numpy"] and get_backend() is before
    finally:
        set_backend("numpy")


# Trials of one stimulus


def test_trials_of_one_stimulus_share_a_fold():
    stimuli = np.random.default_rng(0).integers(3, 40, size=120)
    folds = band_search.folds_of(stimuli, 5, np.random.default_rng(1))
    for train, test in folds:
        assert not set(stimuli[train]) & set(stimuli[test])
        assert len(train) + len(test) == 120
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(120))


def test_recognising_a_stimulus_earns_nothing(himalaya):
    """Voxels tell which stimulus it was, and its target is chance: only a leak between folds could be praised."""
    generator = np.random.default_rng(0)
    stimuli = np.tile(np.arange(60), 3)
    fingerprints, targets = generator.normal(size=(60, 200)), generator.normal(size=(60, 20))
    trials = fingerprints[stimuli] + 0.3 * generator.normal(size=(180, 200))
    leaky = BandedRidgeDecoder().fit(trials, targets[stimuli])
    honest = BandedRidgeDecoder().fit(trials, targets, stimuli=stimuli)
    assert leaky.held_out_correlation_["target"] > 0.9
    assert abs(honest.held_out_correlation_["target"]) < 0.1
    assert honest.band_penalty_["target"]["all"] > 100 * leaky.band_penalty_["target"]["all"]


@both_shapes
@pytest.mark.parametrize("rescale", ["held_out", "none"])
def test_held_out_predictions_vs_refitting_without_each_stimulus(himalaya, shape, rescale):
    """Their correlation with the targets, and what rescaling makes of their mean and spread."""
    patterns, values = simulated(*shape, noise=60)
    stimuli = np.random.default_rng(2).integers(25, size=shape[0])
    bands = thirds(shape[1])
    decoder = BandedRidgeDecoder(bands, n_iter=6, rescale=rescale).fit(patterns, values[:25], stimuli=stimuli)
    penalty = np.array(list(decoder.band_penalty_["target"].values()))[decoder.band_of_voxel_]
    assert len(set(penalty)) == 3
    scaled, shown, targets = standardised(patterns, patterns) / np.sqrt(penalty), np.unique(stimuli), values[stimuli]
    mean = targets.mean(axis=0)
    held_out = []
    for own in (stimuli == stimulus for stimulus in shown):
        refitted = Ridge(1.0).fit(scaled[~own], targets[~own])
        held_out.append((refitted.predict(scaled[own]) - targets[~own].mean(axis=0)).mean(axis=0))
    held_out = np.array(held_out)
    expected = np.mean(correlations_of_columns(values[shown], held_out))
    assert decoder.held_out_correlation_["target"] == pytest.approx(expected, rel=1e-6)
    plain = Ridge(1.0).fit(scaled, targets).predict(scaled)
    if rescale == "held_out":
        ratio = targets.std(axis=0, ddof=1) / held_out.std(axis=0, ddof=1)
        plain = (plain - mean - held_out.mean(axis=0)) * ratio + mean
    np.testing.assert_allclose(decoder.predict(patterns), plain, rtol=1e-6, atol=1e-6)


def test_rows_of_targets_without_trials_change_nothing(himalaya):
    patterns, targets = simulated(40, 30)
    stimuli = np.arange(40)
    more = np.vstack([targets, np.full((5, 7), 1e6)])
    expected = BandedRidgeDecoder(thirds(30), n_iter=4).fit(patterns, targets).predict(patterns)
    decoder = BandedRidgeDecoder(thirds(30), n_iter=4).fit(patterns, more, stimuli=stimuli)
    np.testing.assert_allclose(decoder.predict(patterns), expected, rtol=1e-9)


# The laws of a decoder


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


# Files


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
    without = {name: value for name, value in config.items() if name != "kept"}
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


# What is refused, in one sentence


def without_himalaya(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "himalaya"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "himalaya", None)


def test_without_himalaya_it_says_how_to_install_it(monkeypatch):
    without_himalaya(monkeypatch)
    with pytest.raises(InputError, match=r"not installed here; install it with `pip install 'brainrecon\[banded\]'`"):
        BandedRidgeDecoder().fit(*simulated(30, 20))


def mask(*voxels, n_voxels=20):
    return np.isin(np.arange(n_voxels), voxels)


def spoiled(array, value):
    array = array.copy()
    array[3, 5] = value
    return array


X, Y = simulated(30, 20)
HOSTILE = {
    "overlapping bands": ({"bands": {"V1": mask(1, 2), "V2": mask(2, 3)}}, {}, "'V1' and 'V2' share 1 voxels"),
    "mask of another length": ({"bands": {"V1": mask(1, n_voxels=19)}}, {}, r"'V1' .* shape \(19,\).* 20 voxels"),
    "indices in place of a mask": ({"bands": {"V1": np.array([1, 2])}}, {}, "'V1' is an array of int64"),
    "an empty band": ({"bands": {"V1": mask()}}, {}, "'V1' holds none of the 20 voxels"),
    "no bands": ({"bands": {}}, {}, "bands is empty; expected names and masks"),
    "bands without names": ({"bands": [mask(1)]}, {}, "bands is a list; expected names and masks"),
    "a rest beside the rest": ({"bands": {"rest": mask(1)}}, {}, "'rest' is given but 19 of 20"),
    "negative penalty": ({"alphas": [1.0, -1.0]}, {}, r"\[1.0, -1.0\]; expected one or more positive"),
    "negative penalties": ({"alphas": -np.logspace(0, 7, 22)}, {}, "one or more positive"),
    "no penalty": ({"alphas": []}, {}, "one or more positive"),
    "infinite penalty": ({"alphas": np.inf}, {}, "one or more positive"),
    "penalties by target": ({"alphas": {"a": 1.0}}, {}, "one or more positive"),
    "unknown rescaling": ({"rescale": "transductive"}, {}, "'transductive'; expected one of 'held_out', 'none'"),
    "no weighting": ({"n_iter": 0}, {}, "n_iter is 0"),
    "one fold": ({"folds": 1}, {}, "folds is 1"),
    "no seed": ({"seed": None}, {}, "seed is None"),
    "fewer stimuli than folds": ({"folds": 31}, {}, "30 stimuli for 31 folds"),
    "few stimuli of many trials": ({}, {"stimuli": np.arange(30) % 4}, "4 stimuli for 5 folds; pass folds=4"),
    "NaN in the voxels": ({}, {"X": spoiled(X, np.nan)}, "X holds NaN .* 1 of 20 voxels, .* number 5"),
    "infinity in the targets": ({}, {"y": spoiled(Y, np.inf)}, "y holds NaN .* 1 of 7 targets"),
    "fewer targets than trials": ({}, {"y": Y[:29]}, "30 trials but 29 rows"),
    "stimuli of another length": ({}, {"stimuli": np.arange(29)}, r"shape \(29,\) for 30 trials"),
    "stimuli that are no numbers": ({}, {"stimuli": np.arange(30.0)}, "array of float64"),
    "stimuli beyond the targets": ({}, {"stimuli": np.arange(30) + 1}, "from 1 to 30 but y has 30 rows"),
    "groups of other widths": ({}, {"groups": {"a": 3, "b": 3}}, "Groups hold 3, 3 columns but the targets have 7"),
    "an empty group": ({}, {"groups": {"a": 7, "b": 0}}, "Groups hold 7, 0 columns"),
    "no groups": ({}, {"groups": {}}, "Groups hold no columns"),
}


@pytest.mark.parametrize("parameters, arguments, message", HOSTILE.values(), ids=HOSTILE)
def test_what_is_refused(parameters, arguments, message):
    with pytest.raises(InputError, match=message) as raised:
        BandedRidgeDecoder(**parameters).fit(**({"X": X, "y": Y} | arguments))
    assert "\n" not in str(raised.value)


def test_patterns_of_another_subject_are_refused(himalaya):
    decoder = BandedRidgeDecoder(alphas=5.0).fit(X, Y)
    with pytest.raises(InputError, match="19 voxels .* fitted on 20"):
        decoder.predict(X[:, :19])
    with pytest.raises(InputError, match="X holds NaN"):
        decoder.predict(spoiled(X, np.nan))
