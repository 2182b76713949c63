"""A small latent diffusion model on a codebook's latents, random, in diffusers' layout, of pictures of 64 pixels."""

from pathlib import Path

import torch
from diffusers import PNDMScheduler, UNet2DConditionModel, VQModel

WIDTH, ADDED = 24, 32
UNET = {
    "sample_size": 16,
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": (8, 16),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "attention_head_dim": 1,
    "cross_attention_dim": WIDTH,
    "class_embed_type": "identity",
    "norm_num_groups": 4,
}
VQ = {
    "sample_size": 64,
    "block_out_channels": (8, 8, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "layers_per_block": 1,
    "latent_channels": 3,
    "vq_embed_dim": 3,
    "num_vq_embeddings": 32,
    "norm_num_groups": 4,
    "scaling_factor": 1.0,
}
SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.0015,
    "beta_end": 0.0195,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "set_alpha_to_one": False,
}


def save_label2img(folder, seed=0):
    """Write ``unet/``, ``vae/`` and ``scheduler/`` below a folder, and return it."""
    folder = Path(folder)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        UNet2DConditionModel(**UNET).save_pretrained(folder / "unet")
        VQModel(**VQ).save_pretrained(folder / "vae")
    PNDMScheduler(**SCHEDULE).save_pretrained(folder / "scheduler")
    return folder
