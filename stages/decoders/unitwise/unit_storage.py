"""What serves patterns to come: the ways to store a decoder of units, and how large each is.

weights         voxels and weights of every unit
patterns        training patterns alone; the units' values are read again from where they came, and fitted once more
"""

from __future__ import annotations

from stages.decoders.ridge.ridge_storage import MODEST_BYTES, size_in_words
from stages.ground.errors import InputError

CONTENTS = {
    "weights": "voxels and weights of every unit",
    "patterns": "training patterns; units are read from the feature store and fitted again",
}
KEEP = ("auto", *CONTENTS)


def bytes_of_each(n_trials, n_voxels, n_units, n_chosen, itemsize):
    """Bytes on disk of each way, dict of str to int: of `n_chosen` voxels of each of `n_units`.

    >>> bytes_of_each(1200, 700, n_units=10**6, n_chosen=500, itemsize=4)
    {'weights': 4008000000, 'patterns': 3369600}
    """
    return {
        "weights": n_units * (n_chosen * (4 + itemsize) + 8),
        "patterns": n_trials * n_voxels * itemsize + 8 * n_trials,
    }


def way_to_store(keep, kind, sizes, again):
    """Choose what is stored.

    >>> way_to_store("auto", "ridge", {"weights": 60e9, "patterns": 3e6}, again=True)
    'patterns'

    Parameters
    ----------
    keep : {"auto", "weights", "patterns"}
        As the user has it. "auto" takes the patterns of a ridge whose weights pass 2 GB, if the targets can be read again.
    kind : {"ridge", "ard"}
    sizes : dict of str to int
        Bytes of each way.
    again : bool
        Whether the targets can be read again.
    """
    if keep == "patterns" and not again:
        raise InputError(
            "keep is 'patterns' but the targets are arrays in memory, which cannot be read again; "
            "pass keep='weights', or tables of the feature store."
        )
    if keep != "auto":
        return keep
    return "patterns" if again and kind == "ridge" and sizes["weights"] > MODEST_BYTES else "weights"


def note_of_sizes(sizes, stored):
    """Sentence that says what is stored, how large it is, and how large the other way would be."""
    (other,) = (way for way in CONTENTS if way != stored)
    return (
        f"The decoder stores {CONTENTS[stored]}: {size_in_words(sizes[stored])} "
        f"({other} {size_in_words(sizes[other])}: --set decoder.keep=...)."
    )
