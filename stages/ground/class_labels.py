"""Labels of classes as ImageNet has them: the number of a WordNet synset, and the words for it.

    n01443537 goldfish, Carassius auratus

A label without such a number is its words alone.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from stages.ground.errors import InputError
from stages.ground.reading.wall import reading

_SYNSET = re.compile(r"n\d{8}(?!\d)")
_N_IMAGENET = 1000
LABELS_FILE = "synset_words.txt"
"""A line for each class, in the order of a network's outputs."""


def words_of(label: str) -> str:
    """Return the words of a label.

    >>> words_of("n01443537 goldfish, Carassius auratus"), words_of("boat")
    ('goldfish, Carassius auratus', 'boat')
    """
    found = _SYNSET.match(label)
    return label[found.end() :].strip() or label if found else label.strip()


def synset_of(text: str) -> str | None:
    """Return the synset that a text begins with, a label or a stimulus of ImageNet; None if there is none.

    >>> synset_of("n01443537 goldfish, Carassius auratus"), synset_of("n01518878_10042"), synset_of("boat")
    ('n01443537', 'n01518878', None)
    """
    found = _SYNSET.match(text)
    return found[0] if found else None


def category_of(label: str) -> str:
    """What tells a category from others: the number of a label's synset, or its words.

    >>> category_of("n01443537 goldfish, Carassius auratus"), category_of(" boat")
    ('n01443537', 'boat')
    """
    return synset_of(label.strip()) or words_of(label)


@cache
def imagenet_labels() -> tuple[str, ...]:
    """Return the labels of the thousand classes of ImageNet, in the order of networks that were trained on them.

    >>> len(imagenet_labels()), imagenet_labels()[1]
    (1000, 'n01443537 goldfish, Carassius auratus')
    """
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    return tuple(f"{name} {info.label_name_to_description(name)}" for name in info.label_names())


@cache
def _words_of_synsets() -> dict[str, str]:
    """Words of all synsets that ImageNet has pictures of."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-22k")
    return {name: info.label_name_to_description(name) for name in info.label_names()}


def labelled(name: str) -> str:
    """Return a label for the name of a class: a synset of ImageNet gets its words.

    >>> labelled("n01518878"), labelled("boat")
    ('n01518878 ostrich, Struthio camelus', 'boat')

    Parameters
    ----------
    name : str
        A synset, a label, or words.
    """
    name = name.strip()
    if not _SYNSET.fullmatch(name):
        return name
    return f"{name} {_words_of_synsets().get(name, '')}".strip()


def labels_of_classes(folder: str | Path, n_classes: int) -> tuple[str, ...]:
    """Return the labels of a network's classes: those of ``synset_words.txt`` in its folder, else ImageNet's.

    Parameters
    ----------
    folder : path
    n_classes : int

    Raises
    ------
    InputError
        There is no such file and the network has another number of classes than ImageNet, or it holds another number of labels.
    """
    path = Path(folder) / LABELS_FILE
    if not path.exists():
        if n_classes == _N_IMAGENET:
            return imagenet_labels()
        raise InputError(
            f"{folder} has no {LABELS_FILE} and its network has {n_classes:,} classes, not ImageNet's {_N_IMAGENET:,}; write one "
            "line for each class there, such as 'n01443537 goldfish, Carassius auratus'."
        )
    return read_labels(path, n_classes, "classes")


def read_labels(path: str | Path, n: int, of_what: str) -> tuple[str, ...]:
    """Read a file of labels, one in each line.

    Parameters
    ----------
    path : path
    n : int
        How many there have to be.
    of_what : str
        What they label, in the plural.

    Raises
    ------
    InputError
        The file is absent or no text, a line is blank, or there is another number of lines.
    """
    with reading(path, "a table of labels", "write one label in each line"):
        labels = tuple(line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    if len(labels) != n or not all(labels):
        raise InputError(
            f"{path} has {len([one for one in labels if one]):,} labels in {len(labels):,} lines for {n:,} {of_what}; write one "
            "in each line, in their order."
        )
    return labels
