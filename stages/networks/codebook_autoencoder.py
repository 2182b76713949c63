"""The autoencoder with a codebook of latent diffusion, "VQ-f4" (Rombach and others, 2022), from CompVis' file or a folder."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import VQModel

from stages.checkpoints.single_file import SingleFile, is_single_file
from stages.checkpoints.single_file_names import AUTOENCODER, vq_places
from stages.checkpoints.strict_loading import load_strictly, outlined


def load_vq(folder, dtype=torch.float32):
    """Load the autoencoder of a folder strictly.

    >>> from weights import store
    >>> load_vq(store.path("tiny-label2img")).config.num_vq_embeddings
    256

    Parameters
    ----------
    folder : path
        Holds diffusers' ``vae/``; or one safetensors file of CompVis with ``first_stage_model.*``, and ``vae/config.json``.
    dtype : torch.dtype

    Returns
    -------
    diffusers.VQModel

    Raises
    ------
    CheckpointError
        A file is absent or damaged, or a tensor missing, unexpected or misshapen.
    """
    folder = Path(folder)
    if is_single_file(folder, "vae"):
        return read_vq(SingleFile(folder), folder, dtype)
    return load_strictly(VQModel, folder / "vae", dtype)


def read_vq(file, folder, dtype):
    """Read it from an open `SingleFile`."""
    vae = outlined(VQModel, folder / "vae")
    return file.fill(vae, vq_places(vae.config, vae.state_dict()), dtype, AUTOENCODER)
