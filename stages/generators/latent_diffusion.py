"""What the generators of diffusers' maintained models share: from requests to pictures, one step after the other.

One loop over the parts of diffusers' pipelines serves all of them. The pipelines' own calls do the same for one
picture at strengths between 0 and 1 (the tests hold the two side by side), but they keep some of the noisy picture at
strength 1, fail at strength 0, draw a start from the autoencoder's posterior, and take no solver that reads no random
generator in Kandinsky's case.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils.torch_utils import randn_tensor

from stages.errors import InputError
from stages.generators.noise import item_generator
from stages.generators.requests import check_options, check_requests, denoising_steps, draw_in_batches, resized
from stages.generators.schedulers import last_timesteps
from stages.networks.strict_loading import load_strictly
from weights.store import CheckpointError


class LatentDiffusionGenerator:
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

    Attributes
    ----------
    image_size : int
        Height and width of what is drawn.
    image_context_shape, text_context_shape : tuple of int, or None
    takes_weights : str
        What a request's `context_weights` do.
    default_steps : int
        Steps from noise to a picture, where `generate` is not told.
    default_guidance_scale : float
        Likewise.
    """

    takes_weights: str
    default_steps = 50
    default_guidance_scale = 7.5

    def __init__(self, pipeline, image_context_shape, text_context_shape):
        self.pipeline = pipeline
        pipeline.set_progress_bar_config(disable=True)
        self.image_context_shape = image_context_shape
        self.text_context_shape = text_context_shape
        self._processor = VaeImageProcessor()
        downscaled = 2 ** (len(self._autoencoder.config.block_out_channels) - 1)
        self.image_size = pipeline.unet.config.sample_size * downscaled

    @property
    def _autoencoder(self):
        return self.pipeline.vae

    @property
    def _device(self):
        """Where the networks compute, even while they lie elsewhere."""
        return self.pipeline._execution_device

    def generate(
        self, requests, *, seed=0, num_inference_steps=None, guidance_scale=None, batch_size=16, progress=None
    ):
        """Draw the requested pictures.

        A request's picture is the same, to one grey level in float32, whatever else is asked for: its noise is its
        own (see `item_generator`), and only the rounding of matrix products depends on the batch.

        Parameters
        ----------
        requests : sequence of GenerationRequest
            Those that start at different steps do not share a batch.
        seed : int
        num_inference_steps : int, optional
            Steps from noise to a picture, of which a request does its strength's share; by default `default_steps`.
        guidance_scale : float, optional
            By default `default_guidance_scale`; 1 switches guidance off and halves the work.
        batch_size : int
            Pictures per batch; the network sees twice as many rows under guidance.
        progress : callable, optional
            Called as ``progress("pictures", done, total)``.

        Yields
        ------
        position : int
            Into `requests`; not in order.
        image : uint8 array of shape (image_size, image_size, 3)

        Raises
        ------
        InputError
            A request does not fit this generator; raised before anything is drawn.
        """
        requests = list(requests)
        num_inference_steps = self.default_steps if num_inference_steps is None else num_inference_steps
        guidance_scale = self.default_guidance_scale if guidance_scale is None else guidance_scale
        check_requests(requests, self.image_context_shape, self.text_context_shape)
        check_options(batch_size, num_inference_steps, guidance_scale)
        return draw_in_batches(
            requests,
            lambda batch: self._draw(batch, seed, num_inference_steps, guidance_scale),
            num_inference_steps=num_inference_steps,
            batch_size=batch_size,
            progress=progress,
            together=self._together,
        )

    def _together(self, request):
        """Return what all requests of a batch must agree in, besides where they start."""
        return None

    def _conditions(self, batch, generators, guided):
        """Return the UNet's keyword arguments: one row per request, under guidance after as many unconditional."""
        raise NotImplementedError

    @torch.inference_mode()
    def _draw(self, batch, seed, num_inference_steps, guidance_scale):
        """Draw requests that start at the same step; return uint8 (n, image_size, image_size, 3)."""
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


def check_unet(unet, folder, network, **expected):
    """Raise CheckpointError unless a UNet's configuration has the given values.

    Parameters
    ----------
    unet : diffusers.UNet2DConditionModel
    folder : path
        The generator's, for the error.
    network : str
        What it was expected to be, for the error.
    **expected
        Names and values of its configuration.
    """
    for name, value in expected.items():
        if unet.config[name] != value:
            raise CheckpointError(
                f"The UNet in {folder} has {name} {unet.config[name]!r}, but that of {network} has {value!r}; give the "
                f"folder of a {network}."
            )


def stack_contexts(contexts, nothing):
    """Stack embeddings to (n, ...) float32 on the device of `nothing`, which stands in for those that are None."""
    return torch.stack([nothing if context is None else torch.as_tensor(context).to(nothing) for context in contexts])


def mix(contexts, nothing, weights):
    """Return ``nothing + weight · (context − nothing)`` for each row, weight 0 giving `nothing` to the bit."""
    weights = torch.tensor(weights, dtype=nothing.dtype, device=nothing.device).view(-1, *[1] * nothing.ndim)
    # lerp is exact at both ends: it computes from the nearer one.
    return torch.lerp(nothing.expand_as(contexts), contexts, weights.expand_as(contexts))
