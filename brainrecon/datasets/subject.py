"""What every dataset returns: a subject, its splits, and the laws they keep."""

import re
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from itertools import combinations

import numpy as np

from brainrecon.datasets.subject_html import subject_html
from brainrecon.datasets.surface_places import SurfacePlaces
from brainrecon.datasets.voxel_grid import VoxelGrid
from brainrecon.datasets.voxels import MASK
from stages.ground.errors import InputError
from stages.ground.pictures import check_shown
from stages.ground.progress import SILENT
from weights.names import file_name, trouble_with_part

EMPTY_CELLS = ("nan", "none", "null", "na", "n/a")
"""How programs write a cell that is empty, in small letters."""
ROWS_PER_BLOCK = 256
BYTES_IN_FINGERPRINT = 256 * 2**20
PICTURES_IN_FINGERPRINT = 16


def subject_name(subject):
    """``subj01`` for "subj01", "sub-01", "Subject1", "1" or 1; any other text as it is."""
    number = re.fullmatch(r"(?:subject|subj|sub-|sub)?0*(\d+)", str(subject).strip(), re.IGNORECASE)
    return f"subj{int(number[1]):02d}" if number else str(subject)


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


@dataclass(eq=False)
class Subject:
    """One person's responses and what was shown.

    >>> betas = np.random.default_rng(0).standard_normal((6, 20)).astype(np.float32)
    >>> splits = {"train": Split(betas[:4], ["a", "b", "c", "d"]), "test": Split(betas[4:], ["e", "e"])}
    >>> subject = Subject("subj01", "arrays", "arrays:memory", splits, roi="all")
    >>> subject.test.patterns.shape
    (1, 20)

    Parameters
    ----------
    name : str
        For example ``subj01``.
    dataset : str
        The kind, for example ``nsd``.
    source : str
        ``kind:path`` that was loaded.
    splits : dict of str to Split
        At least ``train`` and ``test``. Train shares no stimulus with any other split.
    roi : str
        The expression that selected the voxels.
    rois : dict of str to bool array of shape (n_voxels,)
        Masks over the loaded voxels; only those that select at least one.
    noise_ceiling : array of shape (n_voxels,), float32, optional
        Explainable variance of the test patterns, in percent (0 to 100).
    fingerprint : str
        Hex digest of what was shown, see `stimulus_fingerprint`; the same for every roi.
    notes : list of str
        What a reader should know: what is absent, what was derived and how.
    simulated : bool
        No human was measured.
    pictures : str
        What was shown: "photographs", "drawn pictures", or "" if nobody says; networks that judge know the one or the other.
    details : dict
        JSON-able facts to record beside a score: betas version, sessions found, ...
    caption_choices : tuple of str
        If there are no captions: sentences of which one describes each picture, for a model to choose
        from.
    grid : brainrecon.datasets.voxel_grid.VoxelGrid, optional
        Where the voxels are, if the files say so: indices, affine, and `to_nifti`.
    surface : brainrecon.datasets.surface_places.SurfacePlaces, optional
        Where the values are on the cortical surface, if they are on one: hemisphere, vertex, and `to_gifti`. A "voxel" is a
        vertex then, wherever voxels are counted.
    encoding_models : dict of str to array of shape (n_values + 1, n_voxels), float32
        Encoding models that the study's authors fitted to its training trials: by target, the weights of its values and, last,
        the bias.
    train_fingerprint : str
        If other stimuli are tested than the dataset's own and the training ones are the same: the fingerprint of the whole,
        under which what is computed of the training stimuli is found, see `stimuli_of`.

    Raises
    ------
    InputError
        Train shares a stimulus with another split, the parts disagree about the number of voxels, or pictures are none:
        of another type than uint8, binary patterns of 0 and 1 that would be black, or one picture for all stimuli.
    """

    name: str
    dataset: str
    source: str
    splits: dict[str, Split]
    roi: str
    rois: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    noise_ceiling: np.ndarray | None = field(default=None, repr=False)
    fingerprint: str = ""
    notes: list[str] = field(default_factory=list, repr=False)
    simulated: bool = False
    pictures: str = ""
    details: dict = field(default_factory=dict, repr=False)
    caption_choices: tuple[str, ...] = ()
    grid: VoxelGrid | None = field(default=None, repr=False)
    surface: SurfacePlaces | None = field(default=None, repr=False)
    encoding_models: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    train_fingerprint: str = field(default="", repr=False)

    def __post_init__(self):
        if self.pictures not in ("", "photographs", "drawn pictures"):
            raise InputError(
                f"{self.name}: pictures is {self.pictures!r}; expected 'photographs', 'drawn pictures', or nothing if nobody "
                "knows. Mend it in subject.json, or in the reader."
            )
        for name in self.splits:
            if name.lower() in EMPTY_CELLS:
                raise InputError(
                    f"{self.source or self.dataset} has a split called {name!r}, as programs write an empty cell; say train or "
                    "test for every trial."
                )
        for what, name in (("subject", self.name), *(("split", name) for name in self.splits)):
            if trouble := trouble_with_part(name):
                raise InputError(
                    f"{self.source or self.dataset} has a {what} called {name[:80]!r}, which cannot name a folder, for "
                    f"{trouble}; call it by letters, digits, - and _."
                )
        for name, split in self.splits.items():
            for stimulus_id in split.stimulus_ids.tolist():
                try:
                    file_name(str(stimulus_id))
                except ValueError as error:
                    raise InputError(
                        f"A stimulus of {name} in {self.source or self.name}: {error}; shorten it."
                    ) from None
        check_disjoint(self.splits)
        for name, split in self.splits.items():
            if split.images is not None:
                check_shown(split.images, f"{name} pictures of {self.source or self.name}")
        n_voxels = self.n_voxels
        sizes = {f"split {name}": split.n_voxels for name, split in self.splits.items()}
        sizes |= {f"roi {name}": len(mask) for name, mask in self.rois.items()}
        if self.noise_ceiling is not None:
            sizes["the noise ceiling"] = len(self.noise_ceiling)
        if self.grid is not None:
            sizes["the grid"] = len(self.grid)
        if self.surface is not None:
            sizes["the surface"] = len(self.surface)
        sizes |= {f"the encoding model of {name}": found.shape[1] for name, found in self.encoding_models.items()}
        for part, size in sizes.items():
            if size != n_voxels:
                raise DisagreementError(
                    f"{self.name}: {part} has {size:,} voxels but split {next(iter(self.splits))} has "
                    f"{n_voxels:,}; "
                    "take all of them from the same subject and roi."
                )

    def stimuli_of(self, split_name):
        """What identifies the stimuli of a split, for whatever is computed of them alone.

        >>> split = Split(np.ones((1, 2)), ["a"])
        >>> Subject("subj01", "nsd", "nsd:/data", {"train": split}, "V1", fingerprint="4a").stimuli_of("train")
        '4a/train'
        """
        known = self.train_fingerprint if split_name == "train" else ""
        return f"{known or self.fingerprint}/{split_name}"

    def _repr_html_(self):
        return subject_html(self)

    @property
    def n_voxels(self):
        return next(iter(self.splits.values())).n_voxels

    def to_nifti(self, values, outside=np.nan):
        """Values of the voxels as a NIfTI image in the subject's own grid, see `brainrecon.datasets.voxel_grid`.

        >>> subject.to_nifti(subject.noise_ceiling).to_filename("ceiling.nii.gz")  # doctest: +SKIP

        Parameters
        ----------
        values : array of shape (n_voxels,) or (n_maps, n_voxels)
        outside : float
            What all other places get.

        Raises
        ------
        InputError
            The files do not say where voxels are, or there is another number of values.
        """
        if self.grid is None:
            raise InputError(
                f"{self.source or self.name} does not say where its voxels are; NSD, BIDS folders and nilearn's copy of Miyawaki "
                "do, and what `brainrecon data prepare` makes of them."
            )
        return self.grid.to_nifti(values, outside)

    def to_gifti(self, values, outside=np.nan):
        """Values of the vertices as a GIFTI image of each hemisphere, see `brainrecon.datasets.surface_places`.

        >>> subject.to_gifti(subject.noise_ceiling)["lh"].to_filename("ceiling.lh.func.gii")  # doctest: +SKIP

        Parameters
        ----------
        values : array of shape (n_voxels,) or (n_maps, n_voxels)
        outside : float
            What all other vertices get.

        Raises
        ------
        InputError
            The values are on no surface, or there is another number of values.
        """
        if self.surface is None:
            raise InputError(
                f"{self.source or self.name} has no values on a surface; NSD's fsaverage betas are, with "
                "--option space=fsaverage."
            )
        return self.surface.to_gifti(values, outside)

    @property
    def region(self):
        """The roi, and in brackets what a mask of one's own in it is called.

        >>> Subject("subj01", "nsd", "nsd:/data", {"train": Split(np.ones((1, 2)), ["a"])}, "V1 & mask").region
        'V1 & mask'
        """
        mask = self.details.get(MASK)
        return f"{self.roi} [{mask}]" if isinstance(mask, str) and re.search(rf"\b{MASK}\b", self.roi) else self.roi

    @property
    def train(self):
        return self.splits["train"]

    @property
    def test(self):
        return self.splits["test"]


def check_disjoint(splits):
    """Raise an InputError when train shares a stimulus with another split (imagery may share with test)."""
    for first, second in combinations(splits, 2):
        if "train" not in (first, second):
            continue
        shared = np.intersect1d(splits[first].stimulus_ids, splits[second].stimulus_ids)
        if len(shared):
            raise DisagreementError(
                f"{len(shared):,} stimuli are in both {first} and {second} (the first is {shared[0]}); "
                "a training stimulus may be in no other split, so remove them from one of the two."
            )


def stimulus_fingerprint(dataset, splits, **facts):
    """Hex digest of what was shown, to key anything computed from the stimuli alone.

    >>> betas = np.zeros((2, 5), dtype=np.float32)
    >>> one, other = ({"train": Split(betas, ids)} for ids in (["cat", "dog"], ["cat", "owl"]))
    >>> stimulus_fingerprint("mine", one) == stimulus_fingerprint("mine", other)
    False

    It covers the dataset's kind, every split's name and ids in order, the pictures' shape, the bytes of all
    pictures of a split that holds up to 256 MB of them, of 16 at even spacing where it holds more, and the given
    facts. It covers neither paths nor voxels: a copy elsewhere, or another roi, has the same
    fingerprint.

    Parameters
    ----------
    dataset : str
    splits : dict of str to Split
    **facts
        Whatever else identifies the stimuli, such as sizes of annotation files; taken by ``repr``.
    """
    digest = sha256(repr((dataset, sorted(facts.items()))).encode())
    for name, split in splits.items():
        digest.update(repr((name, split.stimulus_ids.tolist())).encode())
        if split.images is not None:
            shape = tuple(split.images.shape)
            digest.update(repr(shape).encode())
            few = np.prod(shape) > BYTES_IN_FINGERPRINT
            rows = (
                np.linspace(0, len(split.images) - 1, PICTURES_IN_FINGERPRINT) if few else np.arange(len(split.images))
            )
            for start in range(0, len(rows), ROWS_PER_BLOCK):
                block = rows[start : start + ROWS_PER_BLOCK].round().astype(int)
                digest.update(np.ascontiguousarray(split.images[block]).tobytes())
    return digest.hexdigest()
