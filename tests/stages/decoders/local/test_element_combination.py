"""Weights of elements against explicit designs, and folds that keep together what belongs together."""

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import nnls

from stages.decoders.local.element_combination import element_weights, held_out_folds, size_weights
from stages.ground.errors import InputError


def overlapping(n_stimuli=30, n_elements=12, n_pixels=15, seed=0):
    generator = np.random.default_rng(seed)
    indicators = sparse.csr_array((generator.random((n_elements, n_pixels)) < 0.4).astype(float))
    pictures = generator.random((n_stimuli, n_pixels))
    contrasts = pictures @ indicators.T.toarray() / 5 + 0.3 * generator.normal(size=(n_stimuli, n_elements))
    return contrasts, pictures, indicators


def explicit(contrasts, pictures, indicators):
    design = contrasts[:, None, :] * indicators.toarray().T[None]
    return nnls(design.reshape(-1, contrasts.shape[1]), pictures.reshape(-1))


@pytest.mark.parametrize("seed", range(5))
def test_element_weights_vs_the_explicit_design(seed):
    arguments = overlapping(seed=seed)
    expected, _ = explicit(*arguments)
    assert (expected > 0).any()
    np.testing.assert_allclose(element_weights(*arguments), expected, rtol=1e-8, atol=1e-10)
    contrasts = arguments[0]
    contrasts[:, 3] = -contrasts[:, 3]  # would need a negative weight
    expected, _ = explicit(*arguments)
    assert expected[3] == 0
    np.testing.assert_allclose(element_weights(*arguments), expected, rtol=1e-8, atol=1e-10)


def test_elements_that_say_nothing_or_the_same():
    contrasts, pictures, indicators = overlapping()
    contrasts[:, 2] = 0
    indicators = indicators.toarray()
    contrasts[:, 5], indicators[5] = contrasts[:, 4], indicators[4]
    indicators = sparse.csr_array(indicators)
    found = element_weights(contrasts, pictures, indicators)
    _, distance = explicit(contrasts, pictures, indicators)
    residual = ((contrasts * found) @ indicators.toarray() - pictures).reshape(-1)
    assert np.linalg.norm(residual) == pytest.approx(distance, rel=1e-8)
    assert found[2] == 0 and (found >= 0).all()
    assert not element_weights(np.zeros_like(contrasts), pictures, indicators).any()


def test_size_weights_vs_closed_form():
    generator = np.random.default_rng(0)
    pictures = (generator.random((100, 100)) < 0.5).astype(float)
    # Four sizes that hardly differ from each other, as real ones do.
    common = pictures + 0.5 * generator.normal(size=pictures.shape)
    sizes = np.stack([common + 0.1 * (s + 1) * generator.normal(size=pictures.shape) for s in range(4)], axis=1)
    design = np.moveaxis(sizes, 1, 2).reshape(-1, 4)
    expected = np.linalg.lstsq(design, pictures.reshape(-1), rcond=None)[0]
    found = size_weights(sizes, pictures)
    np.testing.assert_allclose(design @ found, design @ expected, atol=0.01)
    np.testing.assert_allclose(found, expected, atol=0.02)
    np.testing.assert_array_equal(size_weights(sizes, pictures), found)
    least, reached = (np.mean((design @ weights - pictures.reshape(-1)) ** 2) for weights in (expected, found))
    assert reached < least * (1 + 1e-4)
    np.testing.assert_allclose(size_weights(sizes * 1e4, pictures * 1e-3), found * 1e-7, rtol=1e-6)


def test_sizes_that_say_the_same_share_their_weight():
    pictures = np.random.default_rng(0).random((40, 9))
    found = size_weights(np.stack([pictures, pictures], axis=1), pictures)
    np.testing.assert_allclose(found, 0.5, atol=1e-3)
    assert not size_weights(np.zeros((40, 2, 9)), pictures).any()


def test_equal_pictures_and_groups_stay_on_one_side():
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 2, size=(200, 5))  # 32 patterns
    groups = np.repeat(np.arange(100), 2)[generator.permutation(200)]
    for labels in (None, groups % 97):
        pictures_used = pictures if labels is None else generator.integers(0, 2, size=(200, 10))
        folds = held_out_folds(pictures_used, labels, 3)
        np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in folds])), np.arange(200))
        for train, test in folds:
            assert not set(train) & set(test)
            assert not {tuple(row) for row in pictures_used[train]} & {tuple(row) for row in pictures_used[test]}
            if labels is not None:
                assert not set(labels[train]) & set(labels[test])


def test_pictures_link_groups():
    pictures = np.array([0, 1, 1, 2, 3, 4])[:, None]
    groups = ["a", "a", "b", "b", "c", "d"]
    sides = [set(test.tolist()) for _, test in held_out_folds(pictures, groups, 3)]
    assert sorted(map(sorted, sides)) == [[0, 1, 2, 3], [4], [5]]


def test_folds_do_not_depend_on_order():
    pictures = np.random.default_rng(0).integers(0, 2, size=(60, 6))
    order = np.random.default_rng(1).permutation(60)
    groups = np.arange(60) // 2
    expected = {frozenset(test.tolist()) for _, test in held_out_folds(pictures, None, 4)}
    found = {frozenset(order[test].tolist()) for _, test in held_out_folds(pictures[order], None, 4)}
    assert found == expected
    with pytest.raises(InputError, match="There are 1 sets .* n_folds is 4"):
        held_out_folds(pictures, groups * 0, 4)
    with pytest.raises(InputError, match="groups have shape \\(59,\\) but there are 60 samples"):
        held_out_folds(pictures, groups[1:], 4)
    with pytest.raises(InputError, match="There are 3 sets"):
        held_out_folds(np.eye(3), None, 4)
