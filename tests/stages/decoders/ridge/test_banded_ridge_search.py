"""The search for the penalties of the bands, and trials of one stimulus."""

import numpy as np
import pytest
from banded_voxels import both_shapes, correlations_of_columns, planted, simulated, standardised, thirds
from sklearn.linear_model import Ridge

from stages.decoders.ridge import band_search
from stages.decoders.ridge.banded_ridge import BandedRidgeDecoder
from stages.decoders.ridge.leave_one_out import Trials
from stages.decoders.ridge.ridge import RidgeDecoder


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


@pytest.mark.parametrize("n_stimuli, n_noise", [(150, 400), (250, 150)])
def test_a_band_of_noise_is_silenced(himalaya, n_stimuli, n_noise):
    """With fewer stimuli than voxels, and with more."""
    patterns, targets, bands = planted(n_stimuli, n_noise=n_noise)
    decoder = BandedRidgeDecoder(bands, n_iter=20).fit(patterns, targets)
    penalty = decoder.band_penalty_["target"]
    assert penalty["noise"] > 20 * penalty["signal"]

    ordinary = RidgeDecoder().fit(patterns, targets)
    new, truth, _ = planted(2000, n_noise=n_noise, seed=1)
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
