"""Pictures to the latents that a UNet sees, and back."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from stages.checkpoints.strict_loading import load_strictly, read_json_object
from stages.ground.not_finite import check_rows


class LatentSpace:
    """diffusers' ``AutoencoderKL`` with its scale.

    Latents are (mode − mean) · scale, or a sample of the posterior in place of its mode.

    Parameters
    ----------
    network : diffusers.AutoencoderKL
    alone : bool
        Whether it works on one picture at a time, whatever the batch.
    """

    def __init__(self, network, alone=True):
        self.network, self.alone = network, alone

    @property
    def downscaling(self):
        """How many times smaller latents are than pictures."""
        return 2 ** (len(self.network.config.block_out_channels) - 1)

    def encode(self, pixels, random=None):
        """Encode pictures.

        Parameters
        ----------
        pixels : float32 tensor of shape (n, 3, height, width)
            −1 to 1, on the device that computes.
        random : sequence of n torch.Generator, optional
            Sample the posterior; by default its mode is taken.

        Returns
        -------
        latents : float32 tensor
        """
        parts = [self._posterior(part) for part in self._parts(pixels)]
        if random is None:
            values = torch.cat([posterior.mode() for posterior in parts]).float()
        else:
            mean, spread = (torch.cat([getattr(part, name) for part in parts]).float() for name in ("mean", "std"))
            values = mean + spread * normal(random, mean.shape[1:]).to(mean.device)
        shift, scale = self._shift_and_scale(values.device)
        return (values - shift) * scale

    def decode(self, latents):
        """Decode latents of any precision to pictures, float32 (n, 3, height, width), −1 to 1 and a little beyond."""
        shift, scale = self._shift_and_scale(latents.device)
        latents = (latents.float() / scale + shift).to(self.network.dtype)
        return torch.cat([self._decoded(part) for part in self._parts(latents)]).float()

    def _posterior(self, pixels):
        return self.network.encode(pixels.to(self.network.dtype)).latent_dist

    def _decoded(self, latents):
        return self.network.decode(latents, return_dict=False)[0]

    def _parts(self, tensor):
        return [row[None] for row in tensor] if self.alone else [tensor]

    def _shift_and_scale(self, device):
        """Return what latents are diminished by, and then multiplied by."""
        config = self.network.config
        if config.latents_mean is None or config.latents_std is None:
            return 0, config.scaling_factor
        mean, std = (
            torch.tensor(values, device=device).view(1, -1, 1, 1)
            for values in (config.latents_mean, config.latents_std)
        )
        return mean, config.scaling_factor / std


class QuantisedLatentSpace(LatentSpace):
    """Kandinsky's MoVQ, whose quantising is left out and whose latents have no scale; a sample is the mode."""

    def encode(self, pixels, random=None):
        """Encode pictures; see `LatentSpace.encode`."""
        network = self.network
        return torch.cat([network.encode(part.to(network.dtype)).latents for part in self._parts(pixels)]).float()

    def decode(self, latents):
        """Decode latents; see `LatentSpace.decode`."""
        latents = latents.to(self.network.dtype)
        return torch.cat(
            [self.network.decode(part, force_not_quantize=True).sample for part in self._parts(latents)]
        ).float()


class CodebookLatentSpace(QuantisedLatentSpace):
    """A `diffusers.VQModel` whose latents are those before quantising, as latent diffusion on codebooks sees them.

    Encoding gives continuous latents; decoding takes the nearest code at every place, and decodes these.

    >>> from diffusers import VQModel
    >>> space = CodebookLatentSpace(VQModel(norm_num_groups=8, block_out_channels=(8,), num_vq_embeddings=16))
    >>> latents = space.encode(torch.zeros(1, 3, 4, 4))
    >>> space.codes(latents).shape, space.decode(latents).shape
    (torch.Size([1, 4, 4]), torch.Size([1, 3, 4, 4]))

    Parameters
    ----------
    network : diffusers.VQModel
        Latents are multiplied by its ``scaling_factor``, which is 1 in the model of ImageNet's classes.
    alone : bool
        As of `LatentSpace`.
    """

    def encode(self, pixels, random=None):
        """Encode pictures, without quantising; there is nothing to sample. See `LatentSpace.encode`."""
        return super().encode(pixels) * self.network.config.scaling_factor

    def decode(self, latents):
        """Decode latents; see `LatentSpace.decode`. Latents that are not finite have no code: all of their picture is NaN."""
        finite = latents.isfinite().flatten(1).all(dim=1).view(-1, 1, 1, 1)
        return self.decode_codes(self.codes(latents)).where(finite, torch.nan)

    def codes(self, latents):
        """The number of the nearest code at every place, int64 (n, height, width), of latents (n, channels, height, width)."""
        latents = latents.float() / self.network.config.scaling_factor
        return torch.cat([self._nearest(part) for part in self._parts(latents)])

    def decode_codes(self, codes):
        """Decode the numbers of codes, int64 (n, height, width); see `LatentSpace.decode`."""
        values = self.network.quantize.embedding(codes).permute(0, 3, 1, 2)
        # The scale is that of what a UNet sees; codes have none.
        return super().decode(values)

    def _nearest(self, latents):
        # In float32, whatever the network computes in: half precision exchanges neighbours.
        rows = latents.movedim(1, -1)
        distances = torch.cdist(rows.flatten(0, -2), self.network.quantize.embedding.weight.float())
        return distances.argmin(dim=1).reshape(rows.shape[:-1])


def load_autoencoder(folder, dtype):
    """Load ``vae/`` strictly; in float32 rather than float16 where its configuration file says that it overflows."""
    folder = Path(folder) / "vae"
    overflows = read_json_object(folder / "config.json", AutoencoderKL.__name__).get("force_upcast", False)
    return load_strictly(AutoencoderKL, folder, torch.float32 if overflows and dtype == torch.float16 else dtype)


def overflows_in_half(autoencoder):
    """Whether an autoencoder's configuration says that it overflows in float16 (``force_upcast``).

    A file that does not say so is taken at its word: diffusers' class then has a default of its own, which is true, but the
    autoencoders of Stable Diffusion 1 and 2 and of Versatile Diffusion were published for half precision.
    """
    config = autoencoder.config
    return bool(config.get("force_upcast")) and "force_upcast" not in config.get("_use_default_values", ())


def normal(random, shape, dtype=torch.float32):
    """Draw standard normal values of shape (n, *shape) on the CPU, each row from its own random generator."""
    return torch.stack([torch.randn(tuple(shape), generator=each, dtype=dtype) for each in random])


def to_pixels(pictures):
    """Turn square pictures of one size, uint8 (size, size, 3), into a float32 tensor (n, 3, size, size), −1 to 1."""
    values = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2)
    return 2 * (values.float() / 255) - 1


def bilinear(pixels, size, smoothed=False):
    """Resize float pictures (n, channels, height, width) to a square of `size`.

    >>> bilinear(torch.arange(9.0).reshape(1, 1, 3, 3), 1), bilinear(torch.arange(9.0).reshape(1, 1, 3, 3), 3).shape
    (tensor([[[[4.]]]]), torch.Size([1, 1, 3, 3]))

    Parameters
    ----------
    pixels : tensor
    size : int
    smoothed : bool
        Whether a smaller picture averages what it leaves out; otherwise it takes values between the two nearest.

    Returns
    -------
    pixels : tensor of shape (n, channels, size, size)
        The one given if it has that size.
    """
    if tuple(pixels.shape[-2:]) == (size, size):
        return pixels
    return torch.nn.functional.interpolate(pixels, (size, size), mode="bilinear", antialias=smoothed)


def to_greys(pixels, rounded=True):
    """Turn float pictures (n, 3, height, width), −1 to 1, into uint8 (n, height, width, 3), rounded or cut off.

    Raises
    ------
    NotFinite
        Pictures hold NaN or infinite values, which would become black or white.
    """
    check_rows(pixels)
    values = (pixels.float() * 0.5 + 0.5).clamp(0, 1) * 255
    values = values.round() if rounded else values
    return values.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
