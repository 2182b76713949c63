"""Captions of stimuli: which of them count, and the mean of what they are encoded to."""

import numpy as np

from stages.ground.errors import InputError


def kept_captions(item, where):
    """Return the captions that are not blank.

    Parameters
    ----------
    item : sequence of str
    where : str
        Whose they are, for the error.

    Raises
    ------
    InputError
        There is none, or `item` is one string in place of a list of strings.
    """
    if isinstance(item, str):
        raise InputError(f"{where} are one string, {item!r}; expected a list of strings. Pass [{item!r}].")
    kept = [caption for caption in item if caption and caption.strip()]
    if not kept:
        raise InputError(
            f"{where} are {list(item)!r} but one that is not empty is needed; add one, or drop the text context."
        )
    return kept


def mean_over_captions(items, encode, n_targets, batch_size, most=None):
    """Average over each stimulus' captions what they are encoded to.

    Parameters
    ----------
    items : sequence of length n of sequences of str
        Captions per stimulus; blank ones do not count.
    encode : callable
        List of str to float32 array (n_captions, n_targets).
    n_targets : int
    batch_size : int
        Captions per call of `encode`; those of several stimuli share one.
    most : int, optional
        Of each stimulus' captions only so many, the first that are not blank.

    Returns
    -------
    values : array of shape (n, n_targets), float32

    Raises
    ------
    InputError
        A stimulus has no caption, or a string in place of a list of strings; raised before anything is encoded.
    """
    items = [
        kept_captions(item, f"The captions of stimulus number {position}")[:most] for position, item in enumerate(items)
    ]
    counts = np.array([len(item) for item in items], dtype=np.intp)
    owners = np.repeat(np.arange(len(items)), counts)
    captions = [caption for item in items for caption in item]
    values = np.zeros((len(items), n_targets), dtype=np.float32)
    for start in range(0, len(captions), batch_size):
        part = slice(start, start + batch_size)
        np.add.at(values, owners[part], encode(captions[part]))
    return values / counts[:, None].astype(np.float32)
