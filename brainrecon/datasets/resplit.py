"""Another division of a subject's stimuli into train and test than the dataset's own."""

from dataclasses import replace
from functools import partial

import numpy as np

from brainrecon.datasets.responses import as_responses
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import stimulus_fingerprint
from stages.ground.errors import InputError
from stages.ground.lazy_rows import ConcatenatedRows, as_rows

POOLED = ("train", "test")


def resplit(subject, test_ids, how, told=None):
    """Train on all of a subject's stimuli but some, and test on these.

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    test_ids : collection of str
        The stimuli to hold out, from train and test alike.
    how : str
        The rule in words, for the notes: "every picture with a dog".
    told : str, optional
        What the notes say in place of the rule and how many stimuli it tests.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        With a train and a test split, each with the stimuli in the order of the dataset, train's before test's.
        Further splits are left out, as they may show what is now trained on. There is no noise ceiling: it would be
        that of the dataset's own test stimuli. Betas that are z-scored when read are z-scored by the trials that are
        now trained on; of betas that are stored as z-scores a note says that test trials may be in their statistics.

    Raises
    ------
    InputError
        No stimulus, or every one, is held out.
    """
    sources = [subject.splits[name] for name in POOLED if name in subject.splits]
    ids = np.concatenate([source.stimulus_ids for source in sources])
    held_out = np.isin(ids, list(test_ids))
    if not held_out.any() or held_out.all():
        raise InputError(
            f"The split holds out {held_out.sum():,} of {len(ids):,} stimuli ({how}); "
            "choose one that leaves some for both train and test."
        )
    first, *others = (as_responses(source.betas) for source in sources)
    shown = _concatenated(sources, "trial_stimulus_ids")
    betas = first.joined(others).standardized_by(np.flatnonzero(np.isin(shown, ids[~held_out])))
    splits = {
        "train": _pooled(sources, betas, set(ids[~held_out])),
        "test": _pooled(sources, betas, set(ids[held_out])),
    }
    dropped = [name for name in subject.splits if name not in POOLED]
    note = told or f"split anew: {how}, {held_out.sum():,} of {len(ids):,} stimuli, are tested"
    if dropped:
        note += f"; {', '.join(dropped)} left out"
    if betas.standardized == "session":
        note += "; responses were z-scored before, by trials of which some may be tested now"
    return replace(
        subject,
        splits=splits,
        noise_ceiling=None,
        # They learned from trials that may be tested now.
        encoding_models={},
        fingerprint=stimulus_fingerprint(subject.dataset, splits, pooled=subject.fingerprint),
        train_fingerprint="",
        notes=[*subject.notes, note],
        details=subject.details | {"split": how},
    )


def with_test(subject, name):
    """Test another of the dataset's own splits, such as imagery, in place of test; train stays as it is.

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    name : str
        Of `subject.splits`.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        With train and test alone. There is no noise ceiling unless `name` is test: it would be that of other patterns.
    """
    if name == "test":
        return subject
    splits = {"train": subject.train, "test": subject.splits[name]}
    return replace(
        subject,
        splits=splits,
        noise_ceiling=None,
        fingerprint=stimulus_fingerprint(subject.dataset, splits, tested=name, of=subject.fingerprint),
        train_fingerprint=subject.train_fingerprint or subject.fingerprint,
        notes=[*subject.notes, f"{name} is tested, in place of test"],
        details=subject.details | {"split": name},
    )


def _pooled(sources, betas, wanted):
    """The split of the wanted stimuli; `betas` are the responses of all trials of the sources."""
    trials = np.flatnonzero(np.isin(_concatenated(sources, "trial_stimulus_ids"), list(wanted)))
    stimuli = [np.flatnonzero(np.isin(source.stimulus_ids, list(wanted))) for source in sources]

    def per_trial(name):
        values = _concatenated(sources, name)
        return None if values is None else values[trials]

    def per_stimulus(name):
        if not all(getattr(source, f"has_{name}") for source in sources):
            return None
        return partial(_join, sources, stimuli, name)

    return Split(
        betas=betas.take(trials),
        trial_stimulus_ids=per_trial("trial_stimulus_ids"),
        sessions=per_trial("sessions"),
        runs=per_trial("runs"),
        images=_images(sources, stimuli),
        captions=per_stimulus("captions"),
        categories=per_stimulus("categories"),
    )


def _concatenated(sources, name):
    """What each trial of the sources has under a name, or None if a source has nothing there."""
    columns = [getattr(source, name) for source in sources]
    return None if any(column is None for column in columns) else np.concatenate(columns)


def _images(sources, stimuli):
    """Pictures of some stimuli of each source, or None if a source has none."""
    if any(source.images is None for source in sources):
        return None
    sizes = [tuple(source.images.shape[1:]) for source in sources]
    if len(set(sizes)) > 1:
        raise InputError(
            f"{' and '.join(POOLED)} show pictures of {' and '.join(map(str, sizes))}; stimuli can only be split anew if "
            "all are of one size."
        )
    return ConcatenatedRows([as_rows(source.images).take(rows) for source, rows in zip(sources, stimuli)])


def _join(sources, stimuli, name):
    return [getattr(source, name)[row] for source, rows in zip(sources, stimuli) for row in rows]
