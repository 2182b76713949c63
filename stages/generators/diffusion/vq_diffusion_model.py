"""The parts of latent diffusion on a codebook's latents, from CompVis' one file or from diffusers' folders."""

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from stages.checkpoints.outlines import outlining
from stages.checkpoints.single_file import SingleFile, is_single_file
from stages.checkpoints.single_file_names import UNET, unet_places
from stages.checkpoints.strict_loading import load_strictly, outlined, read_config
from stages.generators.diffusion.class_labels import ClassTokens
from stages.generators.diffusion.loading import check_unet, load_unet
from stages.generators.diffusion.schedulers import read_scheduler
from stages.networks.codebook_autoencoder import load_vq, read_vq
from weights.manifest import CheckpointError

_NAME = "codebook diffusion"
_EXPECTED = {"class_embed_type": "identity", "addition_embed_type": None}
LABELS = "cond_stage_model.embedding.weight"
# Of CompVis' file, read by nobody: a moving average of the weights, and the tables of the schedule, which are checked.
AVERAGE = "model_ema."
TABLES = (
    "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance",
    "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2", "lvlb_weights",
)  # fmt: skip


def load_vq_diffusion(folder, dtype):
    """Load UNet, autoencoder and the tokens of labels strictly.

    >>> from weights import store
    >>> unet, vae, labels = load_vq_diffusion(store.path("tiny-label2img"), torch.float32)
    >>> unet.config.cross_attention_dim, vae.config.num_vq_embeddings, labels.shape
    (64, 256, torch.Size([27, 64]))

    Parameters
    ----------
    folder : path
        Holds ``unet/config.json``, ``vae/config.json`` and ``scheduler/scheduler_config.json``, and one safetensors file of
        CompVis, or else diffusers' files of weights beside the configurations, and perhaps ``labels/``.
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
        unet = load_unet(folder, dtype, _NAME, **_EXPECTED)
        labels = load_strictly(ClassTokens, folder / "labels").table if (folder / "labels").is_dir() else None
        return unet, load_vq(folder, dtype), labels
    file = SingleFile(folder)
    unet = _read_unet(file, folder, dtype)
    vae = read_vq(file, folder, dtype)
    labels = file.read(LABELS)
    _check_schedule(file, folder)
    file.check_all_read((AVERAGE, *TABLES))
    return unet, vae, None if labels is None else labels.float()


def load_vq_unet(folder, dtype=torch.float32):
    """Load the UNet alone, `diffusers.UNet2DConditionModel`; arguments and errors as of `load_vq_diffusion`."""
    folder = Path(folder)
    if is_single_file(folder):
        return _read_unet(SingleFile(folder), folder, dtype)
    return load_unet(folder, dtype, _NAME, **_EXPECTED)


def unet_config(folder):
    """Configuration of a folder's UNet, as JSON keeps it, without its weights.

    >>> from weights import store
    >>> unet_config(store.path("tiny-label2img"))["in_channels"]
    3
    """
    return dict(read_config(UNet2DConditionModel, Path(folder) / "unet" / "config.json"))


def _read_unet(file, folder, dtype):
    unet = outlined(UNet2DConditionModel, folder / "unet")
    check_unet(unet, folder, _NAME, **_EXPECTED)
    return file.fill(unet, unet_places(unet.config, unet.state_dict()), dtype, UNET)


def _check_schedule(file, folder):
    """Refuse a file that was trained with another schedule than pictures are drawn with."""
    stored = file.read("betas")
    if stored is None or outlining():
        return
    expected = read_scheduler(folder).betas
    if stored.shape != expected.shape or not torch.allclose(stored.float(), expected, rtol=1e-3):
        theirs, ours = (f"{len(each):,}, {float(each[0]):.4g} to {float(each[-1]):.4g}" for each in (stored, expected))
        raise CheckpointError(
            f"{file.path} was trained with other betas ({theirs}) than the scheduler has ({ours}); give the "
            "scheduler_config.json that belongs to it."
        )
