"""Metrics against independent references on random and adversarial input, 1,450 cases in all.

The references are as plain as can be: long doubles row by row, scikit-image, scikit-learn, loops over all pairs, and
every subset of candidates.
"""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity as skimage_ssim
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from brainrecon.evaluation.metrics.correlation import (
    brain_correlation,
    correlation_distance,
    correlation_matrix,
)
from brainrecon.evaluation.metrics.identification import (
    identification_rates,
    n_way_rates,
    success_matrix,
    two_way_identification,
)
from brainrecon.evaluation.metrics.pixel_metrics import (
    binary_accuracy,
    binary_f1,
    binary_precision,
    binary_recall,
    mean_squared_error,
    pixel_correlation,
)
from brainrecon.evaluation.metrics.structural_similarity import (
    structural_similarity,
    structural_similarity_of_columns,
)
from stages.ground.errors import InputError

PIXEL_METRICS = (
    pixel_correlation,
    structural_similarity,
    structural_similarity_of_columns,
    mean_squared_error,
    binary_accuracy,
    binary_precision,
    binary_recall,
    binary_f1,
)
BOUNDED = PIXEL_METRICS[1:]

# What a row can be, beside random: told from the rows before it, from its partner, and a generator.
ROWS = {
    "random": lambda random, others, partner: random.normal(size=partner.shape),
    "constant": lambda random, others, partner: np.full(partner.shape, random.normal()),
    "zero": lambda random, others, partner: np.zeros(partner.shape),
    "the same": lambda random, others, partner: partner.copy(),
    "the opposite": lambda random, others, partner: 0.3 - 2 * partner,
    "near": lambda random, others, partner: partner + 0.1 * random.normal(size=partner.shape),
    "twin": lambda random, others, partner: others[random.integers(len(others))].copy() if others else partner.copy(),
    "low contrast": lambda random, others, partner: 1 + 1e-9 * random.normal(size=partner.shape),
    "tiny": lambda random, others, partner: 1e-180 * random.normal(size=partner.shape),
    "huge": lambda random, others, partner: 1e140 * random.normal(size=partner.shape),
    "one spike": lambda random, others, partner: np.eye(1, partner.size, random.integers(partner.size)).reshape(
        partner.shape
    ),
}
PICTURES = {
    "random": lambda random, others, partner: random.random(partner.shape),
    "uniform": lambda random, others, partner: np.full(partner.shape, random.random()),
    "black": lambda random, others, partner: np.zeros(partner.shape),
    "white": lambda random, others, partner: np.ones(partner.shape),
    "the same": lambda random, others, partner: partner.copy(),
    "negative": lambda random, others, partner: 1 - partner,
    "near": lambda random, others, partner: np.clip(partner + 0.05 * random.normal(size=partner.shape), 0, 1),
    "low contrast": lambda random, others, partner: 0.5 + 1e-7 * random.random(partner.shape),
    "black and white": lambda random, others, partner: (random.random(partner.shape) > 0.5).astype(float),
    "shifted": lambda random, others, partner: np.roll(partner, 1, axis=0),
}


def rules(max_examples):
    """The same cases on every run."""
    return settings(max_examples=max_examples, deadline=None, derandomize=True, database=None)


@st.composite
def pairs_of_rows(draw, kinds=tuple(ROWS), min_rows=1, max_rows=7):
    """Reference and predicted rows, float64 or float32, mostly unlike one another."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, d = draw(st.integers(min_rows, max_rows)), draw(st.integers(2, 40))
    reference, predicted = [], []
    for _ in range(n):
        reference.append(ROWS[draw(st.sampled_from(kinds))](random, reference, random.normal(size=d)))
        predicted.append(ROWS[draw(st.sampled_from(kinds))](random, predicted, reference[-1]))
    with np.errstate(over="ignore"):
        single = np.stack([reference, predicted]).astype(np.float32)
    return single if np.isfinite(single).all() and draw(st.booleans()) else np.stack([reference, predicted])


@st.composite
def pairs_of_pictures(draw, smallest=11, channels=(3,)):
    """Shown and reconstructed pictures in 0..1."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sides = st.integers(smallest, 40)
    shape = draw(sides), draw(sides), draw(st.sampled_from(channels))
    shown, drawn = [], []
    for _ in range(draw(st.integers(1, 3))):
        shown.append(PICTURES[draw(st.sampled_from(tuple(PICTURES)))](random, shown, random.random(shape)))
        drawn.append(PICTURES[draw(st.sampled_from(tuple(PICTURES)))](random, drawn, shown[-1]))
    return np.stack([shown, drawn]).astype(draw(st.sampled_from([np.float64, np.float32])))


@st.composite
def correlations(draw, min_rows=2, max_rows=7):
    """Square matrices of correlations with ties and undefined entries."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(min_rows, max_rows))
    values = np.round(random.uniform(-1, 1, (n, n)) + draw(st.floats(0, 1)) * np.eye(n), draw(st.integers(0, 3)))
    values[random.random((n, n)) < draw(st.sampled_from([0, 0, 0.2]))] = np.nan
    return values


def long_correlation(one, other, centred=True):
    """Pearson correlation (or cosine) of two rows in long doubles; None where it is undefined."""
    rows = [np.asarray(row, dtype=np.longdouble).ravel() for row in (one, other)]
    if any((row == (row[0] if centred else 0)).all() for row in rows):
        return None
    rows = [row - row.mean() for row in rows] if centred else rows
    rows = [row / np.sqrt((row**2).sum()) for row in rows]
    return float((rows[0] * rows[1]).sum())


@rules(150)
@given(pairs_of_rows(), st.sampled_from(["pearson", "cosine"]))
def test_correlation_matrix_vs_long_doubles(pair, similarity):
    reference, predicted = pair
    found = correlation_matrix(reference, predicted, similarity)
    for i, one in enumerate(reference):
        for j, other in enumerate(predicted):
            expected = long_correlation(one, other, similarity == "pearson")
            if expected is None:
                assert np.isnan(found[i, j])
            else:
                assert abs(found[i, j] - expected) < 1e-10


@rules(150)
@given(pairs_of_rows())
def test_scores_of_matching_rows_vs_long_doubles(pair):
    expected = np.array([long_correlation(one, other) or 0.0 for one, other in zip(*pair, strict=True)])
    np.testing.assert_allclose(brain_correlation(*pair), expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(pixel_correlation(*pair), expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(correlation_distance(*pair), 1 - expected, rtol=0, atol=1e-10)
    assert (np.abs(brain_correlation(*pair)) <= 1).all()


@rules(100)
@given(pairs_of_pictures())
def test_pixel_correlation_vs_corrcoef(pair):
    for one, other, found in zip(*pair, pixel_correlation(*pair), strict=True):
        if (one == one.flat[0]).all() or (other == other.flat[0]).all():
            assert found == 0
        else:
            assert abs(found - np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 1e-9


@rules(150)
@given(pairs_of_pictures(), st.sampled_from([(structural_similarity, None), (structural_similarity_of_columns, -1)]))
def test_structural_similarity_vs_scikit_image(pair, kind):
    function, channel_axis = kind
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    expected = [
        skimage_ssim(rgb2gray(one), rgb2gray(other), channel_axis=channel_axis, **options)
        for one, other in zip(*pair.astype(float), strict=True)
    ]
    np.testing.assert_allclose(function(*pair), expected, rtol=0, atol=1e-10)


@rules(150)
@given(pairs_of_pictures(smallest=1, channels=(1, 3)), st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]))
def test_binary_patterns_vs_scikit_learn(pair, threshold):
    grey = [rgb2gray(side) if side.shape[-1] == 3 else side[..., 0] for side in pair.astype(float)]
    for row, (one, other) in enumerate(zip(*grey, strict=True)):
        labels = one.ravel() > threshold, other.ravel() > threshold
        expected = precision_recall_fscore_support(*labels, average="binary", pos_label=True, zero_division=0)[:3]
        found = [function(*pair, threshold)[row] for function in (binary_precision, binary_recall, binary_f1)]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)
        assert abs(binary_accuracy(*pair, threshold)[row] - accuracy_score(*labels)) < 1e-15


@rules(200)
@given(pairs_of_rows(("random", "constant", "the same", "near", "twin"), min_rows=2, max_rows=9))
def test_two_way_identification_vs_all_pairs(pair):
    reference, predicted = pair
    n = len(reference)
    expected = []
    for j in range(n):
        own, below = long_correlation(reference[j], predicted[j]), 0
        for i in set(range(n)) - {j}:
            other = long_correlation(reference[i], predicted[j])
            below += own is not None and other is not None and own - other > 1e-12
        expected.append(below / (n - 1))
    np.testing.assert_array_equal(two_way_identification(reference, predicted), expected)


@rules(250)
@given(correlations(), st.integers(2, 9), st.integers(1, 8))
def test_n_way_vs_every_subset_of_candidates(correlation, n_way, top_k):
    if top_k >= n_way:
        with pytest.raises(InputError):
            n_way_rates(correlation, n_way=n_way, top_k=top_k)
        return
    n, found = len(correlation), n_way_rates(correlation, n_way=n_way, top_k=top_k)
    for j in range(n):
        others = [i for i in range(n) if i != j]
        successes = [
            sum(not correlation[i, j] < correlation[j, j] for i in drawn) < top_k
            for drawn in combinations(others, min(n_way, n) - 1)
        ]
        expected = 0.0 if np.isnan(correlation[j, j]) else np.mean(successes)
        assert abs(found[j] - expected) < 1e-14
    np.testing.assert_array_equal(n_way_rates(correlation), identification_rates(correlation))


@rules(100)
@given(correlations(max_rows=6), st.integers(0, 2**32 - 1))
def test_masks_and_targets_vs_all_pairs(correlation, seed):
    random = np.random.default_rng(seed)
    n, m = len(correlation), int(random.integers(1, 9))
    columns = random.integers(0, n, m)
    targets, allowed = random.integers(0, n, m), random.random((n, m)) < 0.6
    correlation = correlation[:, columns]
    success, competes = success_matrix(correlation, targets, allowed)
    rates = identification_rates(correlation, targets, allowed)
    for j in range(m):
        rivals = [i for i in range(n) if allowed[i, j] and i != targets[j]]
        beaten = [i for i in rivals if correlation[i, j] < correlation[targets[j], j]]
        assert np.flatnonzero(competes[:, j]).tolist() == rivals and np.flatnonzero(success[:, j]).tolist() == beaten
        assert np.isnan(rates[j]) if not rivals else rates[j] == len(beaten) / len(rivals)


@rules(100)
@given(pairs_of_pictures(), st.sampled_from(PIXEL_METRICS), st.sampled_from([np.nan, np.inf, -np.inf]), st.data())
def test_values_that_are_not_finite_are_refused_wherever_they_are(pair, function, value, data):
    pair.flat[data.draw(st.integers(0, pair.size - 1))] = value
    with pytest.raises(InputError, match="NaN or infinite"):
        function(*pair)


@rules(50)
@given(pairs_of_pictures(), st.sampled_from(BOUNDED), st.sampled_from([255, 1.001, -0.001]), st.data())
def test_values_outside_0_to_1_are_refused_wherever_they_are(pair, function, value, data):
    pair.flat[data.draw(st.integers(0, pair.size - 1))] = value
    with pytest.raises(InputError, match="0..1"):
        function(*pair)


@rules(50)
@given(pairs_of_pictures(), st.sampled_from(PIXEL_METRICS), st.integers(0, 2))
def test_pictures_of_other_sizes_are_refused(pair, function, axis):
    reference, predicted = pair
    with pytest.raises(InputError, match="one size"):
        function(reference, np.concatenate([predicted, predicted], axis=axis))
