"""Recognition among 20 faces by latents, as VanRullen and Reddy (2019) count it, is identification that is there already."""

import numpy as np
import pytest

from brainrecon.evaluation.metrics.identification import n_way_chance, n_way_identification, two_way_identification
from stages.decoders.inverse_encoding import InverseEncodingDecoder

N_FACES, N_LATENTS = 20, 24


def faces(seed=0):
    return np.tanh(np.random.default_rng(seed).normal(size=(N_FACES, N_LATENTS)))


def decoded(true, noise, seed=1):
    """Latents of test faces, decoded from simulated patterns by an encoding model of other faces."""
    random = np.random.default_rng(seed)
    weights = random.normal(size=(N_LATENTS + 1, 80))

    def patterns(latents):
        return latents @ weights[:-1] + weights[-1] + noise * random.normal(size=(len(latents), 80))

    shown = np.tanh(random.normal(size=(200, N_LATENTS)))
    return InverseEncodingDecoder().fit(patterns(shown), shown).predict(patterns(true))


def pairwise(true, found):
    """Each of 20 x 19 pairs: r(decoded i, true i) > r(decoded i, true j)."""
    wins = [[] for _ in true]
    for i in range(len(true)):
        own = np.corrcoef(found[i], true[i])[0, 1]
        for j in range(len(true)):
            if j != i:
                wins[i].append(own > np.corrcoef(found[i], true[j])[0, 1])
    return np.mean(wins, axis=1)


def full(true, found):
    """One of 20 by the highest correlation."""
    return [np.argmax([np.corrcoef(row, other)[0, 1] for other in true]) == i for i, row in enumerate(found)]


@pytest.mark.parametrize("noise", [1.0, 8.0, 30.0])
def test_recognition_as_published_is_identification(noise):
    true = faces()
    found = decoded(true, noise)
    np.testing.assert_array_equal(two_way_identification(true, found), pairwise(true, found))
    np.testing.assert_array_equal(n_way_identification(true, found, n_way=N_FACES), full(true, found))
    if noise == 8.0:  # neither floor nor ceiling
        assert 0.5 < pairwise(true, found).mean() < 1 and 0.05 < np.mean(full(true, found)) < 1


def test_true_latents_are_recognised_and_so_are_decoded_ones_without_noise():
    true = faces()
    for found in (true, 3 * true + 1, decoded(true, noise=0)):
        assert (two_way_identification(true, found) == 1).all()
        assert (n_way_identification(true, found, n_way=N_FACES) == 1).all()


def test_latents_of_other_faces_are_at_chance():
    true = faces()
    two, twenty = [], []
    # Each face with the latents of each other and its own, once: the mean over all places is chance, exactly.
    for shift in range(N_FACES):
        moved = np.roll(true, shift, axis=0)
        two.append(two_way_identification(true, moved).mean())
        twenty.append(n_way_identification(true, moved, n_way=N_FACES).mean())
    assert np.mean(two) == pytest.approx(0.5) and np.mean(twenty) == pytest.approx(0.05) == n_way_chance(N_FACES)
    random = np.random.default_rng(2)
    shuffled = [two_way_identification(true, random.permutation(true)).mean() for _ in range(200)]
    assert np.mean(shuffled) == pytest.approx(0.5, abs=0.02)
