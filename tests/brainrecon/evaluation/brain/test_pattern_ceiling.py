"""Ceiling of brain correlation: simulated signal and noise of known size, and what an oracle attains."""

from itertools import combinations

import numpy as np
import pytest

from brainrecon.evaluation.brain.pattern_ceiling import ceiling_of_patterns, error_of_mean, pattern_reliability
from brainrecon.evaluation.statistics.intervals import bootstrap_mean
from stages.ground.errors import InputError


def pattern_ceiling(*given, **options):
    """The ceiling of each stimulus by itself."""
    return np.sqrt(np.maximum(pattern_reliability(*given, **options), 0))


def simulated(repeats, n_stimuli=60, n_voxels=1500, noise=2.0, seed=0):
    """Trials in shuffled order, their ids, stimulus ids, the signal, and each voxel's mean and scale (`std`)."""
    random = np.random.default_rng(seed)
    signal = random.normal(size=(n_stimuli, n_voxels))
    ids = np.array([f"picture{n}" for n in range(n_stimuli)])
    shown = random.permutation(np.repeat(np.arange(n_stimuli), repeats))
    mean, std = random.normal(size=n_voxels) * 50, random.uniform(0.5, 5, size=n_voxels)
    trials = signal[shown] + noise * random.normal(size=(len(shown), n_voxels))
    return (trials * std + mean).astype(np.float32), ids[shown], ids, signal, mean, std


def averages(trials, trial_ids, ids, mean, std):
    return np.stack([((trials[trial_ids == one] - mean) / std).mean(axis=0) for one in ids])


def row_correlations(one, other):
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(one, other)])


@pytest.mark.parametrize("repeats", [2, 3, 4, 5, 12])
@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_finds_the_root_of_the_known_reliability(repeats, noise):
    trials, trial_ids, ids, _, mean, std = simulated(repeats, noise=noise)
    ceiling = pattern_ceiling(trials, trial_ids, ids, mean, std)
    assert ceiling.mean() == pytest.approx(1 / np.sqrt(1 + noise**2 / repeats), abs=0.01)


@pytest.mark.parametrize("n_voxels, repeats", [(20, 2), (50, 3), (50, 4)])
def test_noise_alone_has_no_ceiling_and_no_mean_reliability(n_voxels, repeats):
    random, known, means = np.random.default_rng(7), 0, []
    for _ in range(40):
        trials = random.normal(size=(30 * repeats, n_voxels))
        ids = np.repeat(np.arange(30), repeats).astype(str)
        found = pattern_reliability(trials, ids, np.unique(ids), np.zeros(n_voxels), np.ones(n_voxels))
        known += ceiling_of_patterns(found, n_resamples=2000) is not None
        means.append(found.mean())
    # By the mean of ceilings of single stimuli it would be this high.
    assert np.sqrt(np.maximum(found, 0)).mean() > 0.15
    assert abs(np.mean(means)) < 4 * np.std(means) / np.sqrt(40) and known <= 6


@pytest.mark.parametrize("n_training", [8, 16])
def test_noise_standardised_by_few_training_pictures_has_none_either(n_training):
    taken_off, left = [], []
    ids = np.repeat(np.arange(20), 2).astype(str)
    for seed in range(60):
        random = np.random.default_rng(seed)
        # Voxels that share most of their noise, of other sizes.
        mixing = random.normal(size=(30, 120)) * random.uniform(0.5, 5, size=120)
        training, trials = random.normal(size=(n_training, 30)) @ mixing + 7, random.normal(size=(40, 30)) @ mixing + 7
        mean, std = training.mean(axis=0), training.std(axis=0)
        given = trials, ids, np.unique(ids), mean, std
        taken_off.append(pattern_reliability(*given, shared=error_of_mean(training, mean, std)).mean())
        left.append(pattern_reliability(*given).mean())
    assert np.mean(left) > 1 / n_training
    assert abs(np.mean(taken_off)) < max(np.mean(left) / 4, 4 * np.std(taken_off) / np.sqrt(60))


@pytest.mark.parametrize("noise", [1.0, 4.0, 8.0])
def test_the_root_of_the_mean_finds_a_weak_signal_in_few_voxels(noise):
    found = []
    for seed in range(30):
        trials, trial_ids, ids, _, mean, std = simulated(4, n_stimuli=100, n_voxels=40, noise=noise, seed=seed)
        found.append(pattern_reliability(trials, trial_ids, ids, mean, std).mean())
    true, error = 1 / (1 + noise**2 / 4), np.std(found) / np.sqrt(30)
    # A correlation over few voxels is a little too small, and the formula is not linear.
    assert abs(np.mean(found) - true) < 4 * error + 0.02


def test_the_ceiling_is_the_root_of_the_mean_and_of_the_ends_of_its_interval():
    reliability = np.random.default_rng(8).uniform(-0.1, 0.9, 40)
    found, of_mean = ceiling_of_patterns(reliability, seed=3), bootstrap_mean(reliability, seed=3)
    assert found.n == 40 and found[1:] == pytest.approx(np.sqrt(of_mean[1:]))
    assert ceiling_of_patterns([0.5]) is None and ceiling_of_patterns([0.5, -0.6, 0.1]) is None


@pytest.mark.parametrize("repeats", [2, 3, 6])
def test_the_signal_itself_attains_it_and_nothing_else_exceeds_it(repeats):
    trials, trial_ids, ids, signal, mean, std = simulated(repeats)
    ceiling = pattern_ceiling(trials, trial_ids, ids, mean, std).mean()
    measured, random = averages(trials, trial_ids, ids, mean, std), np.random.default_rng(1)
    assert row_correlations(signal, measured).mean() == pytest.approx(ceiling, abs=0.01)
    for other in (signal + random.normal(size=signal.shape), np.tanh(signal), np.sign(signal), signal[::-1]):
        assert row_correlations(other, measured).mean() < ceiling


def test_noise_that_voxels_share_within_a_trial_changes_nothing():
    trials, trial_ids, ids, signal, mean, std = simulated(4, noise=1.0)
    random = np.random.default_rng(2)
    common = random.normal(size=(len(trials), 30)) @ random.normal(size=(30, trials.shape[1])) / np.sqrt(30)
    noisy = trials + common * std
    ceiling = pattern_ceiling(noisy, trial_ids, ids, mean, std).mean()
    assert ceiling == pytest.approx(1 / np.sqrt(1 + 2 / 4), abs=0.02)
    assert row_correlations(signal, averages(noisy, trial_ids, ids, mean, std)).mean() == pytest.approx(
        ceiling, abs=0.02
    )


@pytest.mark.parametrize("repeats", [2, 4, 6])
def test_equals_spearman_and_brown_over_all_halves(repeats):
    trials, trial_ids, ids, _, mean, std = simulated(repeats, n_stimuli=5, n_voxels=200)
    found = pattern_ceiling(trials, trial_ids, ids, mean, std)
    for one, ceiling in zip(ids, found):
        own = (trials[trial_ids == one] - mean) / std
        correlations = []
        for half in combinations(range(repeats), repeats // 2):
            rest = [n for n in range(repeats) if n not in half]
            correlations.append(np.corrcoef(own[list(half)].mean(axis=0), own[rest].mean(axis=0))[0, 1])
        r = np.mean(correlations)
        assert ceiling == pytest.approx(np.sqrt(2 * r / (1 + r)), rel=1e-6)


@pytest.mark.parametrize("repeats", [3, 5])
def test_unequal_halves_solve_the_model_of_signal_and_noise(repeats):
    trials, trial_ids, ids, _, mean, std = simulated(repeats, n_stimuli=5, n_voxels=200)
    found = pattern_ceiling(trials, trial_ids, ids, mean, std)
    small, large = repeats // 2, repeats - repeats // 2
    for one, ceiling in zip(ids, found):
        own = (trials[trial_ids == one] - mean) / std
        correlations = []
        for half in combinations(range(repeats), small):
            rest = [n for n in range(repeats) if n not in half]
            correlations.append(np.corrcoef(own[list(half)].mean(axis=0), own[rest].mean(axis=0))[0, 1])
        noise = repeats * (1 / ceiling**2 - 1)  # over signal, of one trial
        assert np.mean(correlations) == pytest.approx(1 / np.sqrt((1 + noise / small) * (1 + noise / large)), rel=1e-6)


def test_more_repeats_raise_it():
    found = []
    for repeats in (2, 4, 8):
        trials, trial_ids, ids, _, mean, std = simulated(repeats)
        found.append(pattern_ceiling(trials, trial_ids, ids, mean, std).mean())
    assert (np.diff(found) > 0.05).all()


def test_units_of_voxels_and_order_of_trials_do_not_matter():
    trials, trial_ids, ids, _, mean, std = simulated(3, n_stimuli=8, n_voxels=100)
    found = pattern_ceiling(trials, trial_ids, ids, mean, std)
    order, unit = np.random.default_rng(3).permutation(len(trials)), np.geomspace(0.1, 10, 100)
    again = pattern_ceiling((trials * unit)[order], trial_ids[order], ids, mean * unit, std * unit)
    np.testing.assert_allclose(again, found, rtol=1e-4)
    np.testing.assert_array_equal(pattern_ceiling(trials, trial_ids, ids[[5, 2]], mean, std), found[[5, 2]])


def test_differences_between_voxels_means_are_no_signal():
    random = np.random.default_rng(4)
    trials = 100 * random.normal(size=500) + random.normal(size=(40, 500))
    ids = np.repeat(np.arange(20).astype(str), 2)
    found = pattern_ceiling(trials, ids, np.unique(ids), trials.mean(axis=0), trials.std(axis=0))
    assert found.mean() < 0.3 and (found == 0).any()


def test_a_stimulus_with_one_repeat_or_none_has_no_ceiling():
    trials, trial_ids, ids, _, mean, std = simulated(2, n_stimuli=4, n_voxels=50)
    single = np.flatnonzero(trial_ids == ids[1])[0]
    keep = np.arange(len(trials)) != single
    found = pattern_ceiling(trials[keep], trial_ids[keep], [*ids, "never shown"], mean, std)
    np.testing.assert_array_equal(np.isnan(found), [False, True, False, False, True])


def test_opposed_halves_and_voxels_that_never_vary_give_zero():
    pattern = np.random.default_rng(5).normal(size=30)
    assert pattern_ceiling(np.stack([pattern, -pattern]), ["a", "a"], ["a"], np.zeros(30), np.ones(30)) == [0.0]
    assert pattern_ceiling(np.stack([pattern, pattern]), ["a", "a"], ["a"], np.zeros(30), np.zeros(30)) == [0.0]
    assert pattern_ceiling(np.ones((2, 30)), ["a", "a"], ["a"], np.zeros(30), np.ones(30)) == [0.0]


def test_equal_repeats_give_one():
    pattern = np.random.default_rng(6).normal(size=30)
    found = pattern_ceiling(np.tile(pattern, (5, 1)), ["a"] * 5, ["a"], np.zeros(30), np.ones(30))
    assert found == pytest.approx([1.0])


def test_many_repeats_are_split_at_random_by_the_seed():
    trials, trial_ids, ids, _, mean, std = simulated(24, n_stimuli=3, n_voxels=300)
    one, same, other = (pattern_ceiling(trials, trial_ids, ids, mean, std, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).all()
    np.testing.assert_allclose(one, other, atol=0.01)


def test_trials_on_disk_are_sliced_by_rows_and_in_order(monkeypatch):
    trials, trial_ids, ids, _, mean, std = simulated(3, n_stimuli=10, n_voxels=20)
    starts = []

    class OnDisk:
        shape = trials.shape

        def __getitem__(self, rows):
            starts.append(rows.start)
            return trials[rows]

    whole = pattern_ceiling(trials, trial_ids, ids, mean, std)
    monkeypatch.setattr("brainrecon.evaluation.brain.pattern_ceiling.ROWS_PER_BLOCK", 7)
    np.testing.assert_array_equal(pattern_ceiling(OnDisk(), trial_ids, ids, mean, std), whole)
    assert starts == [0, 7, 14, 21, 28]


def test_hostile_input():
    trials, trial_ids, ids, _, mean, std = simulated(2, n_stimuli=3, n_voxels=10)
    with pytest.raises(InputError, match="6 trials but 5 stimulus ids"):
        pattern_ceiling(trials, trial_ids[:5], ids, mean, std)
    with pytest.raises(InputError, match="10 voxels"):
        pattern_ceiling(trials, trial_ids, ids, mean[:9], std)
    with pytest.raises(InputError, match="negative"):
        pattern_ceiling(trials, trial_ids, ids, mean, -std)
    with pytest.raises(InputError, match="None of the 6 trials"):
        pattern_ceiling(trials, trial_ids, ["another"], mean, std)
    trials[2, 4] = np.nan
    with pytest.raises(InputError, match="1 of 10 voxels"):
        pattern_ceiling(trials, trial_ids, ids, mean, std)
