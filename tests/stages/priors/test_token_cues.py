"""Which tokens are kept, and the temperature by which a classifier's sureness is true."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from stages.ground.errors import InputError
from stages.priors.token_cues import kept, temperature_of, weights


@pytest.fixture
def scores():
    return np.random.default_rng(0).normal(size=(6, 50, 11))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.25, 0.5, 0.77, 1.0])
def test_exactly_so_many_are_kept_and_the_surest(scores, share):
    cues, is_kept = kept(scores, share)
    assert ((cues >= 0).sum(axis=1) == round(share * 50)).all() and np.array_equal(cues >= 0, is_kept)
    sureness = softmax(scores, axis=-1).max(axis=-1)
    for row in range(6):
        if 0 < is_kept[row].sum() < 50:
            assert sureness[row][is_kept[row]].min() >= sureness[row][~is_kept[row]].max()
    assert np.array_equal(cues[is_kept], scores.argmax(axis=-1)[is_kept])


def test_equally_sure_places_are_kept_in_their_order():
    cues, _ = kept(np.zeros((1, 10, 3)), 0.3)
    assert cues.tolist() == [[0, 0, 0] + [-1] * 7]


def test_weights_are_the_probabilities_of_kept_places(scores):
    _, is_kept = kept(scores, 0.5, 2.0)
    found = weights(scores, is_kept, 2.0)
    torch.testing.assert_close(
        torch.from_numpy(found[is_kept]), torch.from_numpy(scores / 2).softmax(-1)[torch.from_numpy(is_kept)].float()
    )
    assert (found[~is_kept] == 0).all()


@pytest.mark.parametrize("true", [0.25, 1.0, 4.0])
def test_the_temperature_is_found_again(true):
    random = np.random.default_rng(1)
    logits = 2 * random.normal(size=(200, 30, 9))
    draws = logits + random.gumbel(size=logits.shape)
    assert temperature_of(logits * true, draws.argmax(axis=-1)) == pytest.approx(true, rel=0.05)


def test_a_share_of_more_than_all_is_refused(scores):
    with pytest.raises(InputError, match="share is 1.5"):
        kept(scores, 1.5)
