"""Captions of similar pictures: for a decoded embedding that of the nearest, and in training that of another one."""

from types import SimpleNamespace

import numpy as np
import pytest
from random_gpt2 import save_gpt2_tokenizer

from brainrecon.assembly.similar_caption import CaptionsToLearn, SimilarCaption, first_captions, nearest_others
from brainrecon.assembly.values import Item
from stages.checkpoints.transformers_loading import load_gpt2_tokenizer
from stages.ground.errors import InputError

EMBEDDINGS = np.random.default_rng(0).standard_normal((9, 5)).astype(np.float32)
CAPTIONS = [[f"a boat number {row}", "another one"] for row in range(9)]


class Table:
    """Embeddings as the feature store has them."""

    folder = SimpleNamespace(name="table")
    shape = EMBEDDINGS.shape

    def columns(self, start, stop):
        return EMBEDDINGS[:, start:stop]

    def rows(self, start, stop):
        return EMBEDDINGS[start:stop]

    def __array__(self, dtype=None, copy=None):
        return EMBEDDINGS.astype(dtype or np.float32)


TRAINING = SimpleNamespace(
    features=lambda names: {name: Table() for name in names}, captions=lambda: CAPTIONS, subjects={"subj01": None}
)


def test_the_caption_of_the_nearest_picture_is_found_and_found_again(tmp_path):
    step = SimilarCaption("clip_match", "similar_caption")
    step.fit(TRAINING, None)
    queries = 3 * EMBEDDINGS[[4, 0, 7]] + 0.01
    items = [Item("subj01", name) for name in "abc"]
    expected = {"similar_caption": [CAPTIONS[row][0] for row in (4, 0, 7)]}
    assert step.run(items, {"clip_match": queries}) == expected
    step.save(tmp_path)
    again = SimilarCaption("clip_match", "similar_caption")
    store = SimpleNamespace(table={"table": Table()}.__getitem__)
    again.open(SimpleNamespace(folder=tmp_path, store=store, description=step.description()))
    assert again.is_fitted(tmp_path) and again.run(items, {"clip_match": queries}) == expected


@pytest.mark.parametrize("n", [2, 9, 2500])
def test_the_nearest_other_row_by_brute_force(n):
    rows = np.random.default_rng(1).standard_normal((n, 4)).astype(np.float32)
    found = nearest_others(rows)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for row in range(0, n, max(n // 20, 1)):
        cosines = unit @ unit[row]
        cosines[row] = -2
        assert cosines[found[row]] >= cosines.max() - 1e-6 and found[row] != row


def test_a_caption_is_learned_behind_that_of_another_picture(tmp_path):
    save_gpt2_tokenizer(tmp_path)
    rows = CaptionsToLearn("clip_match", lambda: tmp_path, 25)(TRAINING)
    tokenizer, others = load_gpt2_tokenizer(tmp_path), nearest_others(EMBEDDINGS)
    for row, (read, following) in enumerate(rows):
        similar = CAPTIONS[others[row]][0]
        text = f"Similar images show\n\n{similar}.\n\nThis image shows {CAPTIONS[row][0]}"
        assert tokenizer.decode(read.astype(int)).rstrip("!") == text
        learned = following[following >= 0].astype(int)
        assert tokenizer.decode(learned) == f"{CAPTIONS[row][0]}."


def test_what_has_no_caption_is_refused():
    silent = SimpleNamespace(captions=lambda: [["a dog"], [" "], []])
    with pytest.raises(InputError, match="2 of 3 training stimuli have no caption"):
        first_captions(silent)
    with pytest.raises(InputError, match="There is 1 training picture"):
        nearest_others(np.ones((1, 3), np.float32))
