"""Ridge on voxels as they are: scikit-learn's own, however it is stored and whether penalties are chosen."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV

from stages.decoders.ridge.ridge import RidgeDecoder
from stages.ground.errors import InputError

SHAPES = {"fewer stimuli than voxels": (40, 90), "more stimuli than voxels": (90, 40)}


def simulated(n_stimuli, n_voxels, seed=0):
    generator = np.random.default_rng(seed)
    patterns = generator.normal(2, 3, size=(n_stimuli, n_voxels)) * generator.uniform(0.1, 4, n_voxels)
    return patterns, patterns @ generator.normal(size=(n_voxels, 7)) + 10 + generator.normal(size=(n_stimuli, 7))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("keep", ["weights", "targets"])
@pytest.mark.parametrize("held_out", ["tenth", "none"])
def test_predictions_vs_scikit_learn(shape, keep, held_out, tmp_path):
    patterns, targets = simulated(*shape)
    new = simulated(11, shape[1], seed=1)[0]
    options = dict(rescale="none", held_out=held_out, keep=keep, standardise=False)
    decoder = RidgeDecoder(alphas=1000.0, **options).fit(patterns, targets)
    expected = Ridge(1000.0).fit(patterns, targets).predict(new)
    np.testing.assert_allclose(decoder.predict(new), expected, rtol=1e-8)
    decoder.save_pretrained(tmp_path)
    again = RidgeDecoder.from_pretrained(tmp_path)
    assert again.standardise is False
    np.testing.assert_array_equal(again.predict(new), decoder.predict(new))
    # Another thing than on voxels of one spread.
    scaled = RidgeDecoder(alphas=1000.0, **options | {"standardise": True}).fit(patterns, targets)
    assert np.abs(scaled.predict(new) - expected).max() > 0.1


def test_the_chosen_penalty_vs_scikit_learn():
    patterns, targets = simulated(60, 90)
    alphas = np.logspace(0, 5, 11)
    decoder = RidgeDecoder(alphas=alphas, rescale="none", standardise=False).fit(patterns, targets)
    # RidgeCV's leave-one-out leaves the mean of the whole in, as everything about the same centre does.
    expected = RidgeCV(alphas).fit(patterns - patterns.mean(axis=0), targets - targets.mean(axis=0))
    assert decoder.alpha_["target"] == pytest.approx(expected.alpha_)


def test_what_is_no_choice_is_refused():
    with pytest.raises(InputError, match="standardise is 'no'"):
        RidgeDecoder(standardise="no").fit(*simulated(20, 5))
