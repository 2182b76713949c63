"""Averages of the features of each category's pictures, among which a decoded feature vector is looked for.

Horikawa and Kamitani (2017) name what a person sees or imagines by the category whose average correlates with what was decoded.
A folder of candidates holds the features of labelled pictures, or of categories, as `stages.priors.label_memory` writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.ground.class_labels import category_of, read_labels
from stages.ground.errors import InputError
from stages.priors.embedding_bank import RowBank, bank_of_folder
from stages.priors.label_memory import LABELS_FILE

_ROWS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class CategoryMeans:
    """A feature vector for each category.

    >>> means = CategoryMeans(("boat", "fish"), np.float32([[1, 2, 3], [3, 2, 0]]))
    >>> means.names(np.float32([[2, 2, 9], [5, 4, 1]]), n=1)
    [['boat'], ['fish']]

    Attributes
    ----------
    labels : tuple of str
        Of each category, once.
    means : array of shape (n_categories, n_values), float32
    counts : int array of shape (n_categories,), optional
        Pictures that each is the average of; unknown if it is not given.
    """

    labels: tuple[str, ...]
    means: NDArray[Any]
    counts: NDArray[np.intp] | None = None

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.means):
            raise InputError(
                f"There are {len(self.means):,} category averages but {len(self.labels):,} labels; give one for each, in their "
                "order."
            )

    def places(self, labels: Sequence[str]) -> NDArray[np.intp]:
        """Row of the category of each label, -1 for one that there is not; a synset's number says more than its words.

        >>> CategoryMeans(("n02951358 canoe", "fish"), np.zeros((2, 3))).places(["fish", "cat", "n02951358"]).tolist()
        [1, -1, 0]
        """
        known = {category_of(label): row for row, label in enumerate(self.labels)}
        return np.array([known.get(category_of(label), -1) for label in labels], dtype=np.intp)

    def names(self, features: NDArray[Any], n: int = 5) -> list[list[str]]:
        """Labels of the `n` averages that correlate most with each row of features, the highest first.

        Of equal ones the first stands first; averages that are constant or not finite are left out.

        Parameters
        ----------
        features : array of shape (n_rows, n_values)
        n : int
            All, if there are fewer.

        Raises
        ------
        InputError
            They have another length.
        """
        features = np.asarray(features, dtype=np.float64)
        if features.ndim != 2 or features.shape[1] != self.means.shape[1]:
            raise InputError(
                f"Features have shape {features.shape} but the category averages {self.means.shape[1]:,} values; give features "
                "of the same target."
            )
        labels, rows = self._usable
        # One at a time, so that rounding does not depend on who else is there.
        orders = [np.argsort(-(rows @ (row - row.mean())), kind="stable")[:n] for row in features]
        return [[labels[place] for place in order] for order in orders]

    @cached_property
    def _usable(self) -> tuple[list[str], NDArray[np.float64]]:
        """Labels of the averages that something can correlate with, and these less their own mean, of length 1."""
        rows = np.asarray(self.means, dtype=np.float64)
        rows = rows - rows.mean(axis=1, keepdims=True)
        lengths = np.linalg.norm(rows, axis=1)
        usable = np.isfinite(lengths) & (lengths > 0)
        return [label for label, kept in zip(self.labels, usable) if kept], rows[usable] / lengths[usable, None]


def category_means(features: Any, labels: Sequence[str]) -> CategoryMeans:
    """Average the features of each category's pictures.

    >>> found = category_means(np.float32([[1, 0], [5, 5], [3, 2]]), ["boat", "fish", "boat"])
    >>> found.labels, found.means.tolist(), found.counts.tolist()
    (('boat', 'fish'), [[2.0, 1.0], [5.0, 5.0]], [2, 1])

    Parameters
    ----------
    features : array or table of shape (n_pictures, n_values)
        Read by some rows at a time.
    labels : sequence of str, length n_pictures
        Categories stand in the order in which they come here.

    Raises
    ------
    InputError
        There are more or fewer labels than pictures.
    """
    if len(labels) != len(features):
        raise InputError(f"There are {len(labels):,} labels for {len(features):,} pictures; give one for each.")
    first = {category_of(label): label for label in reversed(labels)}
    names = list(dict.fromkeys(map(category_of, labels)))
    rows = np.array([names.index(category_of(label)) for label in labels], dtype=np.intp)
    sums = np.zeros((len(names), features.shape[1]), dtype=np.float64)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        own = rows[start : start + _ROWS_AT_ONCE]
        np.add.at(sums, own, np.asarray(features[start : start + len(own)], dtype=np.float64))
    counts = np.bincount(rows, minlength=len(names))
    return CategoryMeans(tuple(first[name] for name in names), sums / counts[:, None], counts)


def without_own(means: CategoryMeans, features: NDArray[Any], places: NDArray[np.intp]) -> NDArray[np.float64]:
    """Average of each picture's category without the picture itself, NaN if there is no other.

    >>> means = category_means(np.float32([[1], [5], [3]]), ["boat", "fish", "boat"])
    >>> without_own(means, np.float32([[1], [5]]), np.array([0, 1])).tolist()
    [[3.0], [nan]]

    Parameters
    ----------
    means : CategoryMeans
        Of pictures among which these are, with `counts`.
    features : array of shape (n_pictures, n_values)
    places : int array of shape (n_pictures,)
        Row of each picture's category, not negative.
    """
    assert means.counts is not None
    counts = means.counts[places][:, None]
    sums = np.asarray(means.means, dtype=np.float64)[places] * counts - np.asarray(features, dtype=np.float64)
    return np.divide(sums, counts - 1, out=np.full_like(sums, np.nan), where=counts > 1)


def open_category_means(folder: str | Path) -> CategoryMeans:
    r"""Read a folder of candidates: features of labelled pictures, which are averaged by label, or of categories.

    >>> folder = getfixture("tmp_path")
    >>> np.save(folder / "drawn.npy", np.float32([[1, 0], [3, 2], [5, 5]]))
    >>> _ = (folder / "labels.txt").write_text("boat\nboat\nfish\n")
    >>> open_category_means(folder).means.tolist()
    [[2.0, 1.0], [5.0, 5.0]]

    Parameters
    ----------
    folder : path
        As `stages.priors.label_memory.write_label_memory` writes it.

    Raises
    ------
    InputError
        Features or labels are absent or damaged, or there are not as many of the one as of the other.
    """
    bank = bank_of_folder(folder)
    labels = read_labels(Path(folder) / LABELS_FILE, bank.shape[0], "rows of features")
    return category_means(_Rows(bank), labels)


class _Rows:
    """A bank as rows that are read some at a time."""

    def __init__(self, bank: RowBank) -> None:
        self._bank, self.shape = bank, bank.shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        return self._bank.rows(range(len(self))[rows])
