"""The autoencoder with a codebook of latent diffusion, "VQ-f4" (Rombach and others, 2022), from CompVis' file or a folder."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import VQModel

from stages.checkpoints.single_file import SingleFile, is_single_file
from stages.checkpoints.single_file_names import AUTOENCODER, vq_places
from stages.checkpoints.strict_loading import load_strictly, outlined

VQ_CONFIG = {
    "sample_size": 256,
    "block_out_channels": (128, 256, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "layers_per_block": 2,
    "latent_channels": 3,
    "vq_embed_dim": 3,
    "num_vq_embeddings": 8192,
    "scaling_factor": 1.0,
}


def load_vq(folder, dtype=torch.float32):
    """Load the autoencoder of a folder strictly.

    >>> from weights import store
    >>> load_vq(store.path("tiny-label2img")).config.num_vq_embeddings
    256

    Parameters
    ----------
    folder : path
        Holds diffusers' ``vae/``; or one safetensors file of CompVis with ``first_stage_model.*``, perhaps with
        ``vae/config.json`` if the network is another than the published one.
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
    if is_single_file(folder):
        return read_vq(SingleFile(folder), folder, dtype)
    return load_strictly(VQModel, folder / "vae", dtype)


def read_vq(file, folder, dtype):
    """Read it from an open `SingleFile`."""
    vae = outlined(VQModel, folder / "vae", VQ_CONFIG)
    return file.fill(vae, vq_places(vae.config, vae.state_dict()), dtype, AUTOENCODER)
