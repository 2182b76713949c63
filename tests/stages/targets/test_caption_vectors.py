"""Captions of a stimulus, each as a vector: as one target of averages gives them of one caption each."""

import numpy as np
import pytest

from stages.ground.errors import InputError
from stages.targets.caption_vectors import CLIPCaptionVectors
from stages.targets.clip import CLIPTextVector
from weights import store

CAPTIONS = [["a red circle", " ", "a blue square", "a green star"], ["a ball"], ["one", "two"]]


def vectors(**options):
    return CLIPCaptionVectors.from_pretrained(store.path("tiny-clip"), **options)


def of_one(captions):
    return CLIPTextVector.from_pretrained(store.path("tiny-clip")).encode([[one] for one in captions])


def test_captions_stand_one_behind_the_other_and_come_again_where_there_are_few():
    target = vectors(n_captions=3)
    found = target.encode(CAPTIONS).reshape(3, *target.shape)
    assert target.shape == (3, 64) and found.dtype == np.float32
    expected = [["a red circle", "a blue square", "a green star"], ["a ball"] * 3, ["one", "two", "one"]]
    for rows, captions in zip(found, expected):
        np.testing.assert_allclose(rows, of_one(captions), atol=1e-5)
    assert np.abs(found[0, 0] - found[0, 1]).max() > 0.01


def test_batches_change_nothing_but_rounding():
    target = vectors(n_captions=2)
    np.testing.assert_allclose(target.encode(CAPTIONS, batch_size=2), target.encode(CAPTIONS), atol=1e-5)
    assert target.encode([]).shape == (0, 128)


def test_how_many_there_are_is_part_of_what_is_stored():
    assert vectors(n_captions=2).preprocessing != vectors().preprocessing
    assert (vectors().n_captions, vectors().takes, vectors().shape) == (5, "captions", (5, 64))


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="n_captions is 0"):
        vectors(n_captions=0)
    with pytest.raises(InputError, match="stimulus number 1"):
        vectors().encode([["a ball"], [""]])
    with pytest.raises(InputError, match="one string"):
        vectors().encode(["a ball"])
