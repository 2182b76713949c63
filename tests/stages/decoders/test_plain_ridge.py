"""Ridge through the origin and not, against the normal equations; and renormalisation by both kinds of statistics."""

import numpy as np
import pytest
from sklearn.model_selection import KFold

from stages.decoders.ridge.plain_ridge import PlainRidge
from stages.ground.errors import InputError


@pytest.fixture
def linear():
    """Latents, and embeddings that are a linear map of them."""
    random = np.random.default_rng(0)
    latents = random.normal(size=(200, 12)) + random.normal(size=12)
    return latents, latents @ random.normal(size=(12, 8)) + 0.3 * random.normal(size=(200, 8)) + 2


@pytest.mark.parametrize("intercept", [True, False])
def test_it_solves_the_normal_equations(linear, intercept):
    X, y = linear
    found = PlainRidge(30.0, intercept).fit(X, y).predict(X[:5])
    mean_x, mean_y = (X.mean(axis=0), y.mean(axis=0)) if intercept else (0, 0)
    centred = X - mean_x
    weights = np.linalg.solve(centred.T @ centred + 30.0 * np.eye(12), centred.T @ (y - mean_y))
    np.testing.assert_allclose(found, (X[:5] - mean_x) @ weights + mean_y, rtol=1e-9)


def test_both_ways_lead_back():
    random = np.random.default_rng(0)
    latents = random.normal(size=(200, 8))
    embeddings = latents @ random.normal(size=(8, 12)) + 0.3 * random.normal(size=(200, 12))
    there = PlainRidge(1.0, intercept=False).fit(latents, embeddings)
    back = PlainRidge(1.0).fit(embeddings, latents).predict(there.predict(latents))
    assert min(np.corrcoef(one, other)[0, 1] for one, other in zip(back.T, latents.T)) > 0.9


def test_without_end_the_penalty_leaves_the_mean_or_nothing(linear):
    X, y = linear
    np.testing.assert_allclose(PlainRidge(1e15).fit(X, y).predict(X[:3]), np.tile(y.mean(axis=0), (3, 1)), rtol=1e-6)
    np.testing.assert_allclose(PlainRidge(1e15, intercept=False).fit(X, y).predict(X[:3]), 0, atol=1e-6)


def test_renormalised_together_they_have_the_statistics_of_training(linear):
    X, y = linear
    found = PlainRidge(500.0, intercept=False, rescale="transductive").fit(X[:150], y[:150]).predict(X[150:])
    np.testing.assert_allclose(found.mean(axis=0), y[:150].mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(found.std(axis=0, ddof=1), y[:150].std(axis=0, ddof=1), rtol=1e-9)
    with pytest.raises(InputError, match="'transductive' but 1 prediction is made, which has no standard deviation"):
        PlainRidge(500.0, rescale="transductive").fit(X, y).predict(X[:1])


def test_by_folds_each_can_be_made_alone(linear):
    X, y = linear
    decoder = PlainRidge(500.0, intercept=False, rescale="folds").fit(X[:150], y[:150])
    made = np.empty((150, 8))
    for fitted, rest in KFold(5).split(X[:150]):
        made[rest] = PlainRidge(500.0, intercept=False).fit(X[fitted], y[fitted]).predict(X[rest])
    plain = PlainRidge(500.0, intercept=False).fit(X[:150], y[:150]).predict(X[150:])
    wanted = (plain - made.mean(axis=0)) / made.std(axis=0, ddof=1) * y[:150].std(axis=0, ddof=1) + y[:150].mean(axis=0)
    found = decoder.predict(X[150:])
    np.testing.assert_allclose(found, wanted, rtol=1e-9)
    np.testing.assert_allclose(decoder.predict(X[160:161])[0], found[10], rtol=1e-12)


def test_tables_of_stimuli_are_taken_by_trial(linear):
    X, y = linear
    stimuli = np.random.default_rng(1).integers(50, size=200)
    found = PlainRidge(3.0).fit_targets(X, {"clip": y[:50, :5], "more": y[:50, 5:]}, stimuli)
    np.testing.assert_allclose(found.predict(X), PlainRidge(3.0).fit(X, y[stimuli]).predict(X), rtol=1e-9)
    assert dict(found.gives) == {"clip": (5,), "more": (3,)}


@pytest.mark.parametrize(
    ("options", "rows", "said"),
    [
        ({"alpha": -1.0}, 20, "alpha is -1.0"),
        ({"rescale": "train"}, 20, "rescale is 'train'"),
        ({}, 19, "as many rows of both"),
        ({}, 1, "as many rows of both"),
    ],
)
def test_what_cannot_be_fitted_is_refused(linear, options, rows, said):
    X, y = linear
    with pytest.raises(InputError) as error:
        PlainRidge(**options).fit(X[:20] if rows > 1 else X[:1], y[:rows])
    assert said in str(error.value)
