"""Text from data as it may be shown: nothing in it steers a terminal, or turns the direction of what stands around it."""

from __future__ import annotations

import unicodedata

# Categories of Unicode: controls, formats such as changes of direction, ends of lines and of paragraphs.
_UNSEEN = ("Cc", "Cf", "Zl", "Zp")


def visible(text: str) -> str:
    r"""Text with the codes of characters that steer a terminal or are not seen, in their place; breaks of lines and tabs stay.

    >>> print(visible("subj01\x1b[2J, \u202egnp.exe"))
    subj01\x1b[2J, \u202egnp.exe
    """
    if text.isprintable():
        return text
    return "".join(_code_of(one) if one not in "\n\t" and unicodedata.category(one) in _UNSEEN else one for one in text)


def _code_of(character: str) -> str:
    # Letters of some scripts and pictures are joined by these two.
    return character if character in "\u200c\u200d" else ascii(character)[1:-1]
