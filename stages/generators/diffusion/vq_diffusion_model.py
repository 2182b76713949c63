"""The parts of latent diffusion on a codebook's latents, from CompVis' one file or from diffusers' folders."""

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel, VQModel

from stages.checkpoints.outlines import outlining
from stages.checkpoints.single_file import SingleFile
from stages.checkpoints.single_file_names import AUTOENCODER, UNET, unet_places, vq_places
from stages.checkpoints.strict_loading import load_strictly, read_config, refusing_values
from stages.generators.diffusion.class_labels import ClassTokens
from stages.generators.diffusion.loading import check_unet, load_unet
from stages.generators.diffusion.schedulers import make_scheduler, read_scheduler
from stages.generators.diffusion.single_file_model import is_single_file
from weights.manifest import CheckpointError

LABELS = "cond_stage_model.embedding.weight"
UNET_CONFIG = {
    "sample_size": 64,
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": (192, 384, 576, 960),
    "down_block_types": ("DownBlock2D", *("CrossAttnDownBlock2D",) * 3),
    "up_block_types": (*("CrossAttnUpBlock2D",) * 3, "UpBlock2D"),
    "layers_per_block": 2,
    # diffusers calls the number of heads so.
    "attention_head_dim": 1,
    "cross_attention_dim": 512,
    "class_embed_type": "identity",
}
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
SCHEDULE = {
    "_class_name": "PNDMScheduler",
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.0015,
    "beta_end": 0.0195,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "set_alpha_to_one": False,
    "prediction_type": "epsilon",
}
# Of CompVis' file, read by nobody: a moving average of the weights, and the tables of the schedule, which are checked.
AVERAGE = "model_ema."
TABLES = (
    "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance",
    "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2", "lvlb_weights",
)  # fmt: skip


def load_vq_diffusion(folder, dtype):
    """Load UNet, autoencoder and the tokens of labels strictly.

    Parameters
    ----------
    folder : path
        Holds one safetensors file of CompVis, perhaps with ``unet/config.json`` and ``vae/config.json`` if the networks are
        others than the published ones; or diffusers' ``unet/`` and ``vae/`` with weights, and perhaps ``labels/``.
    dtype : torch.dtype

    Returns
    -------
    unet : diffusers.UNet2DConditionModel
        Adds ``class_labels`` to its time embedding.
    vae : diffusers.VQModel
    labels : float32 tensor of shape (n_classes + 1, width), or None

    Raises
    ------
    CheckpointError
        A file is absent or damaged, or a tensor missing, unexpected or misshapen; or the file's schedule is another.
    """
    folder = Path(folder)
    if not is_single_file(folder):
        unet = load_unet(folder, dtype, "codebook diffusion", class_embed_type="identity", addition_embed_type=None)
        labels = load_strictly(ClassTokens, folder / "labels").table if (folder / "labels").is_dir() else None
        return unet, load_vq(folder, dtype), labels
    file = SingleFile(folder)
    unet = _outline(UNet2DConditionModel, folder / "unet", UNET_CONFIG)
    check_unet(unet, folder, "codebook diffusion", class_embed_type="identity", addition_embed_type=None)
    file.fill(unet, unet_places(unet.config, unet.state_dict()), dtype, UNET)
    vae = _read_vq(file, folder, dtype)
    labels = file.read(LABELS)
    _check_schedule(file, folder)
    file.check_all_read((AVERAGE, *TABLES))
    return unet, vae, None if labels is None else labels.float()


def load_vq(folder, dtype=torch.float32):
    """Load the autoencoder alone, `diffusers.VQModel`; arguments and errors as of `load_vq_diffusion`.

    >>> from weights import store
    >>> load_vq(store.path("tiny-label2img")).config.num_vq_embeddings
    256
    """
    folder = Path(folder)
    if is_single_file(folder):
        return _read_vq(SingleFile(folder), folder, dtype)
    return load_strictly(VQModel, folder / "vae", dtype)


def read_vq_scheduler(folder, name=None):
    """Build the scheduler of a folder: its own, or that of the published model, or another solver by its name."""
    if (Path(folder) / "scheduler").is_dir():
        return read_scheduler(folder, name)
    return make_scheduler(SCHEDULE, name)


def _read_vq(file, folder, dtype):
    vae = _outline(VQModel, folder / "vae", VQ_CONFIG)
    return file.fill(vae, vq_places(vae.config, vae.state_dict()), dtype, AUTOENCODER)


def _outline(network_class, folder, published):
    """A network on the meta device, from its configuration, or from that of the published one if the folder has none."""
    path = folder / "config.json"
    config = read_config(network_class, path) if path.is_file() else published
    with refusing_values(network_class.__name__, path), torch.device("meta"):
        return network_class.from_config(config)


def _check_schedule(file, folder):
    """Refuse a file that was trained with another schedule than pictures are drawn with."""
    stored = file.read("betas")
    if stored is None or outlining():
        return
    expected = read_vq_scheduler(folder).betas
    if stored.shape != expected.shape or not torch.allclose(stored.float(), expected, rtol=1e-3):
        theirs, ours = (f"{len(each):,}, {float(each[0]):.4g} to {float(each[-1]):.4g}" for each in (stored, expected))
        raise CheckpointError(
            f"{file.path} was trained with other betas ({theirs}) than the scheduler has ({ours}); give the "
            "scheduler_config.json that belongs to it."
        )
