"""Recall led by a prediction: the mean written out, shares of nothing and of all, and what is refused."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import softmax

from stages.ground.errors import InputError
from stages.priors.ecphory import Ecphory
from stages.priors.embedding_bank import RowBank

RANDOM = np.random.default_rng(0)
KEYS, VALUES = (RANDOM.standard_normal((30, 12)).astype(np.float32) for _ in range(2))
QUERIES = RANDOM.standard_normal((7, 12)).astype(np.float32)


def recall(**options):
    return Ecphory(RowBank([KEYS]), RowBank([VALUES]), **options)


@pytest.mark.parametrize(("n_neighbours", "temperature"), [(1, 0.1), (5, 0.1), (5, 0.005), (30, 1.0)])
def test_recalled_is_the_softmax_weighted_mean_of_the_nearest(n_neighbours, temperature):
    cosines = 1 - cdist(QUERIES.astype(np.float64), KEYS.astype(np.float64), "cosine")
    nearest = np.argsort(-cosines, axis=1)[:, :n_neighbours]
    shares = softmax(np.take_along_axis(cosines, nearest, axis=1) / temperature, axis=1)
    expected = np.einsum("nk,nkd->nd", shares, VALUES[nearest].astype(np.float64))
    own = recall(n_neighbours=n_neighbours, temperature=temperature, share=0.25)
    np.testing.assert_allclose(own.recalled(QUERIES), expected, atol=1e-5)
    np.testing.assert_allclose(own.enhanced(QUERIES), 0.75 * QUERIES + 0.25 * expected, atol=1e-5)


def test_without_a_share_nothing_changes():
    np.testing.assert_array_equal(recall(share=0).enhanced(QUERIES), QUERIES)


def test_a_remembered_prediction_alone_gives_the_stored_truth():
    found = recall(n_neighbours=1, share=1).enhanced(3 * KEYS)
    np.testing.assert_array_equal(found, VALUES)


def test_a_row_does_not_depend_on_the_others():
    own = recall()
    np.testing.assert_array_equal(own.enhanced(QUERIES)[3:4], own.enhanced(QUERIES[3:4]))


@pytest.mark.parametrize(
    "options, said",
    [
        ({"temperature": 0}, "temperature is 0"),
        ({"share": 1.5}, "share is 1.5"),
        ({"share": float("nan")}, "share is nan"),
        ({"n_neighbours": 31}, "30 embeddings but 31 neighbours"),
    ],
)
def test_what_cannot_be_is_refused(options, said):
    with pytest.raises(InputError, match=said):
        recall(**options)


def test_predictions_and_truths_are_of_as_many_stimuli():
    with pytest.raises(InputError, match="predictions of 30 stimuli but true embeddings of 29"):
        Ecphory(RowBank([KEYS]), RowBank([VALUES[1:]]))
