"""The files in which the authors of MindEye2 released its networks, and how they are read."""

from __future__ import annotations


def released_network():
    """How a file of the authors is read, `stages.decoders.released.Released`.

    >>> released_network().voxels
    'ridge.linears.{}.weight'
    """
    from stages.decoders.released import Released

    return Released("ridge.linears.{}.weight", _with_checked_noise)


def _with_checked_noise(tensors):
    """Tensors of the authors' file without the tables of the prior's noise process, which have to be ours."""
    from stages.priors.noise_process import NoiseProcess
    from stages.priors.published_noise import PREFIX, without_noise_tables

    return without_noise_tables(tensors, NoiseProcess(), f"diffusion_prior.{PREFIX}")
