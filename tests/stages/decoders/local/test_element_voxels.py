"""Scores and choices of voxels for image elements against scikit-learn."""

import numpy as np
import pytest
from sklearn.feature_selection import SelectKBest, f_classif, f_regression
from sklearn.preprocessing import StandardScaler

from stages.decoders.local import element_voxels
from stages.decoders.local.element_voxels import anova_f, best_voxels, contrast_levels, correlation_f, select_voxels


def simulated(n_samples=80, n_voxels=60, n_elements=9, seed=0):
    """Elements with 2 to 5 levels, the last two continuous."""
    generator = np.random.default_rng(seed)
    contrasts = np.stack([generator.integers(0, 2 + e % 4, n_samples) / 4 for e in range(n_elements)], axis=1)
    contrasts[:, -2:] = generator.normal(size=(n_samples, 2))
    patterns = contrasts @ generator.normal(size=(n_elements, n_voxels)) + generator.normal(size=(n_samples, n_voxels))
    return patterns * np.logspace(-2, 2, n_voxels) + 5, contrasts


def standardised(patterns):
    return StandardScaler().fit_transform(patterns)


def test_anova_vs_scikit_learn(monkeypatch):
    patterns, contrasts = simulated()
    expected = [f_classif(patterns, contrast)[0] for contrast in contrasts[:, :-2].T]
    codes = contrast_levels(contrasts[:, :-2])[1]
    np.testing.assert_allclose(anova_f(standardised(patterns), codes), expected, rtol=1e-8, atol=1e-8)
    monkeypatch.setattr(element_voxels, "VOXELS_AT_ONCE", 7)
    np.testing.assert_allclose(anova_f(standardised(patterns), codes), expected, rtol=1e-8, atol=1e-8)


def test_correlation_vs_scikit_learn():
    patterns, contrasts = simulated()
    expected = [f_regression(patterns, contrast)[0] for contrast in contrasts.T]
    np.testing.assert_allclose(correlation_f(standardised(patterns), contrasts), expected, rtol=1e-8)


@pytest.mark.parametrize("k", [1, 7, 60])
@pytest.mark.parametrize("selection, score", [("anova", f_classif), ("correlation", f_regression)])
def test_selection_vs_scikit_learn(k, selection, score, monkeypatch):
    patterns, contrasts = simulated()
    monkeypatch.setattr(element_voxels, "SCORE_BYTES", 8 * 60 * 2)  # two elements at once
    found = select_voxels(standardised(patterns), contrasts, contrast_levels(contrasts)[1], k, selection)
    for element, contrast in enumerate(contrasts.T):
        # More different contrasts than a quarter of the samples: no groups to compare.
        own = f_regression if element >= 7 else score
        expected = SelectKBest(own, k=k).fit(patterns, contrast).get_support(indices=True)
        np.testing.assert_array_equal(found[element], expected)


def test_of_equal_scores_the_last_are_chosen_as_scikit_learn_does():
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 4, size=(30, 40)).astype(float)
    scores[:5, ::3] = np.nan
    scores[5, 4:9] = np.inf
    for k in (1, 5, 20, 39, 40):
        found = best_voxels(scores, k)
        for row, own in zip(found, scores):
            expected = SelectKBest(lambda X, y, own=own: (own, own), k=k).fit(np.ones((2, 40)), [0, 1])
            np.testing.assert_array_equal(row, expected.get_support(indices=True))


def test_constant_voxels_come_last_and_perfect_ones_first():
    patterns, contrasts = simulated()
    patterns = standardised(patterns)
    patterns[:, 3] = 0
    patterns[:, 8] = standardised(contrasts[:, :1])[:, 0]
    codes = contrast_levels(contrasts)[1]
    for selection in ("anova", "correlation"):
        found = select_voxels(patterns, contrasts, codes, 59, selection)
        assert (found != 3).all()
        assert select_voxels(patterns, contrasts, codes, 1, selection)[0] == 8


def test_levels_agree_but_for_rounding():
    contrasts = np.array([[0.1 + 0.2, 5.0], [0.3, 5.0], [0.0, 5.0], [0.3, 5.0 + 1e-12]])
    levels, codes = contrast_levels(contrasts)
    assert [len(own) for own in levels] == [2, 1]
    np.testing.assert_array_equal(codes, [[1, 0], [1, 0], [0, 0], [1, 0]])
    assert contrast_levels(np.zeros((4, 1)))[0][0].tolist() == [0]


def test_order_of_samples_and_voxels():
    patterns, contrasts = simulated()
    patterns, codes = standardised(patterns), contrast_levels(contrasts[:, :-2])[1]
    expected, order = anova_f(patterns, codes), np.random.default_rng(1).permutation(80)
    np.testing.assert_allclose(anova_f(patterns[order], codes[order]), expected, rtol=1e-9)
    np.testing.assert_allclose(anova_f(patterns[:, ::-1], codes), expected[:, ::-1], rtol=1e-9)
