"""Our alignments held against fmralign's, and its optimal transport; skipped where it is not installed."""

import sys

import numpy as np
import pytest

from stages.adapters.fmralign_methods import fit_fmralign
from stages.adapters.functional_alignment import FunctionalAlignment
from stages.adapters.procrustes import fit_procrustes
from stages.adapters.ridge_alignment import fit_ridge
from stages.adapters.shared_response import basis_of
from stages.ground.errors import InputError


def pair(n_stimuli, n_voxels=16, seed=0):
    random = np.random.default_rng(seed)
    shared = random.standard_normal((n_stimuli, 5))
    return tuple(
        shared @ random.standard_normal((5, n_voxels)) + 0.5 * random.standard_normal((n_stimuli, n_voxels))
        for _ in range(2)
    )


@pytest.fixture
def methods():
    return pytest.importorskip("fmralign.methods")


@pytest.mark.parametrize("n_stimuli", [8, 40])
@pytest.mark.usefixtures("methods")
def test_its_rotation_is_ours_on_the_span(n_stimuli):
    source, target = pair(n_stimuli)
    ours, scale = fit_procrustes(source, target)
    theirs = fit_fmralign(source, target, "procrustes")
    np.testing.assert_allclose(theirs.left, ours.left @ ours.right, atol=1e-8)
    assert scale > 0


@pytest.mark.parametrize("n_stimuli", [8, 40])
@pytest.mark.usefixtures("methods")
def test_its_ridge_is_ours_under_one_penalty(n_stimuli):
    source, target = pair(n_stimuli)
    theirs = fit_fmralign(source, target, "ridge", alphas=[10.0], cv=None)
    np.testing.assert_allclose(theirs(source), fit_ridge(source, target, 10.0)[0](source), atol=1e-8)


def test_its_basis_of_a_shared_response_is_ours(methods):
    source, target = pair(40)
    shared = (source + target)[:, :3]
    np.testing.assert_allclose(methods.DetSRM(3).fit(source, shared).Wt, basis_of(source, shared), atol=1e-9)


def test_optimal_transport_is_a_map_as_others_are(methods, tmp_path):
    source, target = pair(40)
    alignment = FunctionalAlignment("optimal_transport", reg=0.1).fit(source, target[:, :12])
    plan = methods.OptimalTransport(reg=0.1).fit(source, target[:, :12])
    np.testing.assert_allclose(alignment._map(np.float32(source)), plan.transform(source), rtol=1e-3, atol=1e-3)
    alignment.save_pretrained(tmp_path)
    again = FunctionalAlignment.from_pretrained(tmp_path)
    assert np.array_equal(again.transform(source), alignment.transform(source))


def test_without_it_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "fmralign", None)
    with pytest.raises(InputError, match=r"pip install 'brainrecon\[alignment\]'"):
        FunctionalAlignment("optimal_transport").fit(*pair(8))
