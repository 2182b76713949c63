"""UNet and autoencoder of a model of Stable Diffusion XL's kind, from one file or from diffusers' folders."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from stages.checkpoints.outlines import outlining
from stages.checkpoints.single_file import SingleFile, is_single_file
from stages.checkpoints.single_file_names import AUTOENCODER, CONDITIONER, UNET, autoencoder_places, unet_places
from stages.checkpoints.strict_loading import outlined, read_json_object, refusing_values
from stages.generators.diffusion.loading import check_unet, load_unet
from stages.generators.diffusion.schedulers import make_scheduler
from stages.generators.diffusion.table_euler import SDXL_SCHEDULE, TableEulerScheduler
from stages.networks.latent_space import load_autoencoder
from weights.manifest import CheckpointError

# The noise levels of training, which Stability's files hold beside the networks.
SIGMAS = "denoiser.sigmas"


def load_unet_and_autoencoder(folder, dtype, network, spare=(CONDITIONER,), **expected):
    """Load both networks strictly.

    >>> import torch
    >>> from weights import store
    >>> unet, vae = load_unet_and_autoencoder(store.path("tiny-sdxl"), torch.float32, "Stable Diffusion XL")
    >>> unet.config.cross_attention_dim, vae.config.latent_channels
    (256, 12)

    Parameters
    ----------
    folder : path
        Holds ``unet/config.json`` and ``vae/config.json`` of diffusers, and one safetensors file with
        ``model.diffusion_model.*``, ``first_stage_model.*`` and at most ``denoiser.sigmas`` and names that begin as `spare`
        say; or diffusers' files of weights beside the configurations.
    dtype : torch.dtype
        What they compute in. An autoencoder that overflows in float16 stays in float32.
    network : str
        What is expected, for the error.
    spare : tuple of str
        Beginnings of names that are read by others.
    **expected
        Names and values of the UNet's configuration.

    Returns
    -------
    unet : diffusers.UNet2DConditionModel
    vae : diffusers.AutoencoderKL

    Raises
    ------
    CheckpointError
        A file is absent or damaged, a tensor missing, unexpected or misshapen, the configuration another network's, or the
        file's noise levels are others than the scheduler's.
    """
    folder = Path(folder)
    if not is_single_file(folder):
        return load_unet(folder, dtype, network, **expected), load_autoencoder(folder, dtype)
    file = SingleFile(folder)
    unet = outlined(UNet2DConditionModel, folder / "unet")
    check_unet(unet, folder, network, **expected)
    file.fill(unet, unet_places(unet.config, unet.state_dict()), dtype, UNET)
    vae = outlined(AutoencoderKL, folder / "vae")
    overflows = read_json_object(folder / "vae" / "config.json", AutoencoderKL.__name__).get("force_upcast", False)
    own = torch.float32 if overflows and dtype == torch.float16 else dtype
    file.fill(vae, autoencoder_places(vae.config, vae.state_dict()), own, AUTOENCODER)
    _check_sigmas(file, folder)
    file.check_all_read(tuple(spare))
    return unet, vae


def read_table_scheduler(folder, name=None):
    """Build the scheduler of a folder: `TableEulerScheduler`, or a solver by its name.

    Parameters
    ----------
    folder : path
        May hold ``scheduler/scheduler_config.json``: noise levels, and the kind of prediction. Otherwise both are those of
        Stable Diffusion XL.
    name : {"ddim", "dpm++", "unipc", "plms"}, optional

    Returns
    -------
    scheduler : diffusers.SchedulerMixin

    Raises
    ------
    CheckpointError
        The file is no configuration of a scheduler.
    InputError
        Another name.
    """
    path = Path(folder) / "scheduler" / "scheduler_config.json"
    config = dict(SDXL_SCHEDULE)
    if path.is_file():
        given = read_json_object(path, "scheduler")
        # Where timesteps lie is the sampler's own affair; of the file counts what the network was trained with.
        config |= {key: given[key] for key in SDXL_SCHEDULE if key in given}
    with refusing_values(TableEulerScheduler.__name__, path):
        if name is None:
            return TableEulerScheduler(**config)
    # Solvers of steps of their own are given diffusers' places for them.
    return make_scheduler(config | {"steps_offset": 1}, name)


def _check_sigmas(file, folder):
    """Refuse a file whose noise levels are others than those that pictures are to be drawn with."""
    stored = file.read(SIGMAS)
    if stored is None or outlining():
        return
    expected = read_table_scheduler(folder).sigmas[:-1]
    found = stored.float().sort(descending=True).values
    if found.shape != expected.shape or not torch.allclose(found, expected, rtol=1e-3):
        theirs, ours = (f"{len(each):,}, {float(each[-1]):.4g} to {float(each[0]):.4g}" for each in (found, expected))
        raise CheckpointError(
            f"{file.path} was trained at other noise levels ({theirs}) than the scheduler has ({ours}); give the "
            "scheduler_config.json that belongs to it."
        )
