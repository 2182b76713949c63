"""A memory of labelled pictures: features of many pictures, whose classes are known, to name what is near to them.

    FOLDER/
      n01440764.safetensors, ...    features of a class's pictures, (n, n_values), as `embedding_bank` reads them
      labels.txt                    a label for each row of all files, in the order of their names

Ferrante and others (2022) have 500 pictures of each of ImageNet's classes in theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.ground.checks import Number, check
from stages.ground.class_labels import labelled, read_labels
from stages.ground.errors import InputError
from stages.ground.listing import visible
from stages.ground.media import PICTURE
from stages.ground.progress import SILENT, Progress
from stages.priors.embedding_bank import Bank, RowBank, bank_of_folder
from stages.priors.memory import MemoryPrior
from weights.whole_files import make_folder, whole_file, write_text

LABELS_FILE = "labels.txt"
_PICTURES = (".jpeg", ".jpg", ".png", ".bmp", ".tif", ".tiff")


class LabelMemory:
    """Labels of the pictures whose features are nearest by Euclidean distance.

    >>> rows = np.array([[0, 0], [1, 0], [9, 9]], np.float32)
    >>> memory = LabelMemory(RowBank([rows]), ["boat", "fish", "cat"], n=2)
    >>> memory.nearest(np.array([[0.9, 0.1], [20.0, 20.0]]))
    [['fish', 'boat'], ['cat', 'fish']]

    Parameters
    ----------
    bank : stages.priors.embedding_bank.Bank
        A row for each picture.
    labels : sequence of str
        One for each row of the bank.
    n : int
        Neighbours.

    Raises
    ------
    InputError
        There are more or fewer labels than rows, or more neighbours are asked for than there are rows.
    """

    def __init__(self, bank: Bank, labels: Sequence[str], n: int = 5) -> None:
        if len(labels) != bank.shape[0]:
            raise InputError(
                f"{bank.where} has {bank.shape[0]:,} rows but {len(labels):,} labels; give one for each, in their order."
            )
        self._labels, self._memory = list(labels), MemoryPrior(bank, n, measure="euclidean")

    def nearest(self, queries: NDArray[Any]) -> list[list[str]]:
        """Return the labels of the nearest pictures of each query (n, n_values), the nearest first."""
        rows, _ = self._memory.nearest(queries)
        return [[self._labels[row] for row in own] for own in rows.tolist()]


def open_label_memory(folder: str | Path, n: int = 5) -> LabelMemory:
    r"""Open a folder of labelled features; only what is looked at is read.

    >>> folder = getfixture("tmp_path")
    >>> np.save(folder / "drawn.npy", np.eye(2, dtype=np.float32))
    >>> _ = (folder / "labels.txt").write_text("boat\nfish\n")
    >>> open_label_memory(folder, n=1).nearest(np.array([[0.1, 0.8]]))
    [['fish']]

    Parameters
    ----------
    folder : path
        As above.
    n : int
        Neighbours.

    Raises
    ------
    InputError
        Features or labels are absent or damaged, or there are not as many of the one as of the other.
    """
    bank: RowBank = bank_of_folder(folder)
    return LabelMemory(bank, read_labels(Path(folder) / LABELS_FILE, bank.shape[0], "rows of features"), n)


def write_label_memory(
    pictures: str | Path, target: Any, folder: str | Path, *, per_class: int = 500, progress: Progress = SILENT
) -> int:
    """Encode labelled pictures into a folder; what an interrupted call has written is not encoded again.

    >>> from PIL import Image
    >>> place = getfixture("tmp_path")
    >>> for name, grey in (("n02951358", 9), ("boat", 99)):
    ...     (place / "pictures" / name).mkdir(parents=True)
    ...     Image.new("RGB", (8, 8), (grey, grey, grey)).save(place / "pictures" / name / "a.png")
    >>> class Brightness:
    ...     def encode(self, pictures):
    ...         return pictures.mean(axis=(1, 2, 3))[:, None]
    >>> write_label_memory(place / "pictures", Brightness(), place / "memory", per_class=500)
    2
    >>> open_label_memory(place / "memory", n=1).nearest(np.array([[20.0]]))
    [['n02951358 canoe']]

    Parameters
    ----------
    pictures : path
        A folder for each class, named by its label or its synset, ``n01440764``.
    target : object
        ``encode(pictures) -> (n, n_values)``, such as `stages.targets.class_features.ClassFeatures`.
    folder : path
        Made if it is not there. It should belong to one target.
    per_class : int
        Pictures of each class, the first by name.
    progress : callable, optional
        Called as ``progress("encode labelled pictures", classes done, classes)``.

    Returns
    -------
    n : int
        Pictures in the memory.

    Raises
    ------
    InputError
        There are no folders with pictures, or a picture is damaged.
    """
    from safetensors.numpy import save_file

    check("per_class", per_class, Number(1, whole=True, example=500))
    folder, classes = Path(folder), [one for one in visible(Path(pictures)) if one.is_dir()]
    found = {one.name: [file for file in visible(one) if file.suffix.lower() in _PICTURES] for one in sorted(classes)}
    found = {name: files[:per_class] for name, files in found.items() if files}
    if not found:
        raise InputError(f"{pictures} holds no folders of pictures; make one for each class, such as n01440764.")
    make_folder(folder)
    labels: list[str] = []
    for number, (name, files) in enumerate(found.items()):
        path = folder / f"{name}.safetensors"
        if not path.exists():
            # One by one: they differ in size, and a row does not depend on its neighbours.
            rows = [np.asarray(target.encode(PICTURE.read(file)[None]), np.float32).reshape(-1) for file in files]
            with whole_file(path) as partial:
                save_file({"features": np.stack(rows)}, partial)
        labels += [labelled(name)] * len(files)
        progress("encode labelled pictures", number + 1, len(found))
    write_text(folder / LABELS_FILE, "\n".join(labels) + "\n")
    return len(labels)
