"""Which tokens are kept, and the temperature by which a classifier's sureness is true."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from stages.decoders.trained import TrainedDecoder, Training
from stages.ground.errors import InputError
from stages.networks.token_classifier import TokenClassifier
from stages.objectives.token_classes import TokenClasses
from stages.priors.token_cues import kept, temperature_of, token_accuracy, weights
from stages.training.recipe import OptimiserSpec, Recipe


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


def classified(patterns, tokens, n_learned):
    """Scores of a classifier that learned from the first rows, for the others."""
    n_places, recipe = tokens.shape[1], Recipe(steps=150, batch_size=40, optimiser=OptimiserSpec("adamw", 3e-3))
    decoder = TrainedDecoder(TokenClassifier, recipe, [TokenClasses("t")], {"hidden": 32, "width": 8, "dropout": 0.2})
    learned = Training(
        {"s": patterns[:n_learned]},
        {"s": np.arange(n_learned)},
        {"t": tokens[:n_learned].astype(np.float32)},
        free={"scores": (n_places, 6)},
    )
    found = {name: values for name, _, values in decoder.fit(learned).predict_blocks(patterns[n_learned:])}
    scores = found["scores"].reshape(len(found["scores"]), n_places, 6)
    np.testing.assert_array_equal(found["t"], scores.argmax(axis=-1))
    return scores


def test_a_shuffled_brain_is_worth_the_marginals_and_a_true_one_more():
    random = np.random.default_rng(0)
    patterns = random.normal(size=(400, 30)).astype(np.float32)
    # Tokens follow the responses, and some are frequent at each place whatever the response.
    logits = 3 * random.normal(size=(30, 8 * 6)) / np.sqrt(30)
    tokens = ((patterns @ logits).reshape(400, 8, 6) + 2 * random.normal(size=(8, 6))).argmax(axis=-1)
    true = token_accuracy(classified(patterns, tokens, 200), tokens[200:], tokens[:200])
    shuffled = random.permutation(patterns)
    found = token_accuracy(classified(shuffled, tokens, 200), tokens[200:], tokens[:200])
    frequent = np.array([np.bincount(place).argmax() for place in tokens[:200].T])
    assert (
        found["most frequent of the place"] == (tokens[200:] == frequent).mean() == true["most frequent of the place"]
    )
    # Places of a stimulus go together: the interval is over stimuli.
    each = (tokens[200:] == frequent).mean(axis=1)
    interval = 2 * 1.96 * each.std(ddof=1) / np.sqrt(200)
    assert found["right"] < found["most frequent of the place"] + interval
    assert true["right"] > true["most frequent of the place"] + interval
    assert true["right among five"] > true["right"]
