"""Test every stimulus once: all stimuli of a dataset dealt to parts, of which one is tested and the rest train."""

from dataclasses import replace
from hashlib import sha256

import numpy as np

from brainrecon.datasets.resplit import POOLED, resplit
from stages.ground.errors import InputError

BLOCK_BYTES = 32 * 2**20


def in_fold(subject, fold):
    """Train on all of a subject's stimuli but those of one part, and test on these.

    >>> import brainrecon
    >>> from brainrecon.datasets.arrays.writing import write_template
    >>> write_template("my-study")
    >>> subject = brainrecon.load("arrays:my-study")
    >>> subject.train.n_stimuli, subject.test.n_stimuli
    (12, 4)
    >>> first = in_fold(subject, (0, 8))
    >>> first.train.n_stimuli, first.test.n_stimuli
    (14, 2)

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    fold : tuple of (int, int)
        ``(k, n)``: part k (0 to n - 1) of n, 2 to the number of stimuli; with the latter a single one is left out.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        As of `brainrecon.datasets.resplit.resplit`, with ``details["fold"]`` [k, n].

    Raises
    ------
    InputError
        There is no such fold.
    """
    k, n = checked_fold(fold)
    sources = [subject.splits[name] for name in POOLED if name in subject.splits]
    ids = np.concatenate([source.stimulus_ids for source in sources])
    if n > len(ids):
        raise InputError(
            f"{n:,} folds of {len(ids):,} stimuli cannot be made; "
            + (f"choose 2 to {len(ids):,} folds." if len(ids) > 1 else "add stimuli, 2 at least.")
        )
    # Where every stimulus is a part of its own there is nothing to balance, and categories can be slow to read.
    classes = single_categories(sources) if n < len(ids) else None
    test_ids = ids[deal(ids, n, classes) == k]
    how = f"fold {k} of {n}, counted from 0"
    # The same for every fold: of a run with folds it is said once.
    evenly = "" if classes is None else ", every category shared out evenly"
    anew = resplit(subject, test_ids, how, f"all {len(ids):,} stimuli are tested once, in {n:,} folds{evenly}")
    # What tells one fold from another is no property of the whole.
    details = {name: value for name, value in anew.details.items() if name != "split"}
    return replace(anew, details=details | {"fold": [k, n]})


def name_of_folds(n_folds, n_stimuli):
    """How a table calls a division into folds.

    >>> name_of_folds(10, 60), name_of_folds(60, 60)
    ('10 folds', 'leave one stimulus out')
    """
    return "leave one stimulus out" if n_folds == n_stimuli else f"{n_folds} folds"


def checked_fold(fold):
    """The part to test and the number of parts, once they are two whole numbers that go together."""
    if not (isinstance(fold, (tuple, list)) and len(fold) == 2 and all(type(number) is int for number in fold)):
        raise InputError(f"fold is {fold!r}; expected two whole numbers, the part to test and how many parts: [0, 10].")
    k, n = fold
    if n < 2:
        raise InputError(f"fold is {fold!r}, one of {n} parts; choose 2 parts or more.")
    if not 0 <= k < n:
        raise InputError(f"There is no fold {k} of {n}; folds count from 0, so choose 0 to {n - 1}.")
    return k, n


def deal(ids, n_parts, classes=None):
    """Deal stimuli to parts, the same way in whatever order they come.

    Parameters
    ----------
    ids : sequence of str, length n_stimuli
        All different.
    n_parts : int
    classes : sequence of str, length n_stimuli, optional
        Each class is shared out evenly.

    Returns
    -------
    parts : array of shape (n_stimuli,), int, 0 to n_parts - 1
        Parts differ by one stimulus at most, and by one of each class at most.
    """
    ids = np.asarray(ids, dtype=str)
    by_name = np.argsort(ids)
    shuffled = by_name[np.random.default_rng(0).permutation(len(ids))]
    if classes is not None:
        shuffled = shuffled[np.argsort(np.asarray(classes, dtype=str)[shuffled], kind="stable")]
    parts = np.empty(len(ids), dtype=int)
    # The deal goes on from class to class.
    parts[shuffled] = np.arange(len(ids)) % n_parts
    return parts


def single_categories(splits):
    """The category of each stimulus, split after split, or None if a stimulus has none or several."""
    if not all(split.has_categories for split in splits):
        return None
    categories = [own for split in splits for own in split.categories]
    return [own[0] for own in categories] if all(len(own) == 1 for own in categories) else None


def category_numbers(subject):
    """Number of each training stimulus's category; of one category are stimuli with the same names.

    >>> from brainrecon.datasets.split import Split

    >>> from brainrecon.datasets.subject import Subject
    >>> train = Split(np.ones((3, 2), np.float32), ["a", "b", "c"], categories=[["dog"], ["cat"], ["dog"]])
    >>> splits = {"train": train, "test": Split(train.betas, ["d", "e", "f"])}
    >>> subject = Subject("subj01", "arrays", "arrays:memory", splits, roi="all")
    >>> category_numbers(subject).tolist()
    [1, 0, 1]

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject

    Returns
    -------
    numbers : int array of shape (n_stimuli,)
        From 0 on, in order of names.

    Raises
    ------
    InputError
        The dataset has no categories, or some of its training stimuli have none.
    """
    return np.unique(category_names(subject), return_inverse=True)[1].reshape(-1)


def category_names(subject):
    """The category of each training stimulus, a list of str: all its names together, in order of the alphabet.

    >>> from brainrecon.datasets.split import Split

    >>> from brainrecon.datasets.subject import Subject
    >>> train = Split(np.ones((2, 2), np.float32), ["a", "b"], categories=[["dog"], ["dog", "cat"]])
    >>> splits = {"train": train, "test": Split(train.betas, ["d", "e"])}
    >>> category_names(Subject("subj01", "arrays", "arrays:memory", splits, roi="all"))
    ['dog', 'cat + dog']

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject

    Raises
    ------
    InputError
        The dataset has no categories, or some of its training stimuli have none.
    """
    train = subject.train
    known = train.categories if train.has_categories else None
    if known is None or not all(known):
        which = "no categories" if known is None else f"no category of {sum(not own for own in known):,} stimuli"
        raise InputError(
            f"{subject.source} tells {which} of training, by which responses are matched to pictures; choose a dataset that "
            "names them, such as dir, or another method."
        )
    return [" + ".join(sorted(own)) for own in known]


def check_pictures_disjoint(subject):
    """Raise an InputError when a training stimulus shows the very picture of a stimulus of another split.

    Ids do not tell: a picture can be stored twice. Splits other than train may share pictures, as imagery does with
    test. A split without pictures is passed over. Pictures are read some at a time.

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    """
    trained = {}
    for name, digest in _picture_digests(subject.train):
        trained.setdefault(digest, name)
    for split_name, split in subject.splits.items():
        if split_name == "train":
            continue
        shared = [(trained[digest], name) for name, digest in _picture_digests(split) if digest in trained]
        if shared:
            raise InputError(
                f"{len(shared):,} of {split.n_stimuli:,} pictures of {split_name} are trained on under another id (the first "
                f"is {shared[0][1]}, the same picture as {shared[0][0]}); remove them from one of the two, or give equal "
                "pictures equal ids."
            )


def _picture_digests(split):
    """Each stimulus and a digest of its picture's size and bytes."""
    if split.images is None:
        return
    rows = max(1, BLOCK_BYTES // max(1, int(np.prod(split.images.shape[1:]))))
    for start in range(0, split.n_stimuli, rows):
        pictures = np.asarray(split.images[start : start + rows])
        for name, picture in zip(split.stimulus_ids[start : start + rows], pictures):
            yield str(name), sha256(repr(picture.shape).encode() + np.ascontiguousarray(picture).tobytes()).digest()
