"""Captions as a language model learns them behind what it reads before, as SMALLCAP lays them out (Ramos et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.ground.checks import Number, check
from stages.ground.errors import InputError

LONGEST = 25
"""Tokens of a caption that are learned."""
END, PADDING = ".", "!"
IGNORED = -100


def only_token(tokenizer: Any, text: str) -> int:
    """Number of the one token that a text is; InputError if it is several."""
    found = tokenizer(text)["input_ids"]
    if len(found) != 1:
        raise InputError(f"The tokenizer makes {len(found)} tokens of {text!r}; expected one: give that of GPT-2.")
    return int(found[0])


def caption_rows(
    tokenizer: Any, prefixes: Sequence[str], captions: Sequence[str], longest: int = LONGEST
) -> NDArray[np.float32]:
    """Lay out captions behind their prefixes.

    >>> class Letters:
    ...     def __call__(self, text):
    ...         return {"input_ids": [ord(letter) for letter in text]}
    >>> caption_rows(Letters(), ["so: "], ["ab"])[0].astype(int).tolist()
    [[115, 111, 58, 32, 97, 98], [-100, -100, -100, 97, 98, 46]]

    Parameters
    ----------
    tokenizer : transformers' tokenizer of GPT-2
    prefixes, captions : sequence of str
        One of each for each picture. A caption is tokenised by itself.
    longest : int
        Tokens of a caption that are kept.

    Returns
    -------
    rows : float32 array of shape (n, 2, length)
        Tokens that are read: prefix and caption, padded with "!"; and those that follow each: nothing within the prefix (-100),
        the caption, and "." as its end.
    """
    check("longest", longest, Number(1, whole=True, example=LONGEST))
    end, padding, rows = only_token(tokenizer, END), only_token(tokenizer, PADDING), []
    for prefix, caption in zip(prefixes, captions, strict=True):
        before, words = (tokenizer(text)["input_ids"] for text in (prefix, caption))
        words = words[:longest]
        rows.append((before + words, [IGNORED] * (len(before) - 1) + words + [end]))
    length = max((len(read) for read, _ in rows), default=0)
    laid_out = np.empty((len(rows), 2, length), dtype=np.float32)
    laid_out[:, 0], laid_out[:, 1] = padding, IGNORED
    for row, both in zip(laid_out, rows):
        for place, tokens in zip(row, both):
            place[: len(tokens)] = tokens
    return laid_out
