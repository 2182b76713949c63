"""Image-to-image latent diffusion under an image context and a text context.

Stage two of Brain-Diffuser (Ozcelik & VanRullen, 2023; its ``versatilediffusion_reconstruct_images.py``), as a
diffusers pipeline: the first picture is encoded, noised, and denoised under both contexts with classifier-free
guidance.

Two things differ from the published script. It noises with the alpha of step ``int(strength · steps)`` and then
starts denoising one step further on (at 50 steps and strength 0.75: noised to timestep 741, denoised from 721);
here the picture is noised to the very timestep that is denoised first, and the number of denoising steps, 37, is the
same. And it starts from a sample of the autoencoder's posterior; here from its mode, so that a picture's noise is
drawn once.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline, ImagePipelineOutput
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image

from stages.checkpoints.strict_loading import load_strictly, read_config
from stages.generators.diffusion.schedulers import last_timesteps
from stages.generators.diffusion.start import denoising_steps
from stages.generators.diffusion.unconditional_contexts import UnconditionalContexts
from stages.ground.errors import InputError
from stages.networks.dual_context_unet import DualContextUNet2DConditionModel


class DualContextImg2ImgPipeline(DiffusionPipeline):
    """Redraw pictures under an image context and a text context.

    Parameters
    ----------
    vae : diffusers.AutoencoderKL
        Pictures in −1..1 to latents, which are multiplied by its ``scaling_factor``.
    unet : DualContextUNet2DConditionModel
    scheduler : diffusers.DDIMScheduler
        With ``clip_sample=False``: the default clips latents, which are no pictures.
    unconditional_contexts : UnconditionalContexts
    guidance_scale : float
        What `__call__` uses when it is not told; published: 7.5.
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
        self.vae_scale_factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.image_processor = VaeImageProcessor(vae_scale_factor=self.vae_scale_factor, resample="bicubic")

    @property
    def image_size(self):
        """Height and width, in pixels, of the square pictures."""
        return self.unet.config.sample_size * self.vae_scale_factor

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

    @torch.inference_mode()
    def __call__(
        self,
        image,
        image_context,
        text_context,
        context_weights,
        strength=0.75,
        num_inference_steps=50,
        guidance_scale=None,
        generator=None,
        output_type="pil",
        return_dict=True,
    ):
        """Redraw a batch of pictures.

        Parameters
        ----------
        image : uint8 array of shape (n, height, width, 3), list of n PIL images, or None
            Where to start from; None starts from noise alone. Other sizes are resized to `image_size` (bicubic).
        image_context : tensor of shape (n, image_tokens, width) or None
        text_context : tensor of shape (n, text_tokens, width) or None
            None is only sensible for a context whose weight is 0 in every row.
        context_weights : tensor of shape (n, 2) or pair of float
            Weights of image and text context, per row or for all; published: (0.6, 0.4).
        strength : float
            Share of the steps that are done, 0..1. At 1 the picture no longer matters, and noise alone is the start.
        num_inference_steps : int
            Steps from pure noise to a picture.
        guidance_scale : float, optional
            1 computes no unconditional half. By default the checkpoint's own.
        generator : list of n torch.Generator, or one
            Where each row's noise comes from, on the CPU for device-independent results.
        output_type : {"pil", "np", "uint8", "latent"}
            PIL images, float (n, height, width, 3) in 0..1, uint8 of that shape, or latents.

        Returns
        -------
        ImagePipelineOutput, or a tuple of one element with ``return_dict=False``
        """
        n, contexts = self._contexts(image_context, text_context)
        weights = torch.as_tensor(context_weights, dtype=self.unet.dtype, device=self._execution_device).expand(n, 2)
        guidance_scale = self.config.guidance_scale if guidance_scale is None else guidance_scale
        guided = guidance_scale != 1

        latents, timesteps = self._start(image, n, strength, num_inference_steps, generator)
        if guided:
            contexts = torch.cat([self._unconditional(n), contexts])
            weights = torch.cat([weights, weights])
        for timestep in self.progress_bar(timesteps):
            rows = torch.cat([latents, latents]) if guided else latents
            prediction = self.unet(
                self.scheduler.scale_model_input(rows, timestep),
                timestep,
                contexts,
                cross_attention_kwargs={"context_weights": weights},
                return_dict=False,
            )[0]
            if guided:
                unconditional, conditional = prediction.chunk(2)
                prediction = unconditional + guidance_scale * (conditional - unconditional)
            latents = self.scheduler.step(prediction, timestep, latents, return_dict=False)[0]

        images = latents if output_type == "latent" else self._decode(latents, output_type)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def _contexts(self, image_context, text_context):
        """Return (n, tokens of shape (n, image_tokens + text_tokens, width)), absent contexts filled in."""
        given = [context for context in (image_context, text_context) if context is not None]
        if not given or len({len(context) for context in given}) > 1:
            raise InputError(
                f"Contexts for {[len(context) for context in given]} pictures were given; expected an image context, "
                "a text context, or both with as many rows; pass arrays of shape (n, n_tokens, width)."
            )
        n = len(given[0])
        filled = []
        for context, nothing in zip(
            (image_context, text_context), (self.unconditional_contexts.image, self.unconditional_contexts.text)
        ):
            if context is None:
                context = nothing.expand(n, -1, -1)
            filled.append(torch.as_tensor(context).to(device=self._execution_device, dtype=self.unet.dtype))
        return n, torch.cat(filled, dim=1)

    def _unconditional(self, n):
        tokens = torch.cat([self.unconditional_contexts.image, self.unconditional_contexts.text])
        return tokens.to(device=self._execution_device, dtype=self.unet.dtype).expand(n, -1, -1)

    def _start(self, image, n, strength, num_inference_steps, generator):
        """Return the latents that are denoised first, (n, channels, size, size), and the timesteps to do."""
        steps = denoising_steps(strength, num_inference_steps)
        everything = last_timesteps(self.scheduler, num_inference_steps, num_inference_steps)
        size = self.unet.config.sample_size
        noise = randn_tensor(
            (n, self.unet.config.in_channels, size, size),
            generator=generator,
            device=self._execution_device,
            dtype=self.unet.dtype,
        )
        if image is None or strength == 1:
            return noise * self.scheduler.init_noise_sigma, everything
        latents = self._encode(image, n)
        if steps == 0:
            return latents, ()
        timesteps = last_timesteps(self.scheduler, num_inference_steps, steps)
        return self.scheduler.add_noise(latents, noise, timesteps[:1].repeat(n)), timesteps

    def _encode(self, image, n):
        if len(image) != n:
            raise InputError(f"{len(image)} pictures came with contexts for {n}; give one picture per row of contexts.")
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 4 or image.shape[-1] != 3:
                raise InputError(
                    f"The pictures are {image.dtype} of shape {image.shape}; expected uint8 of shape "
                    "(n, height, width, 3); convert them first."
                )
            image = [Image.fromarray(picture) for picture in image]
        pixels = self.image_processor.preprocess(image, height=self.image_size, width=self.image_size)
        latents = self.vae.encode(pixels.to(device=self._execution_device, dtype=self.vae.dtype)).latent_dist.mode()
        return (latents * self.vae.config.scaling_factor).to(self.unet.dtype)

    def _decode(self, latents, output_type):
        pixels = self.vae.decode(latents.to(self.vae.dtype) / self.vae.config.scaling_factor).sample
        if output_type == "uint8":
            values = (pixels.float() * 0.5 + 0.5).clamp(0, 1) * 255
            return values.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return self.image_processor.postprocess(pixels, output_type=output_type)
