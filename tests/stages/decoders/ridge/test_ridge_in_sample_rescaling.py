"""Rescaling by the statistics of predictions of the training stimuli, held against scikit-learn and the formula."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from stages.decoders.ridge.ridge import RidgeDecoder

ALPHA, N_TRAIN = 30.0, 50


def data(n_voxels=80, repeats=1):
    random = np.random.default_rng(0)
    features = random.standard_normal((N_TRAIN + 20, 6))
    patterns = features @ random.standard_normal((6, n_voxels)) + 2 * random.standard_normal((len(features), n_voxels))
    stimuli = np.repeat(np.arange(N_TRAIN), repeats)
    trials = patterns[stimuli] + random.standard_normal((len(stimuli), n_voxels)) * (repeats > 1)
    return trials, 3 * features[:N_TRAIN] + 1, stimuli, patterns[N_TRAIN:]


def expected(trials, targets, stimuli, new):
    """As published: the predictions of the training trials are kept, and their mean and spread are taken."""
    mean, spread = trials.mean(axis=0), trials.std(axis=0, ddof=1)
    ridge = Ridge(ALPHA).fit((trials - mean) / spread, targets[stimuli])
    known, found = (ridge.predict((values - mean) / spread) for values in (trials, new))
    target = targets[stimuli]
    return (found - known.mean(axis=0)) / known.std(axis=0) * target.std(axis=0) + target.mean(axis=0)


@pytest.mark.parametrize("way", ["training", "training_unless_alone"])
@pytest.mark.parametrize("keep", ["weights", "targets"])
@pytest.mark.parametrize("held_out", ["tenth", "none"])
@pytest.mark.parametrize(("n_voxels", "repeats"), [(80, 1), (20, 1), (20, 3)])
def test_it_is_that_of_the_training_trials_own_predictions(way, keep, held_out, n_voxels, repeats):
    trials, targets, stimuli, new = data(n_voxels, repeats)
    decoder = RidgeDecoder(ALPHA, rescale=way, keep=keep, held_out=held_out)
    decoder.fit_targets(trials, {"one": targets[:, :4], "other": targets[:, 4:]}, stimuli=stimuli)
    np.testing.assert_allclose(decoder.predict(new), expected(trials, targets, stimuli, new), rtol=1e-7)


def test_one_pattern_is_rescaled_as_in_a_batch_unless_it_is_asked_for_as_published():
    trials, targets, stimuli, new = data()
    batch, published, plain = (
        RidgeDecoder(ALPHA, rescale=way).fit(trials, targets) for way in ("training", "training_unless_alone", "none")
    )
    np.testing.assert_allclose(batch.predict(new[:1]), batch.predict(new)[:1])
    np.testing.assert_allclose(published.predict(new[:1]), plain.predict(new[:1]))
    np.testing.assert_allclose(published.predict(new), batch.predict(new))
    assert np.abs(published.predict(new[:1]) - published.predict(new)[:1]).max() > 0.1


def test_each_target_may_have_its_own_way():
    trials, targets, stimuli, new = data()
    groups = {"one": targets[:, :4], "other": targets[:, 4:]}
    mixed = RidgeDecoder(ALPHA, rescale={"one": "training", "other": "held_out"}).fit_targets(trials, groups)
    apart = [RidgeDecoder(ALPHA, rescale=way).fit_targets(trials, groups) for way in ("training", "held_out")]
    found, others = mixed.split(mixed.predict(new)), [decoder.split(decoder.predict(new)) for decoder in apart]
    np.testing.assert_allclose(found["one"], others[0]["one"])
    np.testing.assert_allclose(found["other"], others[1]["other"])
    # Of the held-out correlation nothing changes.
    assert mixed.held_out_correlation_ == pytest.approx(apart[1].held_out_correlation_)


def test_they_vary_more_than_predictions_of_what_was_held_out():
    trials, targets, stimuli, new = data()
    training, held_out = (
        RidgeDecoder(ALPHA, rescale=way).fit(trials, targets).predict(new) for way in ("training", "held_out")
    )
    assert (training.std(axis=0) < held_out.std(axis=0)).all()
