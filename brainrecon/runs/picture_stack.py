"""Pictures in one array of a file, as other toolkits save their reconstructions: `.npy`, or a tensor in `.pt`."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path

from stages.ground.errors import InputError
from stages.ground.picture_stack import PictureStack
from stages.ground.reading.numpy_files import read_npy
from weights.contents import why_no_tensors
from weights.torchscript import check_archive

STACKS = (".npy", ".pt", ".pth")


def read_stack(path):
    """The pictures of a `.npy` or `.pt` file; nothing is unpickled.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    PictureStack

    Raises
    ------
    InputError
        The file is absent, damaged, holds anything but one array, or `PictureStack` refuses the array.
    """
    path = Path(path)
    return PictureStack(read_npy(path, mapped=True) if path.suffix == ".npy" else _tensor(path), path)


def _tensor(path):
    import torch

    again = f"save it again with torch.save(pictures, {path.name!r})"
    try:
        with warnings.catch_warnings():
            # PyTorch's own remarks on how a file was pickled.
            warnings.simplefilter("ignore")
            # Files of before PyTorch 1.6 cannot be mapped, and those that somebody has packed again are not.
            mapped = check_archive(path) if _is_zip(path) else False
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (
        pickle.UnpicklingError, RuntimeError, ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        told = why_no_tensors(path, error)
        raise InputError(f"{path} cannot be read as a tensor and nothing else ({told}); {again}.") from None
    if not isinstance(content, torch.Tensor):
        held = (
            f"a dictionary of {', '.join(map(str, content))}"
            if isinstance(content, dict)
            else f"a {type(content).__name__}"
        )
        raise InputError(f"{path} holds {held}; expected one tensor of pictures: {again}.")
    return content.detach()


def _is_zip(path):
    with open(path, "rb") as file:
        return file.read(2) == b"PK"
