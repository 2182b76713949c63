"""Texts to the byte, and captions of the nearest pictures against a plain search."""

import numpy as np
import pytest

from stages.generators.language.similar_captions import SimilarCaptions, caption_prefix, drawing_text
from stages.ground.errors import InputError
from stages.priors.embedding_bank import RowBank

DRAWS = np.random.default_rng(0)
ROWS = DRAWS.standard_normal((40, 6)).astype(np.float32) * DRAWS.uniform(0.1, 9, (40, 1)).astype(np.float32)
QUERIES = DRAWS.standard_normal((7, 6))
CAPTIONS = [f"picture {number}" for number in range(40)]


def test_a_prefix_is_the_published_one_to_the_byte():
    assert caption_prefix(["a cat"]).encode() == b"Similar images show\x0a\x0aa cat.\x0a\x0aThis image shows\x20"
    # As it is published: the template with its place filled in, and the full stop behind all captions alone.
    template = "Similar images show\n\n||\n\nThis image shows "
    for similar in (["a cat"], ["a cat", "two boats", " A man."]):
        assert caption_prefix(similar) == template.replace("||", "\n\n".join(similar) + ".")
    assert caption_prefix(["It ends."]).count(".") == 2
    assert caption_prefix().encode() == b"This image shows\x20"


def test_a_text_to_draw_has_no_space_that_was_not_given():
    assert drawing_text("a cat").encode() == b"A image showinga cat"
    assert drawing_text(" a cat").encode() == b"A image showing a cat"
    assert drawing_text("a cat", "A sketch of ") == "A sketch of a cat"


@pytest.mark.parametrize("n_captions", [1, 3])
def test_captions_are_those_of_the_nearest_by_cosine(n_captions):
    similar = SimilarCaptions(RowBank([ROWS[:11], ROWS[11:]]), CAPTIONS, n_captions)
    rows, queries = ROWS.astype(float), QUERIES * DRAWS.uniform(0.1, 9, (7, 1))
    cosines = queries @ rows.T / np.linalg.norm(rows, axis=1) / np.linalg.norm(queries, axis=1)[:, None]
    expected = [[CAPTIONS[row] for row in np.argsort(-own)[:n_captions]] for own in cosines]
    assert similar.nearest(queries) == expected
    assert similar.prefixes(queries) == [caption_prefix(own) for own in expected]


def test_captions_that_do_not_fit_are_refused():
    bank = RowBank([ROWS], "The bank of pictures")
    with pytest.raises(InputError, match="The bank of pictures has 40 embeddings but 39 captions were given"):
        SimilarCaptions(bank, CAPTIONS[:39])
    with pytest.raises(InputError, match="40 embeddings but 1 captions"):
        SimilarCaptions(bank, "x" * 40)
    with pytest.raises(InputError, match="Caption number 2 is ' '"):
        SimilarCaptions(bank, ["a", "b", " ", *CAPTIONS[3:]])
    with pytest.raises(InputError, match="40 embeddings but 41 neighbours are asked for"):
        SimilarCaptions(bank, CAPTIONS, 41)
    with pytest.raises(InputError, match=r"one string, 'a cat'; expected a list: pass \['a cat'\]"):
        caption_prefix("a cat")
    with pytest.raises(InputError, match="Caption number 1 is ''"):
        caption_prefix(["a cat", ""])
    with pytest.raises(InputError, match="embeddings of 6 values but 5 are looked for"):
        SimilarCaptions(bank, CAPTIONS).nearest(QUERIES[:, :5])
