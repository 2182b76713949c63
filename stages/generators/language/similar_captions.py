"""Captions of similar pictures before a new one, as SMALLCAP has them (Ramos et al. 2023), and the text that is drawn.

A language model that is to caption a picture first reads captions of those nearest to it. MindArt (CVPR 2024) looks them up by an
embedding that was decoded from a response, and has a diffusion model draw what the language model says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from stages.ground.errors import InputError
from stages.priors.embedding_bank import Bank
from stages.priors.memory import MemoryPrior

BEGINNING = "This image shows "
"""A caption begins so, with a space behind it; it is not part of the caption that is judged."""

DRAWING = "A image showing"
"""MindArt's first beginning of a text to draw, as published: there is no space behind it."""

_SIMILAR, _BETWEEN = "Similar images show", "\n\n"


def caption_prefix(similar: Sequence[str] = ()) -> str:
    r"""Return what a language model reads before it captions a picture.

    >>> caption_prefix(["a dog on a beach"])
    'Similar images show\n\na dog on a beach.\n\nThis image shows '
    >>> caption_prefix()
    'This image shows '

    Parameters
    ----------
    similar : sequence of str
        Captions of similar pictures, the nearest first, as they are. A full stop is put behind the last, even if it has one;
        others are parted by a blank line alone.

    Raises
    ------
    InputError
        It is one string, or one of them is blank.
    """
    if isinstance(similar, str):
        raise InputError(f"The similar captions are one string, {similar!r}; expected a list: pass [{similar!r}].")
    if not similar:
        return BEGINNING
    _check_none_is_blank(similar)
    return _BETWEEN.join([_SIMILAR, *similar]) + "." + _BETWEEN + BEGINNING


def drawing_text(caption: str, beginning: str = DRAWING) -> str:
    """Return the text that a diffusion model draws a caption from: the beginning and the caption, and nothing between them.

    >>> drawing_text("a dog on a beach")
    'A image showinga dog on a beach'
    >>> drawing_text("a dog on a beach", beginning="An oil painting of ")
    'An oil painting of a dog on a beach'

    Parameters
    ----------
    caption : str
    beginning : str
        Published: `DRAWING`, for which no space is put before the caption; end yours with one.
    """
    return beginning + caption


class SimilarCaptions:
    r"""Captions of the pictures whose embeddings are nearest by cosine.

    >>> import numpy as np
    >>> from stages.priors.embedding_bank import RowBank
    >>> bank = RowBank([np.array([[1, 0], [0, 2]], np.float32)])
    >>> similar = SimilarCaptions(bank, ["a dog on a beach", "two boats"])
    >>> similar.nearest(np.array([[0.1, 5.0]])), similar.prefixes(np.array([[3.0, 1.0]]))
    ([['two boats']], ['Similar images show\n\na dog on a beach.\n\nThis image shows '])

    Parameters
    ----------
    bank : stages.priors.embedding_bank.Bank
        A row for each picture.
    captions : sequence of str
        One for each row of the bank, in its order.
    n_captions : int
        How many are looked up. Published: 1.

    Raises
    ------
    InputError
        There are more or fewer captions than embeddings, a caption is blank, or more are asked for than there are.
    """

    def __init__(self, bank: Bank, captions: Sequence[str], n_captions: int = 1) -> None:
        if isinstance(captions, str) or len(captions) != bank.shape[0]:
            given = 1 if isinstance(captions, str) else len(captions)
            raise InputError(
                f"{bank.where} has {bank.shape[0]:,} embeddings but {given:,} captions were given; pass a list of one for "
                "each, in the order of the embeddings."
            )
        _check_none_is_blank(captions)
        self._captions, self._memory = list(captions), MemoryPrior(bank, n_captions)

    def nearest(self, queries: NDArray[Any]) -> list[list[str]]:
        """Return the captions of the nearest pictures of each query (n, n_values), the nearest first."""
        rows, _ = self._memory.nearest(queries)
        return [[self._captions[row] for row in own] for own in rows.tolist()]

    def prefixes(self, queries: NDArray[Any]) -> list[str]:
        """Return what a language model reads before it captions each query (n, n_values); see `caption_prefix`."""
        return [caption_prefix(similar) for similar in self.nearest(queries)]


def _check_none_is_blank(captions: Sequence[str]) -> None:
    for number, caption in enumerate(captions):
        if not isinstance(caption, str) or not caption.strip():
            raise InputError(
                f"Caption number {number} is {caption!r}; expected words: write it, or leave its picture out."
            )
