"""What every dataset returns: a subject, its splits, and the laws they keep."""

import re
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import combinations

import numpy as np

from brainrecon.datasets.spaces.grayordinates import Grayordinates
from brainrecon.datasets.spaces.space import Space
from brainrecon.datasets.spaces.surface_places import SurfacePlaces
from brainrecon.datasets.spaces.voxel_grid import VoxelGrid
from brainrecon.datasets.split import ROWS_PER_BLOCK, DisagreementError, Split
from brainrecon.datasets.subject_html import subject_html
from brainrecon.datasets.voxels import MASK
from stages.ground.errors import InputError
from stages.ground.pictures import check_shown
from weights.names import file_name, trouble_with_part

EMPTY_CELLS = ("nan", "none", "null", "na", "n/a")
"""How programs write a cell that is empty, in small letters."""
BYTES_IN_FINGERPRINT = 256 * 2**20
PICTURES_IN_FINGERPRINT = 16


def subject_name(subject):
    """``subj01`` for "subj01", "sub-01", "Subject1", "1" or 1; any other text as it is."""
    number = re.fullmatch(r"(?:subject|subj|sub-|sub)?0*(\d+)", str(subject).strip(), re.IGNORECASE)
    return f"subj{int(number[1]):02d}" if number else str(subject)


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
    space : brainrecon.datasets.spaces.space.Space, optional
        Where the values are, if the files say so: in a volume, on the cortical surface, ... and the way back to a file of it.
        Wherever voxels are counted, a value is a voxel: a vertex, a sensor at a time.
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
    space: Space | None = field(default=None, repr=False)
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
        if self.space is not None:
            sizes["the space"] = len(self.space)
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

    @property
    def unit(self):
        """What its values are called: "voxels", unless its space says otherwise.

        >>> Subject("subj01", "nsd", "nsd:/data", {"train": Split(np.ones((1, 2)), ["a"])}, "V1").unit
        'voxels'
        """
        return "voxels" if self.space is None else self.space.unit

    @property
    def grid(self):
        """The `brainrecon.datasets.spaces.voxel_grid.VoxelGrid` of values in a volume; None elsewhere."""
        return self.space if isinstance(self.space, VoxelGrid) else None

    @property
    def surface(self):
        """The `brainrecon.datasets.spaces.surface_places.SurfacePlaces` of values that are all on a surface; None elsewhere."""
        if isinstance(self.space, Grayordinates):
            return self.space.surface
        return self.space if isinstance(self.space, SurfacePlaces) else None

    def to_nifti(self, values, outside=np.nan):
        """Values of the voxels as a NIfTI image in the subject's own grid, see `brainrecon.datasets.spaces.voxel_grid`.

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
        """Values of the vertices as a GIFTI image of each hemisphere, see `brainrecon.datasets.spaces.surface_places`.

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
                f"{self.source or self.name} has no values on a surface alone; NSD's fsaverage betas are, with "
                "--option space=fsaverage, and those of CIFTI files, with --roi cortex."
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
