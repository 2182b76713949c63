"""One person's responses to 100 handwritten sixes and nines (van Gerven, de Lange and Heskes 2010).

3 T fMRI of V1 to V3, one response pattern per picture. `brainrecon.datasets.digits69_file` reads the file, in each of the
forms in which it goes round. Acknowledge the Donders Institute for Brain, Cognition and Behaviour, Radboud University Nijmegen.
"""

import numpy as np

from brainrecon.datasets.dataset import DatasetOf, ExpectedFile, Option, register
from brainrecon.datasets.description import Description
from brainrecon.datasets.digits69_file import NAMES, file_of, read_digits
from brainrecon.datasets.folds import checked_fold
from brainrecon.datasets.own_mask import OWN_MASK, chosen_voxels
from brainrecon.datasets.responses import ResponsesOf
from brainrecon.datasets.split import Split, check_finite
from brainrecon.datasets.subject import Subject, stimulus_fingerprint
from stages.ground.errors import InputError
from stages.ground.listing import visible

DESCRIPTION = Description(
    measured="1 person saw 100 handwritten sixes and nines in 3 T fMRI; responses of V1 to V3, one per picture",
    available="Donders Repository, di.dcc.DSC_2018.00112_485, after its data use agreement (69dataset.mat); a copy is "
    "misc/69dataset_split.mat of the BRAIN-TO/CapsNet repository; acknowledge the Donders Institute, Nijmegen",
    citation="van Gerven, de Lange & Heskes 2010, Neural Computation 22:3127-3142, doi 10.1162/NECO_a_00047",
    licence="not stated by the authors (the repository of the copy is under MIT)",
    pictures="drawn pictures",
)
SUBJECT = "subj01"
ROI = "V1-V3"
CAPTION_CHOICES = ("a handwritten six", "a handwritten nine")
TESTED = 10
"""Of a file without a split, the last of so many of each class are tested."""


def subjects(path):
    """The one subject."""
    return [SUBJECT]


def load(path, subject=None, roi=None, fold=None, mask=None):
    """Load the digits.

    Parameters
    ----------
    path : pathlib.Path
        The `.mat` file, or the folder that holds it under a name of `brainrecon.datasets.digits69_file.NAMES`.
    subject : str, optional
        Only ``subj01`` is there.
    roi : str, optional
        The file names no regions: only its own choice of voxels, ``V1-V3``, can be asked for.
    fold : tuple of (int, int), optional
        ``(k, n)``: test on part k (0 to n - 1) of n parts of all 100 digits, train on the rest. Each part
        holds as many sixes as nines, to one; with n = 100 it holds a single digit. By default the file's own
        split; of a file without one, the last tenth of each class is tested, as Fang et al. (2020) do.
    mask : brainrecon.datasets.own_mask.OwnMask, optional
        The region ``mask``: a value for each voxel of the file.

    Returns
    -------
    subject : brainrecon.datasets.subject.Subject
        ``digit001`` to ``digit100`` are the rows of the file, training before test, whatever the fold: another form of
        the file has other rows. Pictures are upright, uint8 (n, 28, 28, 3), white on black; categories are ["six"] or
        ["nine"], as the file labels them or else told from the picture (`digit_names`); there are no captions.

    Raises
    ------
    InputError
        The file is absent or no such file, or another subject, a roi or an impossible fold is asked for.
    """
    if subject not in (None, SUBJECT):
        raise InputError(f"digits69 holds one subject, {SUBJECT}, not {subject}; leave the subject out.")
    digits = read_digits(path)
    if blank := [row for row, picture in enumerate(digits.pictures, start=1) if not len(_ink_positions(picture))]:
        raise InputError(
            f"Picture {blank[0]} of {len(digits.pictures)} in {file_of(path)} shows no digit ({len(blank)} such pictures); "
            "expected a six or a nine, white on black, in each: copy the file again."
        )
    chosen, rois = chosen_voxels(path, {}, roi, digits.responses.shape[1], ROI, mask)
    responses = digits.responses[:, chosen]
    check_finite(responses, str(path))
    upright, was_turned = turn_upright(digits.pictures)
    names = digit_names(upright) if digits.names is None else digits.names
    images = np.repeat(np.rint(upright * 255).astype(np.uint8)[..., None], 3, axis=-1)
    if fold is None:
        test = last_of_each_class(names) if digits.n_train is None else np.arange(len(images)) >= digits.n_train
    else:
        part, n_parts = _checked_fold(fold, names)
        test = fold_of(names, n_parts) == part
    ids = np.array([f"digit{number:03d}" for number in range(1, len(images) + 1)])
    splits = {
        name: Split(
            betas=ResponsesOf(responses[rows]),
            trial_stimulus_ids=ids[rows],
            images=images[rows],
            categories=[[name] for name in names[rows]],
        )
        for name, rows in {"train": ~test, "test": test}.items()
    }
    notes = [
        "one response per picture, so there is no noise ceiling",
        "no captions in this dataset",
        f"{(names == 'six').sum()} sixes and {(names == 'nine').sum()} nines, "
        + (
            "told from the pictures (a six has its ink low, a nine high) as the file has no labels"
            if digits.names is None
            else "as the file labels them"
        ),
        "no regions are named in the file: its voxels are from V1 to V3",
    ]
    if digits.n_train is None and fold is None:
        notes.append(f"the file has no split: the last tenth of each class, {test.sum()} digits, is tested")
    if was_turned:
        notes.append("the pictures lie on their side in the file and were turned upright")
    return Subject(
        name=SUBJECT,
        dataset="digits69",
        source=f"digits69:{path}",
        splits=splits,
        roi=roi or ROI,
        rois=rois,
        fingerprint=stimulus_fingerprint("digits69", splits),
        notes=notes,
        details={"n_trials": len(images)} | ({} if fold is None else {"fold": list(fold)}),
        caption_choices=CAPTION_CHOICES,
    )


def last_of_each_class(names):
    """Mask of the last tenth of each class, one digit at least, (n,) bool."""
    tested = np.zeros(len(names), dtype=bool)
    for name in np.unique(names):
        own = np.flatnonzero(names == name)
        tested[own[-max(1, len(own) // TESTED) :]] = True
    return tested


def turn_upright(pictures):
    """Exchange rows and columns when the digits lie on their side: a six or a nine is taller than it is wide.

    Parameters
    ----------
    pictures : array of shape (n, size, size), 0 to 1

    Returns
    -------
    upright : array of shape (n, size, size)
    was_turned : bool
    """
    spreads = [np.std(_ink_positions(picture), axis=0) for picture in pictures]
    tall, wide = np.mean(spreads, axis=0)
    return (pictures.transpose(0, 2, 1), True) if wide > tall else (pictures, False)


def digit_names(pictures):
    """Tell sixes from nines: the loop, and with it most of the ink, lies low in a six and high in a nine.

    Parameters
    ----------
    pictures : array of shape (n, size, size), 0 to 1, upright

    Returns
    -------
    names : array of str, shape (n,)
        "six" or "nine": whether the mean row of the ink is below the middle of the rows that it spans.
    """
    names = []
    for picture in pictures:
        rows = _ink_positions(picture)[:, 0]
        names.append("six" if rows.mean() > (rows.min() + rows.max()) / 2 else "nine")
    return np.array(names)


def _ink_positions(picture):
    """(row, column) of the pixels of the digit itself, leaving single specks at the rim aside."""
    inked = picture > 0.5
    neighbours = np.zeros(picture.shape, dtype=int)
    padded = np.pad(inked, 1)
    for row in range(3):
        for column in range(3):
            neighbours += padded[row : row + len(picture), column : column + len(picture)]
    return np.argwhere(inked & (neighbours > 2))


def fold_of(names, n_folds):
    """Part of each item, (n,) int from 0: the items of a class are dealt to the parts in turn.

    The deal goes on from class to class, so that the parts differ by one item at most.
    """
    part = np.empty(len(names), dtype=int)
    order = np.concatenate([np.flatnonzero(names == name) for name in np.unique(names)])
    part[order] = np.arange(len(names)) % n_folds
    return part


def _checked_fold(fold, names):
    """The part to test and the number of parts, once they can be made."""
    k, n = checked_fold(fold)
    smallest_class = min(np.unique(names, return_counts=True)[1])
    if n > smallest_class and n != len(names):
        raise InputError(
            f"{n} folds of {len(names)} digits cannot be made; choose "
            + (f"2 to {smallest_class} folds, or " if smallest_class > 1 else "")
            + f"{len(names)} to leave out one at a time."
        )
    return k, n


def files(path, subject=None):
    """The one file."""
    where = f"pictures and responses, called {', '.join(NAMES[:3])} in public copies"
    return [ExpectedFile(file_of(path) if visible(path, "*.mat") else path, where)]


FOLD = Option("fold", "(k, n): test part k of n parts of all digits, each with as many sixes as nines")
register("digits69", DatasetOf(DESCRIPTION, subjects, load, files, (FOLD, OWN_MASK)))
