"""The `.mat` file of the handwritten digits of van Gerven, de Lange and Heskes (2010), in the three forms that go round.

69dataset_split.mat   x_train (80, 28, 28, 1), x_test (20, 28, 28, 1), y_train (80, 3092), y_test (20, 3092): the copy of
                      the BRAIN-TO/CapsNet repository
69dataset.mat         X (100, 784), Y (100, 3092), labels (100, 1) of 1, six, and 2, nine: no split
digit69_28x28.mat     stimTrn (90, 784), stimTest (10, 784), fmriTrn (90, 3092), fmriTest (10, 3092): the copy of Du's DGMM

y, Y and fmri are responses; pictures are in 0..1, or whole numbers of 0 to 255. They lie on their side in these files, as
MATLAB wrote them. The forms have the digits in different orders.
"""

from dataclasses import dataclass

import numpy as np

from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.reading.matlab_files import read_mat

NAMES = ("69dataset_split.mat", "69dataset.mat", "digit69_28x28.mat", "digits69.mat")
"""What the file is called in public copies, and in the examples here."""
SPLIT_FORMS = (("x_train", "y_train", "x_test", "y_test"), ("stimTrn", "fmriTrn", "stimTest", "fmriTest"))
WHOLE_FORM = ("X", "Y")
LABELS = {1: "six", 2: "nine"}


@dataclass(frozen=True, eq=False)
class Digits:
    """What the file holds.

    Attributes
    ----------
    pictures : array of shape (n, size, size), float32, 0 to 1
        As they lie in the file.
    responses : array of shape (n, n_voxels), float32
    n_train : int or None
        The first so many rows are for training; None if the file does not say.
    names : array of str, shape (n,), or None
        "six" or "nine", if the file says so.
    """

    pictures: np.ndarray
    responses: np.ndarray
    n_train: int | None
    names: np.ndarray | None


def read_digits(path):
    """The `Digits` of the `.mat` file, training rows first, whichever of its three forms it has.

    Parameters
    ----------
    path : pathlib.Path
        The file, or its folder.

    Raises
    ------
    InputError
        The file is absent, damaged, or has none of the three forms.
    """
    path = file_of(path)
    if not path.is_file():
        raise InputError(f"There is no file {path}; give the .mat file of the digits, as digits69:FILE.")
    content = {name: value for name, value in read_mat(path).items() if np.ndim(value)}
    forms = (*SPLIT_FORMS, WHOLE_FORM)
    # The form of which most is there: what is missing of it is told.
    form = max(forms, key=lambda names: sum(name in content for name in names) / len(names))
    found = {name: content[name].shape for name in form if name in content}
    sets = [_square(content[name]) if name in content else None for name in form[::2]]
    answers = [content.get(name) for name in form[1::2]]
    fits = all(
        pictures is not None
        and responses is not None
        and responses.dtype.kind in "biuf"
        and responses.ndim == 2
        and len(responses) == len(pictures)
        for pictures, responses in zip(sets, answers)
    )
    if not fits or len({pictures.shape[1] for pictures in sets}) > 1 or len({each.shape[1] for each in answers}) > 1:
        raise InputError(
            f"{path} holds {', '.join(f'{name} {shape}' for name, shape in found.items()) or 'none'} of "
            f"{', '.join(form)}; expected square pictures (n, size, size, 1) or (n, size * size), and responses (n, voxels): "
            "copy the file again."
        )
    return Digits(
        _in_unit_range(np.concatenate(sets), path),
        np.concatenate(answers).astype(np.float32),
        None if form == WHOLE_FORM else len(sets[0]),
        _labelled(content, path, len(sets[0])) if form == WHOLE_FORM else None,
    )


def file_of(path):
    """The file of a folder; any other path as it is."""
    if not path.is_dir():
        return path
    found = [path / name for name in NAMES if (path / name).is_file()] or visible(path, "*.mat")
    if len(found) != 1:
        listed = ", ".join(file.name for file in found) or f"none of {', '.join(NAMES)}"
        raise InputError(f"{path} holds {listed}; give the .mat file of the digits itself, as digits69:FILE.")
    return found[0]


def _square(values):
    """Pictures as (n, size, size), or None if they are not square, or no numbers."""
    if values.dtype.kind not in "biuf":
        return None
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    side = round(values.shape[1] ** 0.5) if values.ndim == 2 else 0
    if side and side**2 == values.shape[1]:
        values = values.reshape(-1, side, side)
    return values if values.ndim == 3 and values.shape[1] == values.shape[2] else None


def _in_unit_range(pictures, path):
    """Pictures as float32 in 0 to 1, of such numbers or of whole numbers up to 255."""
    low, high = pictures.min(), pictures.max()
    if low >= 0 and high > 1 and high <= 255 and (pictures == np.rint(pictures)).all():
        return (pictures / np.float32(255)).astype(np.float32)
    if not (low >= 0 and high <= 1):
        raise InputError(
            f"Pictures in {path} run from {low:g} to {high:g}; expected 0 to 1, or whole numbers from 0 to 255: "
            "copy the file again."
        )
    return pictures.astype(np.float32)


def _labelled(content, path, n_digits):
    """The class of each digit by the file's own labels, or None without them."""
    if "labels" not in content:
        return None
    labels = np.ravel(content["labels"])
    if len(labels) != n_digits or not np.isin(labels, list(LABELS)).all():
        raise InputError(
            f"'labels' in {path} are {len(labels):,} values such as {labels[0] if len(labels) else 'none'}; expected 1 (six) or "
            f"2 (nine) for each of {n_digits:,} digits: copy the file again."
        )
    return np.array([LABELS[int(label)] for label in labels])
