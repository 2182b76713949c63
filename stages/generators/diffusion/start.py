"""Where denoising starts: from noise, from a picture or from a latent, with a share of the steps to do."""

from dataclasses import replace

import torch
from PIL import Image

from stages.generators.diffusion.conditioners import Conditioner
from stages.generators.diffusion.schedulers import last_timesteps, noised
from stages.networks.latent_space import bilinear, normal, to_greys, to_pixels

# Latents of a start that is mixed into noise are cut off so far from 0.
_FARTHEST = 3.0

# Mean and deviation of red, green and blue, as OpenAI's CLIP takes them.
_CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class StartFromNoise(Conditioner):
    """Noise alone, and all of the steps.

    Parameters
    ----------
    scheduler : diffusers.SchedulerMixin
    latent_shape : tuple of int
        (channels, size, size)
    """

    def __init__(self, scheduler, latent_shape):
        self.scheduler, self.latent_shape = scheduler, tuple(latent_shape)

    def prepare(self, value, sampling):
        steps = sampling.num_inference_steps
        noise = self._noise(sampling)
        timesteps = last_timesteps(self.scheduler, steps, steps)
        return replace(sampling, latents=noise * self.scheduler.init_noise_sigma, timesteps=timesteps)

    def _noise(self, sampling):
        return normal(sampling.random, self.latent_shape, sampling.latent_dtype).to(sampling.device)


class StartFromOffsetNoise(StartFromNoise):
    """Noise alone under which a picture has a random brightness: x = a + (b + offset · c) · σ₀.

    a and b are standard normal in every value, c is one standard normal number for each picture, and σ₀ is the first noise
    level. A network that was tuned with such noise (offset 0.04 in SDXL unCLIP) starts with it.

    Parameters
    ----------
    scheduler, latent_shape
        As `StartFromNoise`.
    offset : float
    """

    def __init__(self, scheduler, latent_shape, offset):
        super().__init__(scheduler, latent_shape)
        self.offset = offset

    def prepare(self, value, sampling):
        steps = sampling.num_inference_steps
        below, noise = self._noise(sampling), self._noise(sampling)
        brightness = normal(sampling.random, (1, 1, 1), sampling.latent_dtype).to(sampling.device)
        timesteps = last_timesteps(self.scheduler, steps, steps)
        latents = below + (noise + self.offset * brightness) * self.scheduler.init_noise_sigma
        return replace(sampling, latents=latents, timesteps=timesteps)


class StartFromPicture(StartFromNoise):
    """A picture, encoded and noised; the strength's share of the steps.

    Parameters
    ----------
    scheduler, latent_shape
        As `StartFromNoise`.
    space : stages.networks.latent_space.LatentSpace
    rule : StartRule
    """

    reads = "first_picture"

    def __init__(self, scheduler, latent_shape, space, rule):
        super().__init__(scheduler, latent_shape)
        self.space, self.rule = space, rule

    def prepare(self, value, sampling):
        latents = self._latents(value, sampling).to(sampling.latent_dtype)
        noise = self._noise(sampling)
        n_steps = self.rule.steps(sampling.strength, sampling.num_inference_steps)
        if n_steps == 0:
            return replace(sampling, latents=latents, timesteps=torch.empty(0, dtype=torch.long))
        timesteps = last_timesteps(self.scheduler, sampling.num_inference_steps, n_steps)
        if self.rule.mixed == "into noise":
            latents = mixed_into_noise(latents, noise, self.space.network.config.scaling_factor)
            return replace(sampling, latents=latents * self.scheduler.init_noise_sigma, timesteps=timesteps)
        latents = noised(self.scheduler, latents, noise, timesteps, self.rule.earlier)
        return replace(sampling, latents=latents, timesteps=timesteps)

    def _latents(self, value, sampling):
        return self._encoded(value, sampling)

    def _encoded(self, pictures, sampling):
        size = self.latent_shape[-1] * self.space.downscaling
        if self.rule.enlarged == "bilinear":
            # One by one, since they may be of any size.
            pixels = torch.cat([bilinear(to_pixels([picture]), size) for picture in pictures]).to(sampling.device)
        else:
            pixels = to_pixels([resized(picture, size) for picture in pictures]).to(sampling.device)
        if self.rule.pixels == "for CLIP":
            mean, deviation = (torch.tensor(values, device=pixels.device).view(1, 3, 1, 1) for values in _CLIP)
            pixels = ((pixels + 1) / 2 - mean) / deviation
        return self.space.encode(pixels, sampling.random if self.rule.posterior == "sample" else None)


class StartFromLatent(StartFromPicture):
    """A latent of the scale that the UNet sees, noised; the strength's share of the steps.

    Parameters
    ----------
    scheduler, latent_shape, space, rule
        As `StartFromPicture`.
    """

    reads = "first_latent"

    def _latents(self, value, sampling):
        if self.rule.latent == "direct":
            return torch.stack([torch.as_tensor(row, dtype=torch.float32) for row in value]).to(sampling.device)
        # One at a time, since they may be of any size.
        decoded = [
            self.space.decode(torch.as_tensor(row, dtype=torch.float32)[None].to(sampling.device)) for row in value
        ]
        latents = self._encoded([to_greys(pixels.nan_to_num(), rounded=False)[0] for pixels in decoded], sampling)
        # What is not finite stays so, and is found when the picture is done.
        latents[[row for row, pixels in enumerate(decoded) if not pixels.isfinite().all()]] = torch.nan
        return latents


def mixed_into_noise(latents, noise, scale):
    """Latents as a weak bias on noise, each brought to mean 0 and standard deviation 1 over all of its values.

    >>> latents = mixed_into_noise(torch.ones(2, 4, 8, 8), torch.randn(2, 4, 8, 8), 0.18215)
    >>> [round(float(one.std()), 3) for one in latents]
    [1.0, 1.0]

    Parameters
    ----------
    latents, noise : tensors of shape (n, channels, height, width)
    scale : float
        What the autoencoder's latents are multiplied by for the UNet; these are so already, and are once more.

    Returns
    -------
    tensor
    """
    mixed = noise + scale * latents.clamp(-_FARTHEST, _FARTHEST).to(noise)
    # One degree of freedom is taken off, as torch does.
    mean, deviation = mixed.mean(dim=(1, 2, 3), keepdim=True), mixed.std(dim=(1, 2, 3), keepdim=True)
    return (mixed - mean) / deviation


def resized(picture, size):
    """Return a uint8 picture as a square Pillow image of `size` pixels, resized (bicubic) if it is another."""
    picture = Image.fromarray(picture)
    return picture if picture.size == (size, size) else picture.resize((size, size), Image.Resampling.BICUBIC)
