"""Scores of units: himalaya's own estimator, scikit-learn's ridge, and which units are kept."""

import warnings

import numpy as np
import pytest

from stages.decoders.unit_scores import kept_units, unit_scores
from stages.ground.errors import InputError


def made(n_stimuli, n_voxels, n_units=9, seed=0):
    random = np.random.default_rng(seed)
    patterns = random.normal(size=(n_stimuli, n_voxels))
    values = patterns @ random.normal(size=(n_voxels, n_units)) / n_voxels**0.5
    return patterns, 3 + values + np.linspace(0, 5, n_units) * random.normal(size=values.shape)


def standardised(values):
    return (values - values.mean(axis=0)) / values.std(axis=0)


def by_folds(patterns, values, predicted, folds=5):
    """Mean over folds of neighbouring stimuli of |r|, unit by unit, with a fit of one's own."""
    patterns, values, found = standardised(patterns), standardised(values), []
    for held_out in np.array_split(np.arange(len(patterns)), folds):
        rest = np.setdiff1d(np.arange(len(patterns)), held_out)
        guess = predicted(patterns[rest], values[rest], patterns[held_out])
        found.append([abs(np.corrcoef(a, b)[0, 1]) for a, b in zip(guess.T, values[held_out].T)])
    return np.mean(found, axis=0)


@pytest.mark.parametrize(("n_stimuli", "n_voxels"), [(60, 12), (40, 70)])
def test_least_squares_vs_himalaya_at_its_defaults(n_stimuli, n_voxels):
    lasso = pytest.importorskip("himalaya.lasso")
    patterns, values = made(n_stimuli, n_voxels)
    # Their power iterations start from NumPy's own generator: at a rare start the step is far off.
    np.random.seed(0)

    def theirs(known, units, new):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            model = lasso.SparseGroupLassoCV(solver_params={"progress_bar": False}).fit(known, units)
            return model.predict(new)

    expected = by_folds(patterns, values, theirs)
    # Their step is 1 over an eigenvalue that power iterations estimate.
    np.testing.assert_allclose(unit_scores(patterns, {"a": values})["a"], expected, atol=5e-3)
    assert np.ptp(expected) > 0.1


def test_ridge_vs_scikit_learn():
    from sklearn.linear_model import Ridge

    patterns, values = made(50, 20)

    def theirs(known, units, new):
        return Ridge(alpha=30.0, fit_intercept=False).fit(known, units).predict(new)

    found = unit_scores(patterns, {"a": values[:, :4], "b": values[:, 4:]}, way="ridge", alpha=30.0)
    np.testing.assert_allclose(np.r_[found["a"], found["b"]], by_folds(patterns, values, theirs), atol=1e-5)


def test_the_published_rate_keeps_a_quarter_of_a_layer():
    scores = np.random.default_rng(0).random(38_400).astype(np.float32)
    kept = kept_units(scores, 75)
    assert kept.sum() == 9_600 and scores[kept].min() > scores[~kept].max()
    # Files are named after what is left: rate 20, their default, is Folder_5_80.
    assert kept_units(scores, 20).sum() == 30_720 and kept_units(scores, 0).all()


def test_a_constant_unit_scores_nothing_and_a_constant_voxel_says_nothing():
    patterns, values = made(40, 8, n_units=3)
    values[:, 1] = 7.0
    found = unit_scores(np.c_[patterns, np.full(40, 3.0)], {"a": values})["a"]
    np.testing.assert_allclose(found, unit_scores(patterns, {"a": values})["a"], atol=1e-6)
    assert found[1] == 0 and found[0] > 0.5


@pytest.mark.parametrize(
    ("options", "said"),
    [({"way": "lasso"}, "way is 'lasso'"), ({"folds": 1}, "folds is 1"), ({"alpha": 0.0}, "alpha is 0.0")],
)
def test_what_there_is_not_is_refused(options, said):
    with pytest.raises(InputError, match=said):
        unit_scores(np.eye(10), {"a": np.eye(10)}, **options)
    with pytest.raises(InputError, match="rate is 100"):
        kept_units(np.ones(4), 100)


def test_values_that_are_not_finite_are_named():
    patterns, values = made(20, 4)
    values[3, 2] = np.nan
    with pytest.raises(InputError, match="'a' holds NaN"):
        unit_scores(patterns, {"a": values})
