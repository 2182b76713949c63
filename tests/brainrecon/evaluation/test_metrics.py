"""Metrics against references written out, and the laws they obey."""

import numpy as np
import pytest
from scipy.spatial.distance import correlation as scipy_correlation_distance
from scipy.stats import pearsonr
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity as skimage_ssim

from brainrecon.evaluation import metrics
from stages.errors import InputError


def pictures(seed, n=6, size=24):
    return np.random.default_rng(seed).random((n, size, size, 3))


def published_identification(reference, predicted):
    """The published evaluation, loop by loop: column-wise over all pairs, ties fail, denominator n - 1."""
    n = len(reference)
    r = np.corrcoef(reference.reshape(n, -1), predicted.reshape(n, -1))[:n, n:]
    congruent = np.diag(r)
    scores = []
    for column in range(n):
        success = 0
        for row in range(n):
            if row != column and r[row, column] < congruent[column]:
                success += 1
        scores.append(success / (n - 1))
    return np.array(scores)


def test_pixel_correlation_vs_scipy():
    one, other = pictures(0), pictures(1)
    expected = [pearsonr(a.ravel(), b.ravel()).statistic for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(metrics.pixel_correlation(one, other), expected, atol=1e-12)


def test_correlation_distance_vs_scipy():
    one, other = pictures(0).reshape(6, -1), pictures(1).reshape(6, -1)
    expected = [scipy_correlation_distance(a, b) for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(metrics.correlation_distance(one, other), expected, atol=1e-12)


def test_structural_similarity_vs_skimage():
    one, other = pictures(0).astype(np.float32), pictures(1).astype(np.float32)
    expected = [
        skimage_ssim(
            rgb2gray(a.astype(np.float64)),
            rgb2gray(b.astype(np.float64)),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1.0,
        )
        for a, b in zip(one, other, strict=True)
    ]
    np.testing.assert_allclose(metrics.structural_similarity(one, other), expected, atol=1e-12)


def test_blocks_do_not_change_a_value(monkeypatch):
    one, other = pictures(0), pictures(1)
    whole = metrics.pixel_correlation(one, other), metrics.correlation_matrix(one, other)
    monkeypatch.setattr(metrics, "_VALUES_PER_BLOCK", 1)
    monkeypatch.setattr(metrics, "_COLUMNS_PER_BLOCK", 7)
    np.testing.assert_allclose(metrics.pixel_correlation(one, other), whole[0], atol=1e-13)
    np.testing.assert_allclose(metrics.correlation_matrix(one, other), whole[1], atol=1e-13)


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e9])
def test_pixel_correlation_ignores_contrast_and_brightness(scale):
    one, other = pictures(0), pictures(1)
    expected = metrics.pixel_correlation(one, other)
    np.testing.assert_allclose(metrics.pixel_correlation(one, 3 * scale + scale * other), expected, atol=1e-3)
    np.testing.assert_allclose(metrics.pixel_correlation(one, -other), -expected, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_uniform_pictures_give_numbers(value):
    one, uniform = pictures(0), np.full((6, 24, 24, 3), value)
    assert (metrics.pixel_correlation(one, uniform) == 0).all()
    assert (metrics.pixel_correlation(uniform, uniform) == 0).all()
    assert (metrics.correlation_distance(uniform, one) == 1).all()
    assert np.isfinite(metrics.structural_similarity(one, uniform)).all()
    np.testing.assert_allclose(metrics.structural_similarity(uniform, uniform), 1)
    assert (metrics.two_way_identification(one, uniform) == 0).all()
    assert np.isfinite(metrics.two_way_identification(uniform, one)).all()


def test_identical_pictures_are_perfect():
    one = pictures(0)
    np.testing.assert_allclose(metrics.pixel_correlation(one, one), 1)
    np.testing.assert_allclose(metrics.structural_similarity(one, one), 1)
    np.testing.assert_allclose(metrics.correlation_distance(one, one), 0, atol=1e-12)
    assert (metrics.two_way_identification(one, one) == 1).all()


@pytest.mark.parametrize("name", ["pixel_correlation", "structural_similarity"])
def test_more_noise_never_scores_higher(name):
    one = pictures(3, n=40)
    noise = np.random.default_rng(4).random(one.shape)
    means = [
        metrics.METRICS[name].function(one, (1 - share) * one + share * noise).mean()
        for share in (0, 0.2, 0.4, 0.6, 0.8, 1)
    ]
    assert (np.diff(means) < 0).all()


@pytest.mark.parametrize("seed", range(40))
def test_identification_vs_published_loop(seed):
    random = np.random.default_rng(seed)
    n, d = int(random.integers(2, 30)), int(random.integers(3, 60))
    reference = random.normal(size=(n, d)).astype(np.float32)
    predicted = (random.random() * reference + random.normal(size=(n, d))).astype(np.float32)
    np.testing.assert_array_equal(
        metrics.two_way_identification(reference, predicted), published_identification(reference, predicted)
    )


def test_ties_fail():
    random = np.random.default_rng(0)
    reference = random.normal(size=(5, 40)).astype(np.float32)
    reference[3] = reference[1]  # twins cannot be told apart
    scores = metrics.two_way_identification(reference, reference)
    np.testing.assert_array_equal(scores, [1, 0.75, 1, 0.75, 1])
    same = np.repeat(random.normal(size=(1, 333)), 5, axis=0)
    assert (metrics.two_way_identification(same, random.normal(size=(5, 333))) == 0).all()


def test_scaled_twins_tie_in_every_position():
    # Rows that are equal up to rounding must tie wherever they stand in the matrix.
    random = np.random.default_rng(1)
    base = random.normal(size=1001)
    reference = np.stack([base * scale + shift for scale, shift in random.random((67, 2)) + 0.5])
    assert (metrics.two_way_identification(reference, reference) == 0).all()


def test_shuffled_predictions_are_at_chance():
    random = np.random.default_rng(5)
    reference = random.normal(size=(60, 30)) + random.normal(size=30)
    means = [metrics.two_way_identification(reference, reference[random.permutation(60)]).mean() for _ in range(60)]
    assert abs(np.mean(means) - 0.5) < 4 * np.std(means) / np.sqrt(len(means)) + 0.01


def test_identification_grows_with_signal():
    random = np.random.default_rng(6)
    reference, noise = random.normal(size=(2, 80, 50))
    means = [
        metrics.two_way_identification(reference, signal * reference + noise).mean() for signal in (0, 0.1, 0.3, 1)
    ]
    assert (np.diff(means) > 0).all() and means[-1] > 0.99


def test_identification_follows_its_stimuli():
    random = np.random.default_rng(7)
    reference = random.normal(size=(12, 9))
    predicted = reference + random.normal(size=(12, 9))
    order = random.permutation(12)
    scores = metrics.two_way_identification(reference, predicted)
    np.testing.assert_array_equal(metrics.two_way_identification(reference[order], predicted[order]), scores[order])
    np.testing.assert_array_equal(metrics.two_way_identification(reference, predicted[order], order), scores[order])


def test_several_samples_of_one_stimulus_each_compete_alone():
    random = np.random.default_rng(8)
    reference = random.normal(size=(7, 9))
    first, second = reference + random.normal(size=(2, 7, 9))
    both = metrics.two_way_identification(reference, np.concatenate([first, second]), np.tile(np.arange(7), 2))
    np.testing.assert_array_equal(both[:7], metrics.two_way_identification(reference, first))
    np.testing.assert_array_equal(both[7:], metrics.two_way_identification(reference, second))


def test_identification_within_categories():
    random = np.random.default_rng(9)
    categories = np.array([0, 0, 0, 1, 1, 1, 1, 2])
    reference = random.normal(size=(8, 9))
    predicted = reference + random.normal(size=(8, 9))
    scores = metrics.two_way_identification(reference, predicted, allowed=categories[:, None] == categories)
    for category in (0, 1):
        members = categories == category
        np.testing.assert_array_equal(
            scores[members], metrics.two_way_identification(reference[members], predicted[members])
        )
    assert np.isnan(scores[7])  # the only one of its category


def test_arguments_are_left_alone():
    one, other, allowed = pictures(0), pictures(1), np.ones((6, 6), dtype=bool)
    before = one.copy(), other.copy(), allowed.copy()
    for metric in metrics.METRICS.values():
        metric.function(one if metric.takes != "labels" else "abcdef", other if metric.takes != "labels" else "abcdeg")
    metrics.two_way_identification(one, other, allowed=allowed)
    for array, copy in zip((one, other, allowed), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_declared_bounds_hold():
    one, other = pictures(0), 1 - pictures(0)
    for metric in metrics.METRICS.values():
        if metric.takes != "labels":
            scores = metric.function(one, other)
            assert scores.dtype == np.float64 and scores.shape == (6,)
            assert (metric.bounds[0] <= scores).all() and (scores <= metric.bounds[1]).all()


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: metrics.pixel_correlation(np.zeros((2, 4, 4, 3)), np.zeros((2, 5, 4, 3))), "one size"),
        (lambda: metrics.pixel_correlation(np.full((2, 4), np.nan), np.zeros((2, 4))), "NaN"),
        (lambda: metrics.structural_similarity(255 * pictures(0), 255 * pictures(1)), "Divide 8-bit"),
        (lambda: metrics.structural_similarity(pictures(0, size=8), pictures(1, size=8)), "11 pixels"),
        (lambda: metrics.two_way_identification(np.ones((1, 4)), np.ones((1, 4))), "at least 2"),
        (lambda: metrics.two_way_identification(np.eye(4), np.eye(4)[:3]), "targets="),
        (lambda: metrics.two_way_identification(np.eye(4), np.ones((4, 5))), "same network"),
        (lambda: metrics.two_way_identification(np.eye(4), np.eye(4), allowed=np.ones((3, 4))), "mask"),
        (lambda: metrics.two_way_identification(np.full((3, 4), np.inf), np.ones((3, 4))), "infinite"),
        (lambda: metrics.two_way_identification(np.ones((3, 0)), np.ones((3, 0))), "no values"),
        (lambda: metrics.label_agreement(["a"], ["a", "b"]), "one for each"),
    ],
)
def test_hostile_input(call, words):
    with pytest.raises(InputError, match=words):
        call()
