"""A split of the stimuli that several subjects saw: some are learned from, to align subjects with each other, others tested."""

from __future__ import annotations

import numpy as np

from brainrecon.datasets.resplit import resplit
from stages.ground.errors import InputError

SHARED = "shared"


def of_shared(split):
    """Whether a split's rule is one of shared stimuli.

    >>> of_shared("shared:0.5"), of_shared("clusters:20")
    (True, False)
    """
    return split.partition(":")[0] == SHARED


def split_shared(subject, split, others):
    """Learn from a share of the test stimuli that all subjects saw, and test the others of the test stimuli.

    Which ones is drawn by their names, the same in every subject.

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    split : str
        ``shared:SHARE``, a number above 0 and below 1.
    others : sequence of brainrecon.datasets.subject.Subject
        With whom they are shared.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        As of `brainrecon.datasets.resplit.resplit`.

    Raises
    ------
    InputError
        No such share, or nothing is left of one or the other.
    """
    share = checked_share(split)
    ids = np.sort(subject.test.stimulus_ids)
    for other in others:
        ids = ids[np.isin(ids, np.concatenate([one.stimulus_ids for one in other.splits.values()]))]
    n_learned = round(share * len(ids))
    if not 1 <= n_learned < len(ids) or not others:
        with_whom = ", ".join(other.name for other in others) or "nobody"
        raise InputError(
            f"A share of {share} of the {len(ids):,} test stimuli that {subject.name} has in common with {with_whom} is "
            f"{n_learned:,}; expected some of both: name --subjects who saw the same, or another share."
        )
    learned = ids[np.random.default_rng(0).permutation(len(ids))[:n_learned]]
    tested = subject.test.stimulus_ids[~np.isin(subject.test.stimulus_ids, learned)]
    how = f"{n_learned:,} of {len(ids):,} shared stimuli are learned from"
    return resplit(subject, tested, how, f"{how}, and {len(tested):,} test stimuli are tested")


def checked_share(split):
    """The number of a split ``shared:SHARE``, once it is above 0 and below 1."""
    try:
        share = float(split.partition(":")[2])
    except ValueError:
        share = float("nan")
    if not 0 < share < 1:
        raise InputError(f"There is no split {split!r}; expected a share above 0 and below 1: pass --split shared:0.5.")
    return share
