"""The parts of image-to-image latent diffusion under an image context and a text context, in diffusers' folder layout.

Stage two of Brain-Diffuser (Ozcelik & VanRullen, 2023; its ``versatilediffusion_reconstruct_images.py``): the first picture
is encoded, noised, and denoised under both contexts with classifier-free guidance. `DualContextGenerator` does so.

Two things differ from the published script. It noises with the alpha of step ``int(strength · steps)`` and then starts
denoising one step further on (at 50 steps and strength 0.75: noised to timestep 741, denoised from 721); here the picture is
noised to the very timestep that is denoised first, and the number of denoising steps, 37, is the same. And it starts from a
sample of the autoencoder's posterior; here from its mode, so that a picture's noise is drawn once. `StartRule` has both.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline

from stages.checkpoints.strict_loading import load_strictly, read_config
from stages.generators.diffusion.unconditional_contexts import UnconditionalContexts
from stages.ground.errors import InputError
from stages.networks.dual_context_unet import DualContextUNet2DConditionModel


class DualContextImg2ImgPipeline(DiffusionPipeline):
    """Hold the parts, save and load them; `DualContextGenerator` draws with them.

    Parameters
    ----------
    vae : diffusers.AutoencoderKL
        Pictures in −1..1 to latents, which are multiplied by its ``scaling_factor``.
    unet : DualContextUNet2DConditionModel
    scheduler : diffusers.DDIMScheduler
        With ``clip_sample=False``: the default clips latents, which are no pictures.
    unconditional_contexts : UnconditionalContexts
    guidance_scale : float
        Guidance unless another is asked for; published: 7.5.
    """

    # Where they are offloaded, networks compute in this order; the contexts are read, not called, so nothing would
    # bring them back.
    model_cpu_offload_seq = "unet->vae"
    _exclude_from_cpu_offload = ["unconditional_contexts"]

    def __init__(self, vae, unet, scheduler, unconditional_contexts, guidance_scale: float = 7.5):
        super().__init__()
        if getattr(scheduler.config, "clip_sample", False):
            raise InputError(
                "The scheduler has clip_sample=True, which clips latents to −1..1; expected False; build it with "
                "DDIMScheduler.from_config(scheduler.config, clip_sample=False)."
            )
        self.register_modules(vae=vae, unet=unet, scheduler=scheduler, unconditional_contexts=unconditional_contexts)
        self.register_to_config(guidance_scale=guidance_scale)

    @classmethod
    def from_pretrained(cls, folder, dtype=torch.float32):
        """Load a folder in diffusers' layout, refusing what does not fit.

        diffusers' own loader finds a component's class by name, which fails for classes outside its libraries, and
        accepts missing tensors. Here the classes are known, and every tensor is accounted for.

        Parameters
        ----------
        folder : path
            Holds ``model_index.json``, ``vae/``, ``unet/``, ``scheduler/`` and ``unconditional_contexts/``.
        dtype : torch.dtype
            What is computed in, whatever the files store.

        Returns
        -------
        pipeline : DualContextImg2ImgPipeline

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        """
        folder = Path(folder)
        index = read_config(cls, folder / "model_index.json")
        scheduler_config = read_config(DDIMScheduler, folder / "scheduler" / "scheduler_config.json")
        return cls(
            vae=load_strictly(AutoencoderKL, folder / "vae", dtype),
            unet=load_strictly(DualContextUNet2DConditionModel, folder / "unet", dtype),
            scheduler=DDIMScheduler.from_config(scheduler_config),
            unconditional_contexts=load_strictly(UnconditionalContexts, folder / "unconditional_contexts", dtype),
            guidance_scale=index.get("guidance_scale", 7.5),
        )
