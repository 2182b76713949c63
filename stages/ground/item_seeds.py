"""Random numbers that depend on a name alone: not on batch size, order, or how the work was divided.

The one way from seed, stimulus and sample to a generator. The seed is the first eight bytes (big-endian) of the sha256
of a name; the name of an item is ``seed/stimulus_id/sample``.

torch is imported when a torch generator is asked for, and not before.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def item_name(seed: int, stimulus_id: str, sample: int) -> str:
    """Return the name that the noise of an item depends on: ``seed/stimulus_id/sample``.

    >>> item_name(0, "nsd00042", 1)
    '0/nsd00042/1'
    """
    return f"{seed}/{stimulus_id}/{sample}"


def item_generator(seed: int, stimulus_id: str, sample: int) -> torch.Generator:
    """Return the torch generator of one item.

    >>> item_generator(0, "nsd00042", 1).initial_seed() == name_seed("0/nsd00042/1")
    True

    Parameters
    ----------
    seed : int
        The run's seed.
    stimulus_id : str
        For example "nsd00042".
    sample : int
        Which of several outputs for this stimulus, from 0.

    Returns
    -------
    generator : torch.Generator
        On the CPU, so that the noise is the same whatever device computes with it.
    """
    return named_generator(item_name(seed, stimulus_id, sample))


def numpy_generator(seed: int, stimulus_id: str, sample: int) -> np.random.Generator:
    """Return the numpy generator of one item; arguments as in `item_generator`.

    >>> first, again = numpy_generator(0, "nsd00042", 1), numpy_generator(0, "nsd00042", 1)
    >>> first.random() == again.random()
    True
    """
    return named_numpy_generator(item_name(seed, stimulus_id, sample))


def named_generator(name: str | bytes) -> torch.Generator:
    """Return the torch generator of a name of any form, on the CPU.

    >>> named_generator("0/training").initial_seed() == name_seed("0/training")
    True

    Parameters
    ----------
    name : str or bytes
        Bytes if the random numbers depend on a content, such as that of a picture.
    """
    import torch

    return torch.Generator(device="cpu").manual_seed(name_seed(name))


def named_numpy_generator(name: str | bytes) -> np.random.Generator:
    """Return the numpy generator of a name of any form, str or bytes.

    >>> named_numpy_generator("0/nsd00042").standard_normal(3).shape
    (3,)
    """
    return np.random.default_rng(name_seed(name))


def name_seed(name: str | bytes) -> int:
    """Return the seed of a name: the first eight bytes of its `name_digest` as a whole number.

    >>> name_seed("7/nsd00042/1")
    15209956242701265787
    """
    return int.from_bytes(name_digest(name)[:8], "big")


def name_digest(name: str | bytes) -> bytes:
    """Return the sha256 of a name, str (in UTF-8) or bytes, as 32 bytes.

    >>> name_digest("0/nsd00042/0").hex()[:8]
    '8098fb3b'
    """
    return hashlib.sha256(name.encode() if isinstance(name, str) else name).digest()
