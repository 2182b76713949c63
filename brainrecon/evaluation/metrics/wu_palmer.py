"""How alike two names are in WordNet: Wu and Palmer's similarity (1994), as NLTK computes it.

    score = 2 d / (dist(a, s) + dist(b, s) + 2 d),    d = longest way from s to the root, in synsets

where s is the deepest synset that both are a kind of, and dist counts steps on the shortest way. A pair of any two classes
is far from 0: all nouns share the upper part of the tree. A score means something beside that of names that belong to other
stimuli.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cache

import numpy as np

from stages.ground.checks import Number, check
from stages.ground.class_labels import synset_of, words_of
from stages.ground.errors import InputError
from stages.ground.reading.wordnet_files import read_nouns
from weights import store


class Nouns:
    """WordNet's nouns as a tree in which some have several parents.

    >>> from stages.ground.reading.wordnet_files import Noun
    >>> thing, food, fruit = Noun(("thing",), ()), Noun(("food",), ("n00000001",)), Noun(("fruit",), ("n00000002",))
    >>> apple, pear, bread = Noun(("apple",), ("n00000003",)), Noun(("pear",), ("n00000003",)), Noun(("bread",), ("n00000002",))
    >>> found = enumerate([thing, food, fruit, apple, pear, bread], start=1)
    >>> nouns = Nouns({f"n{number:08d}": noun for number, noun in found})
    >>> nouns.similarity("n00000004", "n00000005"), nouns.similarity("n00000004", "n00000006")
    (0.75, 0.5714285714285714)

    Parameters
    ----------
    nouns : mapping of str to stages.ground.reading.wordnet_files.Noun
        By name, for example "n07739125".

    Raises
    ------
    InputError
        A synset is a kind of itself.
    """

    def __init__(self, nouns):
        self._nouns = nouns
        self._shallowest, self._deepest = self._depths()
        self.similarity = cache(self._similarity)
        self._ways = cache(self._shortest_ways)

    @classmethod
    def of_folder(cls, folder):
        """Read the folder `dict` of WordNet 3.0; see `stages.ground.reading.wordnet_files.read_nouns`."""
        return cls(read_nouns(folder))

    def __contains__(self, name):
        return name in self._nouns

    def find(self, label):
        """Return the synset of a label: its own number, or the only one that has just these words.

        Raises
        ------
        InputError
            There is none, or there are several.
        """
        name = synset_of(label)
        if name is None:
            found = self._by_words.get(words_of(label), [])
            if len(found) != 1:
                raise InputError(
                    f"The label {label!r} has no number of a synset, and {len(found)} synsets have just these words; write it "
                    "with its number, such as 'n07739125 apple'."
                )
            return found[0]
        if name not in self._nouns:
            raise InputError(
                f"The label {label!r} is of no noun among {len(self._nouns):,}; name the folder of WordNet 3.0, whose numbers "
                "ImageNet has."
            )
        return name

    @property
    def _by_words(self):
        if "_words" not in vars(self):
            self._words = {}
            for name, noun in self._nouns.items():
                self._words.setdefault(", ".join(noun.words), []).append(name)
        return self._words

    def _similarity(self, one, other):
        """Similarity of two synsets by name, 0 to 1; 0 if nothing is above both."""
        above, over = self._ways(one), self._ways(other)
        shared = above.keys() & over.keys()
        if not shared:
            return 0.0
        # NLTK takes the shortest way from the root to tell which is deepest, and the longest to tell how deep that is.
        deepest = max(self._shallowest[name] for name in shared)
        candidates = [name for name in shared if self._shallowest[name] == deepest]
        subsumer = (
            one if one in candidates else min(candidates, key=lambda name: (self._nouns[name].words[0].lower(), name))
        )
        depth = self._deepest[subsumer] + 1
        steps = self._distance(one, subsumer) + self._distance(other, subsumer)
        return 2 * depth / (steps + 2 * depth)

    def _distance(self, one, other):
        """Steps between two synsets by way of what is above both, the fewest."""
        above, over = self._ways(one), self._ways(other)
        return min(above[name] + over[name] for name in above.keys() & over.keys())

    def _shortest_ways(self, name):
        """Steps to everything that a synset is a kind of, itself included."""
        steps, waiting = {}, deque([(name, 0)])
        while waiting:
            one, n = waiting.popleft()
            if one not in steps:
                steps[one] = n
                waiting.extend((above, n + 1) for above in self._nouns[one].hypernyms)
        return steps

    def _depths(self):
        """Shortest and longest way to the root of every synset, in steps."""
        below = {name: [] for name in self._nouns}
        left = {}
        for name, noun in self._nouns.items():
            left[name] = len(noun.hypernyms)
            for above in noun.hypernyms:
                below[above].append(name)
        shallowest = {name: 0 for name, n in left.items() if not n}
        deepest = dict(shallowest)
        waiting = deque(shallowest)
        while waiting:
            name = waiting.popleft()
            for one in below[name]:
                shallowest[one] = min(shallowest.get(one, np.inf), shallowest[name] + 1)
                deepest[one] = max(deepest.get(one, 0), deepest[name] + 1)
                left[one] -= 1
                if not left[one]:
                    waiting.append(one)
        if circle := [name for name, n in left.items() if n]:
            raise InputError(
                f"{circle[0]} is a kind of itself, by way of others; name the folder dict of WordNet 3.0, as Princeton "
                "publishes it."
            )
        return shallowest, deepest


def wu_palmer(reference, predicted, nouns):
    """Wu and Palmer's similarity of labels.

    >>> wu_palmer(["n07739125 apple"], ["n07767847 pear"], nouns)  # doctest: +SKIP
    array([0.90909091])

    Parameters
    ----------
    reference, predicted : sequences of str, length n
        Labels, each with the number of a synset, see `Nouns.find`.
    nouns : Nouns

    Returns
    -------
    scores : float64 array of shape (n,)
        0 to 1, at which they are one synset.

    Raises
    ------
    InputError
        There is another number of the one than of the other, or a label is of no noun.
    """
    if len(reference) != len(predicted):
        raise InputError(f"There are {len(predicted)} labels for {len(reference)} references; give one for each.")
    pairs = [(nouns.find(one), nouns.find(other)) for one, other in zip(reference, predicted, strict=True)]
    return np.array([nouns.similarity(*pair) for pair in pairs], dtype=np.float64)


def wu_palmer_of_labels(references, candidates):
    """Wu and Palmer's similarity of texts of labels, by the nouns of the checkpoint wordnet-3.0; see `wu_palmer`.

    Parameters
    ----------
    references : sequence of sequence of str
        True labels of each candidate's stimulus; the most similar counts.
    candidates : sequence of str
        Texts with a label in each line; the first counts.

    Returns
    -------
    scores : float64 array of shape (n_candidates,)
    """
    nouns = _nouns_in(str(store.path("wordnet-3.0")))
    firsts = [text.strip().partition("\n")[0] for text in candidates]
    pairs = zip(references, firsts, strict=True)
    return np.array([wu_palmer(own, [first] * len(own), nouns).max() for own, first in pairs], dtype=np.float64)


@cache
def _nouns_in(folder):
    return Nouns.of_folder(folder)


@dataclass(frozen=True)
class LabelScores:
    """Similarities of labels, and what labels of other stimuli would have had.

    >>> LabelScores(np.array([1.0, 0.5]), 0.75, 0.5, 0.02, 1.0).mean
    0.75

    Attributes
    ----------
    scores : float64 array of shape (n,)
    mean : float
    null : float
        The mean over all permutations of the labels among the stimuli, which is that over all pairs.
    p_value : float
        Share of permutations with a mean as high, the one that was found among them.
    known : float
        Share of the true synsets that are among the classes that could be named; NaN if these are not given.
    """

    scores: np.ndarray
    mean: float
    null: float
    p_value: float
    known: float


def compare_labels(reference, predicted, nouns, classes=(), n_permutations=10_000, seed=0):
    """Score labels, and hold them against the same labels permuted among the stimuli.

    >>> from stages.ground.reading.wordnet_files import Noun
    >>> kinds = {"n00000001": (), "n00000002": ("n00000001",), "n00000003": ("n00000001",)}
    >>> nouns = Nouns({name: Noun((name,), above) for name, above in kinds.items()})
    >>> found = compare_labels(["n00000002", "n00000003"], ["n00000002 a", "n00000003 b"], nouns, n_permutations=100)
    >>> found.mean, found.null
    (1.0, 0.75)

    Parameters
    ----------
    reference, predicted, nouns
        As `wu_palmer` takes them.
    classes : sequence of str, optional
        Labels of all classes that could be named.
    n_permutations : int
    seed : int

    Returns
    -------
    scores : LabelScores
    """
    check("n_permutations", n_permutations, Number(1, whole=True, example=10_000))
    scores = wu_palmer(reference, predicted, nouns)
    true, named = [nouns.find(one) for one in reference], [nouns.find(one) for one in predicted]
    pairs = np.array([[nouns.similarity(one, other) for other in named] for one in true]).reshape(len(true), len(named))
    random, stimuli = np.random.default_rng(seed), np.arange(len(true))
    # The same sum in another order may come out a little lower.
    as_high = sum(
        pairs[stimuli, random.permutation(len(true))].mean() >= scores.mean() - 1e-12 for _ in range(n_permutations)
    )
    known = {nouns.find(one) for one in classes}
    return LabelScores(
        scores,
        float(scores.mean()),
        float(pairs.mean()),
        (1 + int(as_high)) / (1 + n_permutations),
        float(np.mean([one in known for one in true])) if known else float("nan"),
    )
