"""The rotation and scale between two subjects, held against what made the data and against SciPy."""

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group

from stages.adapters.procrustes import fit_procrustes
from stages.ground.errors import InputError

N_VOXELS, SCALE = 12, 0.37


def turned(n_stimuli, noise=0.0, seed=0):
    """A source, the rotation, and a target that is the source turned and scaled."""
    random = np.random.default_rng(seed)
    source, turn = random.standard_normal((n_stimuli, N_VOXELS)), ortho_group.rvs(N_VOXELS, random_state=seed)
    return source, turn, SCALE * source @ turn + noise * random.standard_normal((n_stimuli, N_VOXELS))


def weights(fitted):
    return fitted.left if fitted.right is None else fitted.left @ fitted.right


@pytest.mark.parametrize("n_stimuli", [N_VOXELS, 40])
@pytest.mark.parametrize("rotation", ["span", "whole"])
def test_what_made_the_target_is_found(rotation, n_stimuli):
    source, turn, target = turned(n_stimuli)
    fitted, scale = fit_procrustes(source, target, rotation)
    assert scale == pytest.approx(SCALE, rel=1e-9)
    np.testing.assert_allclose(weights(fitted), SCALE * turn, atol=1e-9)


@pytest.mark.parametrize("rotation", ["U V", "transposed"])
def test_the_published_forms_do_not_find_it(rotation):
    source, turn, target = turned(40)
    fitted, scale = fit_procrustes(source, target, rotation)
    assert abs(scale - SCALE) > 0.1
    assert np.abs(weights(fitted) / scale - turn).max() > 0.3
    # No closer to the target than nothing at all is.
    assert np.linalg.norm(fitted(source) - target) > 0.8 * np.linalg.norm(target)


def test_the_published_forms_are_what_the_sheet_says():
    source, turn, target = turned(40)
    left, _, right = np.linalg.svd(source.T @ target)
    for rotation, expected in (("U V", left @ right.T), ("transposed", (left @ right).T)):
        fitted, scale = fit_procrustes(source, target, rotation)
        assert scale == pytest.approx(np.trace(target.T @ source @ expected) / np.trace(source.T @ source), rel=1e-8)
        np.testing.assert_allclose(weights(fitted), scale * expected, atol=1e-8)
    np.testing.assert_allclose(weights(fitted) / scale, turn.T, atol=1e-8)


@pytest.mark.parametrize("rotation", ["span", "whole"])
def test_noisy_responses_are_turned_as_by_scipy(rotation):
    source, _, target = turned(40, noise=0.3)
    turn, values = orthogonal_procrustes(source, target)
    fitted, scale = fit_procrustes(source, target, rotation)
    assert scale == pytest.approx(values / np.sum(source**2), rel=1e-9)
    np.testing.assert_allclose(weights(fitted), scale * turn, atol=1e-9)


def test_the_span_alone_is_turned_where_stimuli_are_few():
    source, turn, target = turned(5)
    fitted, scale = fit_procrustes(source, target)
    assert scale == pytest.approx(SCALE, rel=1e-9) and fitted.left.shape == (N_VOXELS, 5)
    np.testing.assert_allclose(fitted(source), target, atol=1e-9)
    beyond = np.linalg.svd(source)[2][5:]
    np.testing.assert_allclose(fitted(beyond), 0, atol=1e-9)
    whole, _ = fit_procrustes(source, target, "whole")
    np.testing.assert_allclose(weights(whole) @ weights(whole).T, SCALE**2 * np.eye(N_VOXELS), atol=1e-9)


def test_a_rank_keeps_the_leading_directions():
    source, _, target = turned(40, noise=0.3)
    left, _, right = np.linalg.svd(source.T @ target)
    fitted, scale = fit_procrustes(source, target, rank=3)
    np.testing.assert_allclose(weights(fitted), scale * left[:, :3] @ right[:3], atol=1e-9)


def test_subjects_of_other_voxels_are_aligned_on_the_span():
    source, _, target = turned(40)
    fitted, _ = fit_procrustes(source, target[:, :7])
    assert fitted(source).shape == (40, 7)
    turn = weights(fitted)
    np.testing.assert_allclose(turn.T @ turn, turn[:, 0] @ turn[:, 0] * np.eye(7), atol=1e-9)


def test_a_narrow_sketch_is_the_rotation_of_its_directions_the_wrong_way_round():
    source, turn, _ = turned(40)
    source = source[:, :3] @ np.random.default_rng(2).standard_normal((3, N_VOXELS))
    target = SCALE * source @ turn
    fitted, scale = fit_procrustes(source, target, "transposed", rank=3)
    right, _ = fit_procrustes(source, target)
    np.testing.assert_allclose(weights(fitted) / scale, weights(right).T / SCALE, atol=1e-8)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rotation": "hyper"}, "rotation is 'hyper'; expected one of 'span', 'whole', 'U V', 'transposed'"),
        ({"rotation": "whole", "rank": 3}, "takes all directions"),
        ({"rank": 13}, "rank is 13 but the stimuli determine 12 directions"),
        ({"rank": 0}, "rank is 0; expected a whole number of 1 or more or None"),
    ],
)
def test_settings_that_do_not_go_are_refused(change, told):
    source, _, target = turned(40)
    with pytest.raises(InputError, match=told):
        fit_procrustes(source, target, **change)


def test_other_grids_and_silent_voxels_are_refused():
    source, _, target = turned(40)
    with pytest.raises(InputError, match="12 voxels and the target 7, but Procrustes .* needs both on one grid"):
        fit_procrustes(source, target[:, :7], "whole")
    with pytest.raises(InputError, match="The source's responses are all 0"):
        fit_procrustes(0 * source, target)
