"""The noise of a picture depends on the picture alone."""

import hashlib

import torch


def item_generator(seed, stimulus_id, sample):
    """Return the random generator of one picture.

    It is a CPU generator, so that the noise is the same whatever device computes with it, and it depends on nothing
    but its three arguments: not on batch size, order, or how the work was divided.

    Parameters
    ----------
    seed : int
        The run's seed.
    stimulus_id : str
        For example "nsd00042".
    sample : int
        Which of several pictures of this stimulus, from 0.

    Returns
    -------
    generator : torch.Generator
        On the CPU, seeded with the first eight bytes (big-endian) of the sha256 of ``seed/stimulus_id/sample``.
    """
    digest = hashlib.sha256(f"{seed}/{stimulus_id}/{sample}".encode()).digest()
    return torch.Generator(device="cpu").manual_seed(int.from_bytes(digest[:8], "big"))
