"""WordNet's own file of nouns: synsets, the words of each, and what each is a kind of.

A folder of Princeton's database (`dict` of WordNet 3.0) holds ``data.noun``, text, a line for each synset::

    07739125 13 n 03 apple 0 eating_apple 0 dessert_apple 0 004 @ 07705931 n 0000 ... | fruit with red or ...

Its offset, a number of its file, n, so many words (hexadecimal) with a number behind each, so many pointers (decimal), of which
``@`` points to what it is a kind of and ``@i`` to what it is an instance of. Nothing else of the folder is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from stages.ground.errors import InputError
from stages.ground.reading.wall import reading

NOUNS_FILE = "data.noun"
_REMEDY = "name the folder dict of WordNet 3.0, as Princeton publishes it"
_HYPERNYMS = ("@", "@i")


class Noun(NamedTuple):
    """A synset of nouns.

    Attributes
    ----------
    words : tuple of str
        With spaces, as they are written.
    hypernyms : tuple of str
        What it is a kind of, then what it is an instance of.
    """

    words: tuple[str, ...]
    hypernyms: tuple[str, ...]


def read_nouns(folder: str | Path) -> dict[str, Noun]:
    r"""Read the synsets of nouns.

    >>> folder = getfixture("tmp_path")
    >>> lines = ["00000001 03 n 01 entity 0 000 | all", "00000040 03 n 02 boat 0 small_boat 0 001 @ 00000001 n 0000 | floats"]
    >>> _ = (folder / "data.noun").write_text("  1 a licence  \n" + "\n".join(lines))
    >>> read_nouns(folder)["n00000040"]
    Noun(words=('boat', 'small boat'), hypernyms=('n00000001',))

    Parameters
    ----------
    folder : path

    Returns
    -------
    nouns : dict of str to Noun
        By name: n and the eight digits of the offset, as ImageNet has them.

    Raises
    ------
    InputError
        The file is absent or of another layout, or a synset points to one that is not there.
    """
    path, nouns = Path(folder) / NOUNS_FILE, {}
    with reading(path, "a file of WordNet's nouns", _REMEDY), open(path, encoding="latin-1") as file:
        for number, line in enumerate(file, start=1):
            # Lines of the licence begin with two spaces.
            if line.startswith("  ") or not line.strip():
                continue
            try:
                name, noun = _noun(line.partition(" | ")[0].split())
            except (ValueError, IndexError):
                raise InputError(
                    f"Line {number:,} of {path} is {line[:40]!r} and not a synset of nouns; {_REMEDY}."
                ) from None
            nouns[name] = noun
    if not nouns:
        raise InputError(f"{path} holds no synset of nouns; {_REMEDY}.")
    for name, noun in nouns.items():
        if lost := [one for one in noun.hypernyms if one not in nouns]:
            raise InputError(f"{name} in {path} is a kind of {lost[0]}, which is not there; {_REMEDY}.")
    return nouns


def _noun(fields: list[str]) -> tuple[str, Noun]:
    offset, _, kind, n_words = fields[:4]
    if kind != "n" or len(offset) != 8 or not offset.isdigit():
        raise ValueError
    behind = 4 + 2 * int(n_words, 16)
    words = tuple(word.replace("_", " ") for word in fields[4:behind:2])
    pointers = [fields[behind + 1 + 4 * number :][:4] for number in range(int(fields[behind]))]
    if not words or any(len(pointer) != 4 for pointer in pointers):
        raise ValueError
    found = [f"n{target}" for wanted in _HYPERNYMS for sign, target, *_ in pointers if sign == wanted]
    return f"n{offset}", Noun(words, tuple(found))
