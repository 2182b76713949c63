"""Ridge from voxels to voxels, held against scikit-learn's RidgeCV."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV

from stages.adapters.ridge_alignment import ALPHAS, fit_ridge
from stages.ground.errors import InputError


def pair(n_stimuli, n_source, n_target, seed=0, noise=1.0, size=300.0):
    """Responses of two subjects who share a few dimensions, in the size of stored betas."""
    random = np.random.default_rng(seed)
    shared = random.standard_normal((n_stimuli, 6))
    made = (
        shared @ random.standard_normal((6, n)) + noise * random.standard_normal((n_stimuli, n))
        for n in (n_source, n_target)
    )
    return tuple(size * values + random.uniform(-size, size, values.shape[1]) for values in made)


@pytest.mark.parametrize("shape", [(30, 80, 50), (90, 20, 15), (40, 40, 7)])
@pytest.mark.parametrize("size", [1.0, 20.0])
def test_choice_weights_and_predictions_are_those_of_scikit_learn(shape, size):
    n_stimuli, *n_voxels = shape
    source, target = pair(n_stimuli + 10, *n_voxels, size=size)
    learned, new = slice(0, n_stimuli), slice(n_stimuli, None)
    theirs = RidgeCV(alphas=ALPHAS, store_cv_results=True).fit(source[learned], target[learned])
    ours, alpha, errors = fit_ridge(source[learned], target[learned])
    assert alpha == theirs.alpha_
    np.testing.assert_allclose(list(errors.values()), theirs.cv_results_.mean(axis=(0, 1)), rtol=1e-8)
    np.testing.assert_allclose(ours(source[new]), theirs.predict(source[new]), rtol=1e-7, atol=1e-8 * size)


@pytest.mark.parametrize("shape", [(30, 80, 50), (90, 20, 15)])
def test_both_forms_are_one_solution(shape):
    source, target = pair(*shape)
    (dual, *chosen), (primal, *other) = (fit_ridge(source, target, form=form) for form in ("dual", "primal"))
    weights = dual.left @ dual.right
    np.testing.assert_allclose(weights, primal.left, atol=1e-8 * np.abs(weights).max())
    assert chosen[0] == other[0]
    np.testing.assert_allclose(list(chosen[1].values()), list(other[1].values()), rtol=1e-6)


def test_the_error_is_that_of_fits_without_each_stimulus():
    source, target = pair(12, 20, 5)
    _, _, errors = fit_ridge(source, target, alphas=(1e4,))
    squares = []
    for left_out in range(len(source)):
        rows = np.delete(np.arange(len(source)), left_out)
        fitted, _, _ = fit_ridge(source[rows], target[rows], alphas=1e4)
        squares.append((fitted(source[[left_out]]) - target[[left_out]]) ** 2)
    assert errors[1e4] == pytest.approx(np.mean(squares), rel=1e-9)


def test_the_map_is_as_narrow_as_its_stimuli():
    source, target = pair(15, 200, 180)
    fitted, _, _ = fit_ridge(source, target)
    assert sum(values.size for values in fitted.tensors.values()) < 17 * (200 + 180)


def test_a_penalty_may_be_fixed():
    source, target = pair(15, 20, 8)
    assert fit_ridge(source, target, alphas=7.0)[1] == 7.0


@pytest.mark.parametrize(
    ("alphas", "told"), [(0.0, "above 0"), ((1.0, -1.0), "above 0"), ((), "above 0"), ("many", "above 0")]
)
def test_penalties_that_are_none_are_refused(alphas, told):
    with pytest.raises(InputError, match=told):
        fit_ridge(*pair(15, 20, 8), alphas=alphas)


@pytest.mark.parametrize(
    ("source", "target", "told"),
    [
        (np.ones((4, 3)), np.ones((5, 3)), "a row for each stimulus"),
        (np.ones(4), np.ones((4, 3)), "a row for each stimulus"),
        (np.ones((1, 3)), np.ones((1, 3)), "needs two stimuli"),
        (np.array([[1.0, np.nan], [1, 2]]), np.ones((2, 3)), "The source's responses hold NaN"),
        (np.ones((2, 3)), np.array([[1.0, np.inf], [1, 2]]), "The target's responses hold NaN"),
    ],
)
def test_responses_that_are_no_pairs_are_refused(source, target, told):
    with pytest.raises(InputError, match=told):
        fit_ridge(source, target)


def test_other_voxels_are_refused():
    fitted, _, _ = fit_ridge(*pair(15, 20, 8))
    with pytest.raises(InputError, match=r"shape \(2, 21\) but the alignment was fitted on 20 voxels"):
        fitted(np.zeros((2, 21)))
