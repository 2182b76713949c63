"""Trials that are used together: their responses, what was shown, and the averages over repeats."""

from functools import cached_property

import numpy as np

from stages.ground.errors import InputError
from stages.ground.progress import SILENT

ROWS_PER_BLOCK = 256


def first_presentation_order(trial_stimulus_ids):
    """Distinct ids in the order in which they first appear, and each trial's position among them.

    Parameters
    ----------
    trial_stimulus_ids : sequence of str, length n_trials

    Returns
    -------
    stimulus_ids : array of str, shape (n_stimuli,)
    positions : array of int, shape (n_trials,)
        ``stimulus_ids[positions]`` equals ``trial_stimulus_ids``.
    """
    ids, first, inverse = np.unique(np.asarray(trial_stimulus_ids, dtype=str), return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return ids[order], rank[inverse.reshape(-1)]


def average_repeats(betas, stimulus_ids, progress=SILENT):
    """Average single-trial betas over the repeats of each stimulus.

    >>> average_repeats(np.float32([[1, 2], [5, 6], [3, 4]]), ["cat", "dog", "cat"]).tolist()
    [[2.0, 3.0], [5.0, 6.0]]

    Parameters
    ----------
    betas : array of shape (n_trials, n_voxels), float32
        Single-trial responses. Only sliced by rows, in blocks and in order, so it may live on disk.
    stimulus_ids : sequence of str, length n_trials
        The stimulus shown on each trial.
    progress : callable, optional
        Called as ``progress(label, trials_done, n_trials)``.

    Returns
    -------
    patterns : array of shape (n_stimuli, n_voxels), float32
        One row per stimulus, in the order of first presentation.

    Raises
    ------
    InputError
        Another number of ids than of trials, or a value that is NaN or infinite.
    """
    n_trials, n_voxels = betas.shape
    if len(stimulus_ids) != n_trials:
        raise InputError(
            f"There are {n_trials:,} trials but {len(stimulus_ids):,} stimulus ids; give one id per trial."
        )
    ids, positions = first_presentation_order(stimulus_ids)
    patterns = np.zeros((len(ids), n_voxels), dtype=np.float32)
    for start in range(0, n_trials, ROWS_PER_BLOCK):
        block = np.asarray(betas[start : start + ROWS_PER_BLOCK], dtype=np.float32)
        check_finite(block, f"trials {start + 1} to {start + len(block)}")
        for position, response in zip(positions[start : start + len(block)], block):
            patterns[position] += response
        progress("average repeats", start + len(block), n_trials)
    patterns /= np.bincount(positions, minlength=len(ids))[:, None].astype(np.float32)
    return patterns


class NotFiniteError(InputError):
    """Responses hold NaN or infinite values, in the voxels of the mask `voxels`, bool (n_voxels,)."""

    def __init__(self, message, voxels):
        super().__init__(message)
        self.voxels = voxels


def check_finite(betas, where, remedy="estimate these betas again, or choose a roi without those voxels"):
    """Raise a `NotFiniteError` that counts the voxels of betas (n_trials, n_voxels) that are not finite."""
    if not np.isfinite(betas).all():
        bad = (~np.isfinite(betas)).any(axis=0)
        raise NotFiniteError(
            f"{int(bad.sum()):,} of {betas.shape[1]:,} voxels hold NaN or infinite betas in {where}; {remedy}.", bad
        )


class DisagreementError(InputError):
    """Parts of a subject do not fit each other; which file is wrong nobody can say."""


class Split:
    """Trials that are used together: ``train``, ``test``, ``imagery``, ...

    >>> split = Split(np.float32([[1, 2], [5, 6], [3, 4]]), ["cat", "dog", "cat"])
    >>> split.stimulus_ids.tolist(), split.patterns.tolist()
    (['cat', 'dog'], [[2.0, 3.0], [5.0, 6.0]])

    Parameters
    ----------
    betas : array of shape (n_trials, n_voxels), float32
        Single-trial responses; in memory, or anything with ``shape`` that can be sliced by rows, such as
        `brainrecon.datasets.responses.Responses`.
    trial_stimulus_ids : sequence of str, length n_trials
    sessions, runs : sequence of int, length n_trials, optional
        1-based, as the dataset numbers them.
    images : array of shape (n_stimuli, height, width, 3), uint8, optional
        In the order of `stimulus_ids`; in memory, or indexed by int, slice or int array.
    captions, categories : list of list of str, length n_stimuli, optional
        In the order of `stimulus_ids`. A callable without arguments is called on first use.

    Attributes
    ----------
    stimulus_ids : array of str, shape (n_stimuli,)
        Distinct ids in the order of first presentation: the order of every other per-stimulus array.
    patterns : array of shape (n_stimuli, n_voxels), float32
        Betas averaged over repeats, computed on first use and kept.
    positions : array of int, shape (n_trials,)
        Row of each trial's stimulus among `stimulus_ids`.
    repeats : array of int, shape (n_stimuli,)
        How many trials each stimulus has.

    Raises
    ------
    InputError
        An array of another length than there are trials or stimuli.
    """

    def __init__(
        self, betas, trial_stimulus_ids, sessions=None, runs=None, images=None, captions=None, categories=None
    ):
        self.betas = betas
        self.trial_stimulus_ids = np.asarray(trial_stimulus_ids, dtype=str)
        self.sessions = None if sessions is None else np.asarray(sessions)
        self.runs = None if runs is None else np.asarray(runs)
        self.images = images
        self._captions = captions
        self._categories = categories
        self.stimulus_ids, self.positions = first_presentation_order(self.trial_stimulus_ids)
        per_trial = {"stimulus ids": self.trial_stimulus_ids, "sessions": self.sessions, "runs": self.runs}
        for name, values in per_trial.items():
            if values is not None and len(values) != self.n_trials:
                raise DisagreementError(
                    f"There are {self.n_trials:,} trials but {len(values):,} {name}; give one per trial."
                )
        per_stimulus = {"images": images, "captions": captions, "categories": categories}
        for name, values in per_stimulus.items():
            if values is not None and not callable(values) and len(values) != self.n_stimuli:
                raise DisagreementError(
                    f"There are {self.n_stimuli:,} stimuli but {len(values):,} {name}; give one per stimulus."
                )

    def __repr__(self):
        return f"Split({self.n_trials:,} trials, {self.n_stimuli:,} stimuli, {self.n_voxels:,} voxels)"

    def columns(self, chosen):
        """The same trials and stimuli over some of the voxels, chosen like columns of an array."""
        from brainrecon.datasets.responses import as_responses

        return Split(
            as_responses(self.betas).columns(chosen),
            self.trial_stimulus_ids,
            self.sessions,
            self.runs,
            self.images,
            (lambda: self.captions) if self.has_captions else None,
            (lambda: self.categories) if self.has_categories else None,
        )

    @cached_property
    def captions(self):
        return self._captions() if callable(self._captions) else self._captions

    @cached_property
    def categories(self):
        return self._categories() if callable(self._categories) else self._categories

    @property
    def has_captions(self):
        """Whether there are captions, without reading them."""
        return self._captions is not None

    @property
    def has_categories(self):
        """Whether there are categories, without reading them."""
        return self._categories is not None

    @property
    def standardized(self):
        """Whether betas are z-scored, see `brainrecon.datasets.responses`; an array that does not say so is not."""
        return getattr(self.betas, "standardized", "no")

    @property
    def has_responses(self):
        """Whether responses can be read; of some studies only what was learned from them is public."""
        return getattr(self.betas, "are_there", True)

    @property
    def n_trials(self):
        return self.betas.shape[0]

    @property
    def n_voxels(self):
        return self.betas.shape[1]

    @property
    def n_stimuli(self):
        return len(self.stimulus_ids)

    @property
    def repeats(self):
        return np.bincount(self.positions, minlength=self.n_stimuli)

    @cached_property
    def patterns(self):
        return average_repeats(self.betas, self.trial_stimulus_ids)
