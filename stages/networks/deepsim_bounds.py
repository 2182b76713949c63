"""The range of each input of a generator, which a search keeps to.

Nguyen and others (2016) published them for layers of Caffe's reference network, ``act_range/3x/fc7.txt``: mean and three standard
deviations of each unit over pictures, as whole numbers. Some layers of maps have one number for each channel.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch

from weights.manifest import CheckpointError

FOLDER = "act_range/3x"


def bounds_file(folder):
    """Return the file of ranges in a generator's folder, whichever layer it is named after.

    >>> from pathlib import Path
    >>> Path("one/act_range/3x").mkdir(parents=True)
    >>> _ = Path("one/act_range/3x/pool5.txt").write_text("16 82")
    >>> bounds_file("one").name
    'pool5.txt'

    Parameters
    ----------
    folder : path

    Raises
    ------
    CheckpointError
        There is none, or there are several.
    """
    found = sorted((Path(folder) / FOLDER).glob("*.txt"))
    if len(found) != 1:
        raise CheckpointError(
            f"{Path(folder) / FOLDER} holds {len(found)} files of ranges ({', '.join(path.name for path in found) or 'none'}); "
            "expected the one of the generator's own layer, such as fc7.txt: fetch the checkpoint again."
        )
    return found[0]


def read_bounds(path, shape):
    """Read the largest value that a search may give each input of a generator.

    >>> from pathlib import Path
    >>> _ = Path("fc7.txt").write_text("3 2 6")
    >>> read_bounds("fc7.txt", (3,))
    tensor([3., 2., 6.])
    >>> read_bounds("fc7.txt", (3, 1, 2)).tolist()
    [[[3.0, 3.0]], [[2.0, 2.0]], [[6.0, 6.0]]]

    Parameters
    ----------
    path : path
        Numbers between spaces or lines.
    shape : tuple of int
        Of the inputs. There have to be as many numbers, or one for each channel of maps.

    Returns
    -------
    bounds : float32 tensor of this shape

    Raises
    ------
    CheckpointError
        The file is absent, holds something else than numbers of 0 or more, or another number of them.
    """
    path = Path(path)
    try:
        bounds = [float(word) for word in path.read_text(encoding="utf-8").split()]
    except FileNotFoundError:
        raise CheckpointError(f"{path} is absent; fetch the checkpoint again.") from None
    except ValueError as error:
        raise CheckpointError(f"{path} holds something else than numbers ({error}); fetch it again.") from None
    if len(bounds) not in (math.prod(shape), shape[0]) or not all(0 <= bound < float("inf") for bound in bounds):
        expected = " or ".join(f"{number:,}" for number in dict.fromkeys((math.prod(shape), shape[0])))
        raise CheckpointError(
            f"{path} holds {len(bounds):,} numbers, the least {min(bounds, default=None)}; expected {expected} of 0 or more: "
            "give the file of the generator's own layer."
        )
    found = torch.tensor(bounds, dtype=torch.float32)
    if len(bounds) == math.prod(shape):
        return found.reshape(shape)
    return found.reshape(-1, *(1,) * (len(shape) - 1)).expand(shape).contiguous()
