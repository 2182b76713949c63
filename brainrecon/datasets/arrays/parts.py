"""What the forms of one's own arrays share: ids that can name a file and the choice of voxels."""

import re
from dataclasses import replace
from hashlib import sha256

import numpy as np

from brainrecon.datasets.arrays.finite_voxels import FINITE
from brainrecon.datasets.subject import BYTES_IN_FINGERPRINT, Subject, stimulus_fingerprint
from brainrecon.datasets.voxels import masked_regions
from stages.ground.errors import InputError

LONGEST_ID = 200
NO_FILE_NAME = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
WHOLE = "all"


def check_ids(ids, where):
    """Raise an InputError when an id cannot be part of a file's name: a picture is saved under each.

    Parameters
    ----------
    ids : iterable of str
    where : str or path
        Where they were read, for the message.
    """
    for name in ids:
        if not name or name in (".", "..") or name != name.strip() or NO_FILE_NAME.search(name):
            mended = NO_FILE_NAME.sub("_", name).strip(" .") or "picture001"
            raise InputError(
                f"{where} holds the stimulus id {name[:80]!r}, which cannot be a file name, and a picture is saved "
                f"under each id; rename it, for example {mended[:80]!r}."
            )
        if len(name.encode()) > LONGEST_ID:
            raise InputError(
                f"{where} holds a stimulus id of {len(name.encode()):,} bytes ({name[:40]!r}...) and a file name takes "
                f"{LONGEST_ID}; give it a shorter id."
            )


def choose_voxels(path, rois, roi, n_voxels, finite, whole=WHOLE):
    """The mask of the roi that was asked for, or None for all voxels.

    Parameters
    ----------
    path : pathlib.Path
        For messages.
    rois : dict of str to bool array of shape (n_voxels,)
    roi : str or None
        As `brainrecon.datasets.voxels` describes.
    n_voxels : int
        As many as the betas have.
    finite : brainrecon.datasets.arrays.finite_voxels.FiniteVoxels
        The region ``finite``, unless one of the masks has that name.
    whole : str
        The name under which all voxels can be asked for.

    Raises
    ------
    InputError
        A mask of another length, or a roi that is unknown or empty.
    """
    for name, mask in rois.items():
        check_voxels(mask, n_voxels, f"roi {name}", path)
    if roi is None:
        return None
    named = masked_regions(path, rois, n_voxels, whole)
    if FINITE not in rois:
        mask_of = named.mask_of
        named = replace(
            named,
            aliases=(*named.aliases, FINITE),
            mask_of=lambda name: finite.mask if name == FINITE else mask_of(name),
        )
    chosen = named.select(roi)
    return None if chosen.all() else chosen


def check_voxels(values, n_voxels, what, path):
    """Raise an InputError unless values are (n_voxels,)."""
    if values.shape != (n_voxels,):
        raise InputError(
            f"{path}: {what} has {values.size:,} voxels but the betas have {n_voxels:,}; take both from one subject."
        )


def rois_inside(rois, chosen):
    """The masks over the chosen voxels (all, where chosen is None), of the rois that have any there."""
    inside = {name: mask if chosen is None else mask[chosen] for name, mask in rois.items()}
    return {name: mask for name, mask in inside.items() if mask.any()}


def train_first(names):
    """The splits' names in the order in which they are read: train, then the others sorted."""
    return sorted(names, key=lambda name: (name != "train", name))


def own_subject(path, name, splits, roi, rois, chosen, ceiling=None, notes=()):
    """The subject of one's own file or folder.

    Parameters
    ----------
    path : pathlib.Path
    name : str
    splits : dict of str to Split
        Over the chosen voxels.
    roi : str or None
    rois, ceiling : dict of bool arrays, float array or None
        Over all voxels, (n_voxels,).
    chosen : bool array of shape (n_voxels,), or None for all
    notes : sequence of str

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
    """
    return Subject(
        name=name,
        dataset="arrays",
        source=f"arrays:{path}",
        splits=splits,
        roi=roi or WHOLE,
        rois=rois_inside(rois, chosen),
        noise_ceiling=ceiling if ceiling is None or chosen is None else ceiling[chosen],
        fingerprint=stimulus_fingerprint("arrays", splits),
        notes=[*notes, *pictures_on_both_sides(splits)],
        details={"n_trials": sum(split.n_trials for split in splits.values())},
    )


def pictures_on_both_sides(splits):
    """A note where test pictures are training pictures under another id; of up to 256 MB of pictures in all."""
    sides = [splits[name] for name in ("train", "test") if name in splits]
    if len(sides) < 2 or any(side.images is None for side in sides):
        return []
    if sum(np.prod(side.images.shape, dtype=float) for side in sides) > BYTES_IN_FINGERPRINT:
        return []
    trained, tested = (
        [sha256(np.ascontiguousarray(side.images[row])).digest() for row in range(side.n_stimuli)] for side in sides
    )
    first = {digest: row for row, digest in reversed(list(enumerate(trained)))}
    both = [row for row, digest in enumerate(tested) if digest in first]
    if not both:
        return []
    shown, known = sides[1].stimulus_ids[both[0]], sides[0].stimulus_ids[first[tested[both[0]]]]
    return [
        f"{len(both):,} of {len(tested):,} test pictures are also trained on under another id, such as {shown}, which is "
        f"{known}: scores on them tell nothing of other pictures"
    ]
