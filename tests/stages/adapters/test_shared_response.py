"""The shared response model of two subjects: its optimum, and what it leaves out."""

import numpy as np
import pytest

from stages.adapters.shared_response import basis_of, fit_shared_response
from stages.ground.errors import InputError


def pair(n_stimuli=60, noise=0.0, seed=0):
    random = np.random.default_rng(seed)
    shared = random.standard_normal((n_stimuli, 4)) * [4, 3, 2, 1]
    bases = [np.linalg.qr(random.standard_normal((n, 4)))[0] for n in (20, 15)]
    return tuple(
        shared @ basis.T
        + noise * random.standard_normal((n_stimuli, len(basis)))
        + 5 * random.standard_normal(len(basis))
        for basis in bases
    )


def loss(source, target, left, right):
    """Squared error of both subjects about the shared response that their bases give."""
    centred = source - source.mean(axis=0), target - target.mean(axis=0)
    shared = np.mean([values @ basis for values, basis in zip(centred, (left, right))], axis=0)
    return sum(np.sum((values - shared @ basis.T) ** 2) for values, basis in zip(centred, (left, right)))


def test_what_is_shared_is_carried_over_to_new_stimuli():
    source, target = pair()
    fitted = fit_shared_response(source[:40], target[:40], n_components=4)
    np.testing.assert_allclose(fitted(source[40:]), target[40:], atol=1e-8)


def test_the_bases_are_orthonormal_and_no_turn_of_them_is_better():
    source, target = pair(noise=0.5)
    fitted = fit_shared_response(source, target, n_components=3, n_iterations=200)
    left, right = fitted.left, fitted.right.T
    np.testing.assert_allclose(left.T @ left, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(right.T @ right, np.eye(3), atol=1e-9)
    reached, random = loss(source, target, left, right), np.random.default_rng(1)
    for size in (1e-3, 1e-2, 0.1, 1.0):
        near = np.linalg.qr(left + size * random.standard_normal(left.shape))[0]
        # A new basis without the sign and order that a decomposition gives it.
        near = near @ basis_of(left.T @ near, np.eye(3)).T if size < 0.5 else near
        assert loss(source, target, near, right) >= reached * (1 - 1e-9)


def test_more_is_shared_than_there_is_is_refused():
    source, target = pair(n_stimuli=5)
    with pytest.raises(InputError, match="n_components is 5 but 5 stimuli .* share 4 at most"):
        fit_shared_response(source, target, n_components=5)
