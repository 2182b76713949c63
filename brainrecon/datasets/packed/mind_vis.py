"""Generic object decoding (Horikawa and Kamitani 2017) as the `.npz` files that MinD-Vis and others pass on.

Kamitani/npz/
  sbj_1.npz                     arr_0 (n_train, n_voxels) training responses, one per trial
                                arr_1 (n_test_trials, n_voxels) test responses, one per trial
                                arr_2 (n_test, n_voxels) their averages, a row per test picture
                                arr_3 (n_train,) row of train_images shown on each training trial, from 0
                                arr_4 (n_test_trials,) row of test_images shown on each test trial, from 0
                                arr_5, arr_6 (n_voxels,) noise ceiling and signal-to-noise ratio: not used
                                V1, V2, ... VC (n_voxels,) bool, regions
  images_256.npz                train_images, test_images (n, 256, 256, 3) float, 0 to 1
  imagenet_training_label.csv   a line per row of train_images: WordNet number.image, file name      optional
  imagenet_testing_label.csv    the same for test_images                                             optional
  imagenet_class_index.json     {class: [WordNet ids ..., name]}                                     optional

MinD-Vis' ``dataset.py`` uses arr_0 to arr_3 and the regions; its authors took the files from SelfSuperReconst, whose
``utils/datasets.py`` names arr_0 to arr_6. What is unsure: the unit of arr_5, so it is not used; and whether a given
copy has arr_4, without which only the averages can be told apart and are taken as the test responses.
"""

import csv
import re
from functools import cached_property
from pathlib import PurePath

import numpy as np

from brainrecon.datasets.dataset import ExpectedFile
from brainrecon.datasets.own_mask import chosen_voxels
from brainrecon.datasets.packed.files import BLOCK_BYTES, as_uint8, check_pictures, find_subjects, pictures_of
from brainrecon.datasets.responses import ResponsesOf
from brainrecon.datasets.split import Split, check_finite
from brainrecon.datasets.subject import Subject, stimulus_fingerprint
from stages.ground.errors import InputError
from stages.ground.lazy_rows import LazyRows
from stages.ground.listing import visible
from stages.ground.reading.json_files import read_json
from stages.ground.reading.numpy_files import npz_file
from stages.ground.reading.wall import one_line

NAME = "MinD-Vis"
EXAMPLE = "Kamitani/npz/sbj_1.npz with images_256.npz"
DEFAULT_ROI, ALL = "VC", "all"


def find(path):
    """Subjects below `path`: dict of name to the subject's file."""
    folders = ("", "npz/", "Kamitani/npz/", "data/Kamitani/npz/")
    found = find_subjects(path, folders, r"(?i:sbj|sub|subj|subject)[-_]?(?P<number>\d+)\.npz")
    return {subject: files[0] for subject, files in found.items()}


def load(file, subject, roi, source, mask=None):
    """Load one subject; parameters as `brainrecon.datasets.packed.reader.load` has found them."""
    content, rois = read_subject(file)
    roi = roi or (DEFAULT_ROI if DEFAULT_ROI in rois else ALL)
    chosen, rois = chosen_voxels(file, rois, roi, content["arr_0"].shape[1], ALL, mask)
    notes = [
        "a copy of GOD in the .npz files that MinD-Vis passes on; the scale of the responses is that of the copy",
        "no captions in this layout",
        "no noise ceiling: the unit of the one in the file is not documented",
    ]
    trials = {"train": (content["arr_0"], content["arr_3"]), "test": _test_trials(file, content, notes)}
    pictures = pictures_file(file)
    splits = {name: _make_split(name, *part, chosen, pictures, file, notes) for name, part in trials.items()}
    return Subject(
        name=subject,
        dataset="packed",
        source=source,
        splits=splits,
        roi=roi,
        rois=rois,
        fingerprint=stimulus_fingerprint("packed", splits, layout=NAME),
        notes=notes,
        details={"layout": NAME, "pictures": pictures.name, "n_trials": sum(len(rows) for _, rows in trials.values())},
    )


def files(path, subject=None):
    """The files of one subject."""
    found = find(path)
    subject = subject or next(iter(found), "subj01")
    file = found.get(subject, path / f"sbj_{subject.removeprefix('subj').lstrip('0')}.npz")
    try:
        pictures = pictures_file(file)
    except InputError:
        pictures = file.parent / "images_256.npz"
    return [
        ExpectedFile(file, "responses, which picture each shows, and regions"),
        ExpectedFile(pictures, "train_images and test_images (n, 256, 256, 3)"),
        ExpectedFile(file.parent / "imagenet_training_label.csv", "names of the training pictures", optional=True),
        ExpectedFile(file.parent / "imagenet_testing_label.csv", "names of the test pictures", optional=True),
        ExpectedFile(file.parent / "imagenet_class_index.json", "names of the categories", optional=True),
    ]


def read_subject(path):
    """Arrays of a subject's file that are used, once their shapes agree.

    Returns
    -------
    content : dict of str to array
        ``arr_0`` to ``arr_4`` as far as they are there: responses float32, rows int.
    rois : dict of str to bool array of shape (n_voxels,)
        Those that hold a voxel.
    """
    with npz_file(path, "copy it again") as archive:
        content = {name: archive.read(name) for name in archive.names}
    absent = [name for name in ("arr_0", "arr_2", "arr_3") if name not in content]
    if absent:
        raise InputError(f"{path} has no {', '.join(absent)} but {', '.join(content) or 'nothing'}; copy it again.")
    regions = {name: values for name, values in content.items() if not name.startswith("arr_")}
    n_voxels = content["arr_0"].shape[-1:]
    # What each may hold, and how many: None stands for any number.
    layout = {name: ("fiu", (None, *n_voxels)) for name in ("arr_0", "arr_1", "arr_2")}
    layout["arr_3"] = ("iu", content["arr_0"].shape[:1])
    layout["arr_4"] = ("iu", content["arr_1"].shape[:1] if "arr_1" in content else (None,))
    for name, (kinds, shape) in (layout | dict.fromkeys(regions, ("b", n_voxels))).items():
        if name in content and not _fits(content[name], kinds, shape):
            raise InputError(
                f"{name} of {path} is {content[name].dtype} {content[name].shape} and arr_0 {content['arr_0'].shape}; "
                "expected responses (n, n_voxels) in arr_0 to arr_2, a row number per trial in arr_3 and arr_4, and a "
                "bool per voxel in each region: copy it again."
            )
    used = {name: content[name] for name in layout if name in content}
    for name in ("arr_0", "arr_1", "arr_2"):
        if name in used:
            used[name] = used[name].astype(np.float32)
            check_finite(used[name], f"{name} of {path}")
    return used, {name: mask for name, mask in regions.items() if mask.any()}


def _fits(values, kinds, shape):
    sizes_fit = len(values.shape) == len(shape) and all(want in (None, size) for size, want in zip(values.shape, shape))
    return sizes_fit and 0 not in values.shape and values.dtype.kind in kinds


def _test_trials(file, content, notes):
    """Test responses and the row of test_images of each: single trials where the file tells which are which."""
    averages = content["arr_2"]
    if "arr_1" not in content or "arr_4" not in content:
        notes.append("test responses are averages over repeats: the file does not say which trial showed which picture")
        return averages, np.arange(len(averages))
    responses, rows = content["arr_1"], content["arr_4"]
    if rows.min() < 0 or rows.max() >= len(averages):
        raise InputError(
            f"arr_4 of {file} runs from {rows.min()} to {rows.max()} but arr_2 has {len(averages):,} rows, counted from "
            "0; copy it again."
        )
    sums = np.zeros(averages.shape)
    np.add.at(sums, rows, responses)
    means = sums / np.maximum(np.bincount(rows, minlength=len(averages)), 1)[:, None]
    if not np.allclose(means, averages, rtol=1e-3, atol=1e-3 * averages.std()):
        notes.append("test averages in the file (arr_2) are not those of its single trials (arr_1), which are used")
    return responses, rows


def _make_split(name, responses, rows, chosen, pictures, file, notes):
    shown = rows[np.sort(np.unique(rows, return_index=True)[1])]
    stored = NpzPictures(pictures, f"{name}_images")
    images = pictures_of(stored, pictures, shown)
    labels = read_labels(file.parent / f"imagenet_{name}ing_label.csv", len(stored))
    if labels is None:
        notes.append(f"{name} pictures are named after their rows: there is no imagenet_{name}ing_label.csv")
    ids = [f"{name}{row:05d}" if labels is None else labels[row][1] for row in rows]
    names = read_class_names(file.parent / "imagenet_class_index.json") if labels else None
    categories = names and [[names.get(labels[row][0], f"n{labels[row][0]:08d}")] for row in shown]
    return Split(ResponsesOf(responses[:, chosen]), ids, images=images, categories=categories)


def pictures_file(file):
    """``images_256.npz`` or the like next to a subject's file; the one of the largest pictures."""
    sizes = {path: re.fullmatch(r"images_(\d+)\.npz", path.name) for path in visible(file.parent, "images_*.npz")}
    sizes = {path: int(match[1]) for path, match in sizes.items() if match}
    if not sizes:
        raise InputError(
            f"There is no images_256.npz in {file.parent}, which belongs with {file.name}; copy it to this place."
        )
    return max(sizes, key=sizes.get)


def read_labels(path, n_pictures):
    """(WordNet number, file name without its ending) of every picture; None without the file."""
    if not path.is_file():
        return None
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        rows = [row for row in csv.reader(file) if row]
    try:
        labels = [(int(row[0].split(".")[0]), PurePath(row[1].strip()).stem) for row in rows]
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{path} has a line that is not 'number.image,file name' ({one_line(error)}); copy it again."
        ) from error
    if len(labels) != n_pictures or len({name for _, name in labels}) != n_pictures:
        raise InputError(
            f"{path} names {len({name for _, name in labels}):,} pictures but there are {n_pictures:,}; "
            "take labels and pictures from the same source."
        )
    for line, (number, name) in enumerate(labels, start=1):
        if not name.startswith(f"n{number:08d}_"):
            raise InputError(
                f"Line {line:,} of {path} names '{name}' a picture of n{number:08d}; expected 'n{number:08d}_...': copy it again."
            )
    return labels


def read_class_names(path):
    """WordNet number to the name of its class; None without the file."""
    if not path.is_file():
        return None
    try:
        if not (table := read_json(path, dict, "copy it again")):
            raise ValueError("it is empty")
        return {int(word[1:]): entry[-1] for entry in table.values() for word in entry[:-1]}
    except InputError:
        raise
    except (ValueError, AttributeError, TypeError, IndexError) as error:
        raise InputError(
            f"{path} is no table of classes, WordNet ids and names ({one_line(error)}); copy it again."
        ) from error


class NpzPictures(LazyRows):
    """Pictures of an `.npz` file, uint8 or real numbers from 0 to 1: decoded to uint8 at the first read and kept.

    A member of a zip archive may be compressed, so rows cannot be reached one by one. 1,200 pictures of 256 pixels
    take 0.2 GB as uint8, an eighth of the file; they pass in blocks.

    Parameters
    ----------
    path : pathlib.Path
    name : str
        Of the array.
    """

    takes_any_order = True

    def __init__(self, path, name):
        self.path, self.name = path, name
        with npz_file(path, "copy the file again") as archive:
            if name not in archive.names:
                raise InputError(
                    f"{path} has no {name} but {', '.join(archive.names) or 'nothing'}; copy the file again."
                )
            shape, _, self._stored = archive.header(name)
        check_pictures(shape, self._stored, path, white=1)
        super().__init__(shape, np.uint8)

    def _read(self, rows):
        return self._pictures[rows]

    @cached_property
    def _pictures(self):
        pictures = np.empty(self.shape, dtype=np.uint8)
        row_bytes = self._stored.itemsize * int(np.prod(self.shape[1:]))
        n_rows = max(1, BLOCK_BYTES // max(1, row_bytes))
        with npz_file(self.path, "copy the file again") as archive:
            done = 0
            for block in archive.blocks(self.name, n_rows):
                pictures[done : done + len(block)] = as_uint8(block, 1, self.path)
                done += len(block)
        return pictures
