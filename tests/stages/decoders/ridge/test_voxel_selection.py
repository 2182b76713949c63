"""Voxel scores against brute force, known signal-to-noise and the laws of a ratio; masks against sorting."""

import tracemalloc

import numpy as np
import pytest
from scipy.stats import pearsonr, zscore

from stages.decoders.ridge import voxel_selection
from stages.decoders.ridge.voxel_selection import (
    at_least,
    constant_columns,
    correlation_with_targets,
    noise_ceiling,
    signal_and_noise,
    strongest,
)
from stages.ground.errors import InputError


def simulated(n_stimuli=60, n_voxels=7, repeats=(1, 2, 3, 5), signal=1.0, noise=1.0, seed=0):
    """Single trials, shuffled; stimulus i is shown repeats[i % len(repeats)] times."""
    generator = np.random.default_rng(seed)
    stimuli = generator.permutation(np.repeat(np.arange(n_stimuli), np.resize(repeats, n_stimuli)))
    true = signal * generator.normal(size=(n_stimuli, n_voxels))
    betas = true[stimuli] + noise * generator.normal(size=(len(stimuli), n_voxels))
    return betas.astype(np.float32), stimuli


def signal_and_noise_by_hand(betas, stimuli):
    betas = betas.astype(np.float64)
    groups = [betas[stimuli == stimulus] for stimulus in set(stimuli.tolist())]
    noise = np.mean([group.var(axis=0, ddof=1) for group in groups if len(group) > 1], axis=0)
    return np.maximum(betas.var(axis=0, ddof=1) - noise, 0), noise


class OnDisk:
    """Betas that only give slices of rows, one after the other, and count how often they are read through."""

    dtype = np.dtype(np.float32)

    def __init__(self, betas):
        self._betas = betas
        self.shape = betas.shape
        self.readings, self._next = 0, 0

    def __getitem__(self, rows):
        assert isinstance(rows, slice) and rows.step is None
        assert rows.start in (0, self._next) and rows.stop - rows.start <= 256
        self.readings += rows.start == 0
        self._next = rows.stop
        return self._betas[rows]

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("read as a whole")


@pytest.mark.parametrize("repeats", [(3,), (1, 2, 3, 5), (1, 1, 1, 1, 1, 2)])
def test_variances_vs_by_hand(repeats):
    betas, stimuli = simulated(repeats=repeats, n_stimuli=200)
    for found, expected in zip(signal_and_noise(betas, stimuli), signal_and_noise_by_hand(betas, stimuli)):
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_ceiling_vs_ncsnr_and_the_manuals_formula():
    betas, stimuli = simulated()
    signal, noise = signal_and_noise_by_hand(betas, stimuli)
    ncsnr = np.sqrt(signal) / np.sqrt(noise)
    for k in (1, 3):
        np.testing.assert_allclose(noise_ceiling(betas, stimuli, k), 100 * ncsnr**2 / (ncsnr**2 + 1 / k), rtol=1e-10)
    shown_one_two_three_five = 15, 15, 15, 15
    inverse = (15 + 15 / 2 + 15 / 3 + 15 / 5) / sum(shown_one_two_three_five)
    expected = 100 * ncsnr**2 / (ncsnr**2 + inverse)
    np.testing.assert_allclose(noise_ceiling(betas, stimuli), expected, rtol=1e-10)
    np.testing.assert_allclose(noise_ceiling(betas, stimuli, [1, 2, 3, 5] * 15), expected, rtol=1e-10)


@pytest.mark.parametrize("ncsnr", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("repeats", [(3,), (1, 2, 3)])
def test_known_signal_to_noise_is_recovered(ncsnr, repeats):
    betas, stimuli = simulated(10_000, 50, repeats=repeats, signal=ncsnr * 4, noise=4)
    for k in (1, 3):
        found, true = noise_ceiling(betas, stimuli, k), 100 * ncsnr**2 / (ncsnr**2 + 1 / k)
        assert found.mean() == pytest.approx(true, abs=1)  # percent
        np.testing.assert_allclose(found, true, atol=10)


def test_ceiling_is_what_the_true_signal_explains_of_averages():
    generator = np.random.default_rng(3)
    true = generator.normal(size=(4000, 20))
    trials = true[:, None] + 1.5 * generator.normal(size=(4000, 3, 20))
    explained = [100 * pearsonr(true[:, voxel], trials.mean(axis=1)[:, voxel])[0] ** 2 for voxel in range(20)]
    found = noise_ceiling(trials.reshape(-1, 20).astype(np.float32), np.repeat(np.arange(4000), 3))
    np.testing.assert_allclose(found, explained, atol=5)
    assert found.mean() == pytest.approx(np.mean(explained), abs=1)


def test_pure_noise_has_no_ceiling():
    betas, stimuli = simulated(3000, 50, repeats=(3,), signal=0)
    found = noise_ceiling(betas, stimuli, 1)
    assert found.min() == 0 and found.max() < 5


def test_betas_scored_within_sessions_have_the_published_ncsnr():
    betas, stimuli = simulated(600, 5, repeats=(3,))
    n_sessions = 12
    drifting = (
        betas * np.repeat(np.linspace(1, 3, n_sessions), 150)[:, None] + np.repeat(np.arange(n_sessions), 150)[:, None]
    )
    scored = np.concatenate([zscore(session, ddof=1) for session in np.split(drifting, n_sessions)]).astype(np.float32)
    signal, noise = signal_and_noise(scored, stimuli)
    np.testing.assert_allclose(signal, 1 - noise, atol=n_sessions / len(betas))  # a total variance of one
    assert (noise_ceiling(scored, stimuli) > noise_ceiling(drifting, stimuli)).all()


def test_ceiling_knows_no_unit_no_order_and_no_names():
    betas, stimuli = simulated()
    expected = noise_ceiling(betas, stimuli)
    order = np.random.default_rng(1).permutation(len(stimuli))
    scale, offset = np.logspace(-3, 3, 7, dtype=np.float32), np.linspace(-9, 9, 7, dtype=np.float32)
    np.testing.assert_allclose(noise_ceiling(betas * scale, stimuli), expected, rtol=1e-5)
    np.testing.assert_allclose(noise_ceiling(-betas + offset, stimuli), expected, rtol=1e-4)
    np.testing.assert_allclose(noise_ceiling(betas[order], stimuli[order]), expected, rtol=1e-10)
    np.testing.assert_allclose(noise_ceiling(betas, stimuli * -7 + 3), expected, rtol=1e-10)
    np.testing.assert_array_equal(noise_ceiling(betas, [f"nsd{stimulus:05d}" for stimulus in stimuli]), expected)
    np.testing.assert_array_equal(noise_ceiling(betas[:, ::-1], stimuli), expected[::-1])


def test_a_far_offset_costs_no_precision():
    betas, stimuli = simulated()
    betas = np.round(betas * 64).astype(np.float32)
    np.testing.assert_allclose(
        noise_ceiling(betas + np.float32(2**22), stimuli), noise_ceiling(betas, stimuli), rtol=1e-9
    )


def test_blocks_and_readings_do_not_matter(monkeypatch):
    betas, stimuli = simulated(400, 11)
    expected = noise_ceiling(betas, stimuli)
    disk = OnDisk(betas)
    np.testing.assert_array_equal(noise_ceiling(disk, stimuli), expected)
    assert disk.readings == 1
    monkeypatch.setattr(voxel_selection, "TRIALS_PER_BLOCK", 7)
    np.testing.assert_array_equal(noise_ceiling(betas, stimuli), expected)
    for held_bytes, readings in {1: 11, 8 * 300 * 4: 3}.items():
        monkeypatch.setattr(voxel_selection, "HELD_BYTES", held_bytes)
        disk = OnDisk(betas)
        np.testing.assert_array_equal(noise_ceiling(disk, stimuli), expected)
        assert disk.readings == readings


def test_memory_stays_bounded(monkeypatch):
    n_trials, n_voxels = 6000, 2000  # 48 MB

    class Drawn:
        shape, ndim = (n_trials, n_voxels), 2

        def __getitem__(self, rows):
            return np.random.default_rng(rows.start).random(
                (min(rows.stop, n_trials) - rows.start, n_voxels), np.float32
            )

    monkeypatch.setattr(voxel_selection, "HELD_BYTES", 8 * 2**20)
    monkeypatch.setattr(voxel_selection, "TRIALS_PER_BLOCK", 100)
    stimuli = np.tile(np.arange(n_trials // 2), 2)  # as many wait for their second trial as can
    tracemalloc.start()
    signal_and_noise(Drawn(), stimuli)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 13e6


def test_voxels_without_variance_or_noise():
    betas, stimuli = simulated(n_voxels=4, repeats=(2, 3))
    betas[:, 0] = 0.1
    betas[:, 1] = 0
    betas[:, 2] = 0.1 * stimuli
    ceiling = noise_ceiling(betas, stimuli)
    np.testing.assert_array_equal(ceiling[:3], [0, 0, 100])
    assert 0 < ceiling[3] < 100


def test_one_stimulus_only_is_all_noise():
    betas, _ = simulated(n_voxels=3)
    np.testing.assert_allclose(noise_ceiling(betas, np.zeros(len(betas), int)), 0, atol=1e-9)


def refuse(message, function, *arguments, **named):
    with pytest.raises(InputError, match=message) as caught:
        function(*arguments, **named)
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text


def test_hostile_trials():
    betas, stimuli = simulated()
    refuse("Each of the 60 stimuli is shown once in 60 trials", noise_ceiling, betas[:60], np.arange(60))
    refuse("Each of the 0 stimuli", noise_ceiling, betas[:0], stimuli[:0])
    refuse("165 trials but stimuli are int64 of shape \\(164,\\)", noise_ceiling, betas, stimuli[1:])
    refuse("float64", noise_ceiling, betas, stimuli.astype(float))
    refuse("shape \\(165, 1\\)", noise_ceiling, betas, stimuli[:, None])
    refuse("shape \\(165,\\)", noise_ceiling, betas[:, 0], stimuli)
    refuse("shape \\(\\)", noise_ceiling, betas.tolist(), stimuli)
    for repeats in (0, [3, 0], 1.5, True, [], "three"):
        refuse("repeats is", noise_ceiling, betas, stimuli, repeats=repeats)
    for hole in (np.nan, np.inf):
        broken = betas.copy()
        broken[100, 2:4] = hole
        refuse("betas of trials 1 to 165 hold NaN or infinite values in 2 of 7 voxels", noise_ceiling, broken, stimuli)
    assert noise_ceiling(betas[:, :0], stimuli).shape == (0,)


def related(n_stimuli=90, n_voxels=13, n_columns=5, seed=0, dtype=np.float32):
    generator = np.random.default_rng(seed)
    targets = generator.normal(size=(n_stimuli, n_columns)) * np.logspace(-2, 2, n_columns)
    weights = generator.normal(size=(n_columns, n_voxels)) / np.logspace(-2, 2, n_columns)[:, None]
    patterns = targets @ weights + np.linspace(0, 9, n_voxels) * generator.normal(size=(n_stimuli, n_voxels)) + 2
    return patterns.astype(dtype), targets.astype(dtype)


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_correlations_vs_numpy_and_scipy(dtype, tolerance):
    patterns, targets = related(dtype=dtype)
    together = np.corrcoef(patterns.T.astype(float), targets.T.astype(float))[: patterns.shape[1], patterns.shape[1] :]
    found = correlation_with_targets(patterns, targets)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.sqrt((together**2).mean(axis=1)), rtol=tolerance)
    each = [pearsonr(patterns[:, 4].astype(float), column)[0] for column in targets.T.astype(float)]
    assert found[4] == pytest.approx(np.linalg.norm(each) / np.sqrt(len(each)), rel=tolerance)


def test_one_column_gives_the_size_of_the_correlation():
    patterns, targets = related(dtype=np.float64)
    patterns[:, 0] = 5 - 3 * targets[:, 2]
    found = correlation_with_targets(patterns, targets[:, [2]])
    assert found[0] == pytest.approx(1, abs=1e-12)
    assert found[1] == pytest.approx(abs(pearsonr(patterns[:, 1], targets[:, 2])[0]), abs=1e-12)


def test_correlation_knows_no_unit_and_no_order(monkeypatch):
    patterns, targets = related(dtype=np.float64)
    expected = correlation_with_targets(patterns, targets)
    order = np.random.default_rng(1).permutation(len(patterns))
    for other in (
        correlation_with_targets(patterns * np.logspace(-6, 6, 13), targets),
        correlation_with_targets(patterns, -targets * np.logspace(-6, 6, 5)),
        correlation_with_targets(patterns - 40, targets + 300),
        correlation_with_targets(patterns[order], targets[order]),
        correlation_with_targets(patterns[:, ::-1], targets[:, ::-1])[::-1],
    ):
        np.testing.assert_allclose(other, expected, rtol=1e-8)
    monkeypatch.setattr(voxel_selection, "VOXELS_PER_BLOCK", 4)
    np.testing.assert_allclose(correlation_with_targets(patterns, targets), expected, rtol=1e-12)


def test_unrelated_voxels_score_as_said():
    generator = np.random.default_rng(0)
    found = correlation_with_targets(generator.normal(size=(101, 500)), generator.normal(size=(101, 200)))
    np.testing.assert_allclose(found, 0.1, atol=0.03)
    assert found.mean() == pytest.approx(0.1, abs=0.001)


def test_what_does_not_vary_scores_nothing():
    patterns, targets = related()
    expected = correlation_with_targets(patterns, targets)
    patterns[:, 3] = 0.1
    patterns[::2, 5] = 0.1
    patterns[1::2, 5] = np.nextafter(np.float32(0.1), np.float32(1))  # averages of 0.1
    targets = np.hstack([targets, np.full((len(targets), 5), 0.3, np.float32)])
    found = correlation_with_targets(patterns, targets)
    assert found[3] == found[5] == 0
    others = np.setdiff1d(np.arange(13), [3, 5])
    np.testing.assert_allclose(found[others], expected[others] / np.sqrt(2), rtol=1e-6)
    np.testing.assert_array_equal(np.flatnonzero(constant_columns(patterns)), [3, 5])
    np.testing.assert_array_equal(np.flatnonzero(constant_columns(targets)), np.arange(5, 10))


def test_numbers_of_other_types_do():
    generator = np.random.default_rng(0)
    patterns, targets = generator.integers(0, 255, (40, 6), dtype=np.uint8), generator.random((40, 3)) > 0.5
    expected = correlation_with_targets(patterns.astype(float), targets.astype(float))
    np.testing.assert_allclose(correlation_with_targets(patterns, targets), expected, rtol=1e-5)
    half = targets.astype(np.float16)
    np.testing.assert_allclose(correlation_with_targets(patterns.astype(np.float16), half), expected, rtol=1e-5)


def test_hostile_patterns():
    patterns, targets = related()
    refuse("patterns of 90 stimuli but targets of 89", correlation_with_targets, patterns, targets[1:])
    refuse("1 stimuli and 5 target columns", correlation_with_targets, patterns[:1], targets[:1])
    refuse("90 stimuli and 0 target columns", correlation_with_targets, patterns, targets[:, :0])
    refuse("targets are float32 of shape \\(90,\\)", correlation_with_targets, patterns, targets[:, 0])
    refuse("patterns are complex64", correlation_with_targets, patterns * 1j, targets)
    refuse("patterns are <U", correlation_with_targets, patterns.astype(str), targets)
    broken = patterns.copy()
    broken[8, 2] = np.inf
    refuse("patterns hold NaN or infinite values in 1 of 13 voxels", correlation_with_targets, broken, targets)
    broken = targets.copy()
    broken[:, :2] = np.nan
    refuse("targets hold NaN or infinite values in 2 of 5 columns", correlation_with_targets, patterns, broken)
    assert correlation_with_targets(patterns[:, :0], targets).shape == (0,)


def test_inputs_are_left_alone():
    patterns, targets = related(dtype=np.float64)
    betas, stimuli = simulated()
    scores = np.array([3.0, np.nan, 1.0])
    kept = [values.copy() for values in (patterns, targets, betas, stimuli, scores)]
    (
        correlation_with_targets(patterns, targets),
        noise_ceiling(betas, stimuli),
        strongest(scores, 1),
        at_least(scores, 2),
    )
    for values, before in zip((patterns, targets, betas, stimuli, scores), kept):
        np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("top", [1, 2, 50, 99, 100])
def test_strongest_vs_sorting(top):
    scores = np.random.default_rng(0).normal(size=100)
    mask = strongest(scores, top)
    assert mask.dtype == bool and mask.sum() == top
    assert set(np.flatnonzero(mask)) == set(sorted(range(100), key=lambda voxel: -scores[voxel])[:top])
    np.testing.assert_array_equal(mask, strongest(np.exp(scores), top))
    assert (mask <= strongest(scores, min(top + 1, 100))).all()


def test_ties_go_to_the_first_and_nan_is_never_chosen():
    scores = [1, np.nan, 2, 2, np.nan, 2, 0, -np.inf]
    np.testing.assert_array_equal(np.flatnonzero(strongest(scores, 2)), [2, 3])
    np.testing.assert_array_equal(np.flatnonzero(strongest(scores, np.int64(4))), [0, 2, 3, 5])
    np.testing.assert_array_equal(np.flatnonzero(strongest(scores, 6)), [0, 2, 3, 5, 6, 7])
    np.testing.assert_array_equal(np.flatnonzero(strongest(np.zeros(300), 7)), range(7))
    np.testing.assert_array_equal(np.flatnonzero(strongest(np.array([0, 3, 255], np.uint8), 2)), [1, 2])


def test_hostile_top():
    scores = np.array([1, np.nan, 2, 2.0])
    refuse("strongest 4 voxels are asked for but 3 of 4 have a score; pass top=3 or less", strongest, scores, 4)
    for top in (0, -1, 2.0, True, "3", None, np.nan):
        refuse("expected a whole number of 1 or more", strongest, scores, top)
    for scores in ([], [np.nan, np.nan]):
        refuse(f"None of {len(scores)} voxels has a score", strongest, scores, 1)
        refuse(f"None of {len(scores)} voxels has a score", at_least, scores, 1)
    refuse("shape \\(2, 2\\)", strongest, np.ones((2, 2)), 1)
    refuse("<U1", at_least, ["a", "b"], 1)


def test_at_least():
    scores = [3, np.nan, 10, 9.99, np.inf]
    np.testing.assert_array_equal(at_least(scores, 10), [False, False, True, False, True])
    np.testing.assert_array_equal(at_least(scores, -np.inf), [True, False, True, True, True])
    np.testing.assert_array_equal(at_least(np.float32([0.5, 0.25]), np.float32(0.5)), [True, False])
    refuse("None of 3 voxels scores 12 or more: the highest score is 10.25", at_least, [3, np.nan, 10.25], 12)
    for threshold in (np.nan, None, "10", True, [1]):
        refuse("expected a number", at_least, scores, threshold)
