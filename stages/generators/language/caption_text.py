"""What becomes of a sentence that a language model wrote: spaces before marks, and repetitions."""

from __future__ import annotations

import re

# Between a mark and the word that it belongs to there is no space.
_GLUE = "\0"
_OPENING, _CLOSING = r"([{", r"?!.,:;}])"
_PARTS = re.compile(rf"^([{re.escape(_OPENING)}]*)(.*?)([{re.escape(_CLOSING)}]*)$", re.DOTALL)
# As BERT's and GPT-2's tokenizers wrote them when Optimus was trained.
_SPACED = tuple((f" {mark}", mark) for mark in ".?!,") + (
    (" ' ", "'"),
    *((f" {ending}", ending) for ending in ("n't", "'m", "'s", "'ve", "'re")),
)


def tidy_spaces(text: str) -> str:
    """Take out spaces before marks and within contractions, and all but one of several spaces.

    >>> tidy_spaces("a dog , and  it does n't bark .")
    "a dog, and it doesn't bark."
    """
    for spaced, whole in _SPACED:
        text = text.replace(spaced, whole)
    return " ".join(text.split())


def without_repeated_words(text: str) -> str:
    """Remove a word, or several words, that stand twice in a row, as Versatile Diffusion's demonstration does.

    >>> without_repeated_words("a a dog on on the dog on the grass")
    'a dog on the grass'
    >>> without_repeated_words("a dog and a dog"), without_repeated_words("a b. a b.")
    ('a dog and a dog', 'a b.')

    Single words go first, then pairs, and so on. Marks count as words. What is repeated elsewhere stays.

    Parameters
    ----------
    text : str
    """
    words, length = _words(text), 1
    while 2 * length <= len(words):
        place = _first_repetition(words, length)
        if place is None:
            length += 1
        else:
            del words[place + length : place + 2 * length]
    return _joined(words)


def without_repeated_sentences(text: str) -> str:
    """Keep the first of sentences that are equal but for capitals and marks.

    >>> without_repeated_sentences("A dog runs. It is red. a dog runs!")
    'A dog runs. It is red.'

    Parameters
    ----------
    text : str
        A sentence ends behind a full stop, a question mark or an exclamation mark that a space follows.
    """
    kept: dict[str, str] = {}
    for sentence in re.split(r"(?<=[.?!])\s+", text.strip()):
        kept.setdefault(sentence.casefold().strip(f" {_CLOSING}{_OPENING}"), sentence)
    return " ".join(kept.values())


def _first_repetition(words, length):
    """Where as many words begin that follow themselves at once, or None."""
    places = range(len(words) - 2 * length + 1)
    equal = (one for one in places if words[one : one + length] == words[one + length : one + 2 * length])
    return next(equal, None)


def _words(text):
    """Words and marks, with `_GLUE` where no space is between them."""
    found = []
    for word in text.split():
        before, core, after = _PARTS.match(word).groups()
        for mark in before:
            found += [mark, _GLUE]
        found += [core] if core else []
        for mark in after:
            found += [_GLUE, mark]
    return found


def _joined(words):
    return re.sub(f" ?{_GLUE} ?", "", " ".join(words))
