"""What the generators of diffusers' maintained models share: from requests to pictures, one step after the other.

One loop over the parts of diffusers' pipelines serves all of them. The pipelines' own calls do the same for one
picture at strengths between 0 and 1 (the tests hold the two side by side), but they keep some of the noisy picture at
strength 1, fail at strength 0, draw a start from the autoencoder's posterior, and take no solver that reads no random
generator in Kandinsky's case.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils.torch_utils import randn_tensor

from stages.checkpoints.strict_loading import load_strictly
from stages.generators.diffusion.requests import denoising_steps, resized
from stages.generators.diffusion.schedulers import last_timesteps
from stages.generators.generator import PictureGenerator
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator
from weights.store import CheckpointError


class LatentDiffusionGenerator(PictureGenerator):
    """Draw pictures from predicted embeddings by latent diffusion.

    Strength means what it means to `DualContextGenerator`: the first picture is encoded (to the mode of the
    autoencoder's posterior), noised to the first timestep of the strength's share of the steps, and denoised from
    there. 0 keeps the picture but for the autoencoder; 1, or no first picture, starts from noise alone.

    Latents are kept in float32 between the steps, whatever the networks compute in, and noise is drawn in float32 on
    the CPU. The autoencoder works on one picture at a time, whatever an acceleration says of slicing.

    Parameters
    ----------
    pipeline : diffusers.DiffusionPipeline
        Of which the ``unet``, the ``scheduler`` and the autoencoder are used.
    image_context_shape, text_context_shape : tuple of int, or None
        Of the embeddings; None where none is taken.

    See Also
    --------
    stages.generators.generator.PictureGenerator : the attributes.
    """

    default_guidance_scale = 7.5

    def __init__(self, pipeline, image_context_shape, text_context_shape):
        self.pipeline = pipeline
        downscaled = 2 ** (len(self._autoencoder.config.block_out_channels) - 1)
        image_size = pipeline.unet.config.sample_size * downscaled
        super().__init__(pipeline, image_size, image_context_shape, text_context_shape)
        self._processor = VaeImageProcessor()

    @property
    def _autoencoder(self):
        return self.pipeline.vae

    @property
    def _device(self):
        """Where the networks compute, even while they lie elsewhere."""
        return self.pipeline._execution_device

    def _conditions(self, batch, generators, guided):
        """Return the UNet's keyword arguments: one row per request, under guidance after as many unconditional."""
        raise NotImplementedError

    @torch.inference_mode()
    def _draw(self, batch, seed, num_inference_steps, guidance_scale):
        unet, scheduler = self.pipeline.unet, self.pipeline.scheduler
        generators = [item_generator(seed, request.stimulus_id, request.sample) for request in batch]
        guided = guidance_scale != 1
        conditions = self._conditions(batch, generators, guided)

        latents, timesteps = self._start(batch, num_inference_steps, generators)
        for timestep in timesteps:
            rows = torch.cat([latents, latents]) if guided else latents
            rows = scheduler.scale_model_input(rows, timestep).to(unet.dtype)
            prediction = unet(rows, timestep, **conditions, return_dict=False)[0].float()
            # Some networks predict a variance too, in further channels.
            prediction = prediction[:, : latents.shape[1]]
            if guided:
                unconditional, conditional = prediction.chunk(2)
                prediction = unconditional + guidance_scale * (conditional - unconditional)
            latents = scheduler.step(prediction, timestep, latents, return_dict=False)[0]

        pixels = torch.cat([self._decode(row[None]) for row in latents])
        self.pipeline.maybe_free_model_hooks()
        values = (pixels.float() * 0.5 + 0.5).clamp(0, 1) * 255
        return values.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()

    def _start(self, batch, num_inference_steps, generators):
        """Return the float32 latents that are denoised first and the timesteps to do."""
        unet, scheduler = self.pipeline.unet, self.pipeline.scheduler
        size = unet.config.sample_size
        shape = (len(batch), unet.config.in_channels, size, size)
        noise = randn_tensor(shape, generator=generators, device=self._device, dtype=torch.float32)
        if batch[0].from_noise:
            timesteps = last_timesteps(scheduler, num_inference_steps, num_inference_steps)
            return noise * scheduler.init_noise_sigma, timesteps
        steps = denoising_steps(batch[0].strength, num_inference_steps)
        pictures = [resized(request.init_image, self.image_size) for request in batch]
        pixels = self._processor.preprocess(pictures).to(self._device)
        latents = torch.cat([self._encode(row[None]).float() for row in pixels])
        if steps == 0:
            return latents, ()
        timesteps = last_timesteps(scheduler, num_inference_steps, steps)
        return scheduler.add_noise(latents, noise, timesteps[:1].repeat(len(batch))), timesteps

    def _encode(self, pixels):
        """Turn pictures in −1..1 into latents of the UNet's scale."""
        vae = self.pipeline.vae
        shift, scale = self._latent_scale()
        return (vae.encode(pixels.to(vae.dtype)).latent_dist.mode().float() - shift) * scale

    def _decode(self, latents):
        """Turn latents of the UNet's scale into pictures in −1..1."""
        vae = self.pipeline.vae
        shift, scale = self._latent_scale()
        return vae.decode((latents / scale + shift).to(vae.dtype), return_dict=False)[0]

    def _latent_scale(self):
        """Return what latents of an AutoencoderKL are diminished by, and then multiplied by."""
        config = self.pipeline.vae.config
        if config.latents_mean is None or config.latents_std is None:
            return 0, config.scaling_factor
        mean, std = (
            torch.tensor(values, device=self._device).view(1, -1, 1, 1)
            for values in (config.latents_mean, config.latents_std)
        )
        return mean, config.scaling_factor / std


def computing_dtype(dtype, acceleration, device):
    """Return the torch.dtype that networks are loaded in; InputError where it is said twice."""
    if acceleration is None:
        return torch.float32 if dtype is None else dtype
    if dtype is not None:
        raise InputError(
            f"dtype is {dtype} and the acceleration's {acceleration.dtype!r}; expected one of the two; leave dtype out."
        )
    return acceleration.dtype_for(device)


def placed(pipeline, device, acceleration):
    """Bring a pipeline to a device, under an acceleration's settings where there is one, and return it."""
    return pipeline.to(device) if acceleration is None else acceleration.apply(pipeline, device)


def load_autoencoder(folder, dtype):
    """Load ``vae/`` strictly; in float32 rather than float16 where its configuration says that it overflows."""
    vae = load_strictly(AutoencoderKL, Path(folder) / "vae", dtype)
    if dtype == torch.float16 and vae.config.force_upcast:
        vae = load_strictly(AutoencoderKL, Path(folder) / "vae", torch.float32)
    return vae


def load_unet(folder, dtype, network, **expected):
    """Load ``unet/`` strictly, and refuse that of another network.

    Parameters
    ----------
    folder : path
        The generator's.
    dtype : torch.dtype
    network : str
        What is expected, for the error.
    **expected
        Names and values of its configuration.

    Returns
    -------
    unet : diffusers.UNet2DConditionModel

    Raises
    ------
    CheckpointError
        As `load_strictly`; or the configuration has another value than expected.
    """
    unet = load_strictly(UNet2DConditionModel, Path(folder) / "unet", dtype)
    for name, value in expected.items():
        if unet.config[name] != value:
            raise CheckpointError(
                f"The UNet in {folder} has {name} {unet.config[name]!r}, but that of {network} has {value!r}; give the "
                f"folder of a {network}."
            )
    return unet


def stack_contexts(contexts, nothing):
    """Stack embeddings to (n, ...) float32 on the device of `nothing`, which stands in for those that are None."""
    return torch.stack([nothing if context is None else torch.as_tensor(context).to(nothing) for context in contexts])


def mix(contexts, nothing, weights):
    """Return ``nothing + weight · (context − nothing)`` for each row, weight 0 giving `nothing` to the bit."""
    weights = torch.tensor(weights, dtype=nothing.dtype, device=nothing.device).view(-1, *[1] * nothing.ndim)
    # lerp is exact at both ends: it computes from the nearer one.
    return torch.lerp(nothing.expand_as(contexts), contexts, weights.expand_as(contexts))


def mixed_texts(batch, empty):
    """Return the text embeddings of requests, each by its weight against the empty text's, on the device of that one."""
    texts = stack_contexts([request.text_context for request in batch], empty)
    return mix(texts, empty, [request.context_weights[1] for request in batch])
