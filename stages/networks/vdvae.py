"""The very deep VAE: pictures to layers of latents, and back.

Child, 2021, "Very deep VAEs generalize autoregressive models and can outperform them on images". The
parameters bear the names of the published checkpoints. What was random there is deterministic here unless a
generator is given: latents are posterior means, layers that nobody gave are at their prior's mean, and the
picture is the expectation of the output mixture.
"""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from stages.checkpoints.pretrained import CONFIG_FILE, fill_network, read_network_tensors, save_network
from stages.ground.errors import InputError
from stages.ground.not_finite import check_rows
from stages.networks import logistic_mixture
from stages.networks.vdvae_blocks import Decoder, Encoder, parse_blocks
from stages.networks.vdvae_presets import PRESETS, read_config
from weights.suggestions import did_you_mean


class Transmission(NamedTuple):
    """A picture told through its latents.

    ``rate`` (n, n_layers): what each layer cost, the divergence of its posterior from its prior in nats per
    value of the picture. ``parameters`` (n, 10 * n_mixtures, size, size): the mixture that arrived.
    """

    rate: torch.Tensor
    parameters: torch.Tensor


class VDVAE(nn.Module):
    """A very deep VAE.

    Parameters
    ----------
    config : VDVAEConfig or str
        A configuration, or the name of a preset (``stages.networks.vdvae_presets.PRESETS``).

    Raises
    ------
    InputError
        For an unknown preset.
    """

    def __init__(self, config):
        super().__init__()
        if isinstance(config, str):
            if config not in PRESETS:
                meant = did_you_mean(config, PRESETS)
                raise InputError(f"There is no VDVAE preset {config!r}; choose one of {', '.join(PRESETS)}{meant}.")
            config = PRESETS[config]
        self.config = config
        self.encoder = Encoder(parse_blocks(config.encoder_blocks), config.width_at, config.middle)
        self.decoder = Decoder(
            parse_blocks(config.decoder_blocks),
            config.width_at,
            config.middle,
            config.latent_channels,
            config.n_mixtures,
            config.no_bias_above,
        )

    @property
    def latent_shapes(self):
        """Shape (channels, height, width) of every layer of latents, in the decoder's order."""
        return self.config.latent_shapes

    @torch.no_grad()
    def encode(self, images, n_layers=None, generator=None):
        """Infer the latents of pictures.

        Parameters
        ----------
        images : array or tensor of shape (n, image_size, image_size, 3), uint8
        n_layers : int, optional
            Only so many layers from the top; all by default.
        generator : torch.Generator or list of n torch.Generator, optional
            Draw from the posteriors; without one the latents are their means. A list, one per picture, makes
            a draw independent of the batch. The generators must be the CPU's.

        Returns
        -------
        latents : list of tensors of shape (n, latent_channels, resolution, resolution), float32
            One per layer, in the decoder's order.

        Raises
        ------
        InputError
            For pictures of another type or size, or more layers than there are.
        """
        self._check_layers(n_layers)
        activations = self.encoder(self._enter(images))
        latents = []

        def choose(layer, block, x, prior_mean, prior_log_std):
            z, log_std = block.infer(x, activations[block.resolution])
            if generator is not None:
                z = z + log_std.exp() * _normal(z, generator)
            latents.append(z)
            return z

        self.decoder(len(images), choose, n_layers=n_layers or len(self.latent_shapes))
        return latents

    @torch.no_grad()
    def decode(self, latents, temperature=0.0, generator=None, sample_pixels=False, rounded=True):
        """Draw the pictures of given latents.

        Parameters
        ----------
        latents : list of arrays or tensors of shape (n, latent_channels, resolution, resolution)
            The first layers, as many as are known (at least one).
        temperature : float
            Spread of the remaining layers around their prior's mean, in units of the prior's standard
            deviation. Zero is the mean itself.
        generator : torch.Generator or list of n torch.Generator, optional
            Of the CPU; needed by a temperature above zero and by ``sample_pixels``.
        sample_pixels : bool
            Draw each pixel from its mixture instead of taking the expectation.
        rounded : bool
            Round to 8 bit; published code cuts off.

        Returns
        -------
        images : array of shape (n, image_size, image_size, 3), uint8

        Raises
        ------
        InputError
            For latents of other shapes, or randomness without a generator.
        NotFinite
            Pictures are NaN or infinite.
        """
        if (temperature > 0 or sample_pixels) and generator is None:
            raise InputError(
                f"Drawing (temperature {temperature}, sample_pixels {sample_pixels}) needs a generator but none "
                "was given; pass generator=torch.Generator().manual_seed(0)."
            )
        latents = self._check_latents(latents)

        def choose(layer, block, x, prior_mean, prior_log_std):
            if layer < len(latents):
                return latents[layer]
            if temperature > 0:
                return prior_mean + temperature * prior_log_std.exp() * _normal(prior_mean, generator)
            return prior_mean

        parameters = self.decoder(len(latents[0]), choose)
        if sample_pixels:
            n, _, height, width = parameters.shape
            uniform = _uniform(parameters.new_empty(n, self.config.n_mixtures + 3, height, width), generator)
            images = logistic_mixture.sample(parameters, uniform)
        else:
            images = logistic_mixture.mean(parameters)
        check_rows(images)
        levels = (images + 1) * 127.5
        levels = (levels.round() if rounded else levels).clamp(0, 255).to(torch.uint8)
        return np.ascontiguousarray(levels.permute(0, 2, 3, 1).cpu().numpy())

    def transmit(self, images, generator, n_layers=None):
        """Tell pictures through latents drawn from their posteriors, as training does.

        Parameters
        ----------
        images : tensor of shape (n, image_size, image_size, 3), uint8
        generator : torch.Generator
            The CPU's.
        n_layers : tensor of shape (n,), int, optional
            How many layers each picture is told through; the others lie at their prior's mean and cost
            nothing. All by default.

        Returns
        -------
        transmission : Transmission
        """
        activations = self.encoder(self._enter(images))
        everyone = torch.arange(len(images), device=self.decoder.gain.device)
        rates = []

        def choose(layer, block, x, prior_mean, prior_log_std):
            told = everyone if n_layers is None else torch.nonzero(n_layers.to(everyone) > layer).squeeze(1)
            partly = len(told) < len(everyone)
            activation, prior = activations[block.resolution], (prior_mean, prior_log_std)
            if partly:  # The posterior is worked out only for those whom it concerns.
                x, activation, *prior = (values.index_select(0, told) for values in (x, activation, *prior))
            mean, log_std = block.infer(x, activation)
            z = mean + log_std.exp() * _normal(mean, generator)
            rate = _divergence(mean, log_std, *prior).sum((1, 2, 3))
            if partly:
                z = prior_mean.index_copy(0, told, z)
                rate = rate.new_zeros(len(everyone)).index_copy(0, told, rate)
            rates.append(rate)
            return z

        parameters = self.decoder(len(images), choose)
        return Transmission(torch.stack(rates, dim=1) / images[0].numel(), parameters)

    def bound(self, images, generator):
        """The published training loss: an upper bound on minus the log likelihood, in nats per value.

        Parameters
        ----------
        images : tensor of shape (n, image_size, image_size, 3), uint8
        generator : torch.Generator
            The CPU's.

        Returns
        -------
        nats : tensor of shape (n,), float32
            Distortion (the picture under the mixture) plus rate (the latents under their priors).
        """
        rate, parameters = self.transmit(images, generator)
        return self.distortion(parameters, images) + rate.sum(1)

    def distortion(self, parameters, images):
        """Minus the log likelihood of pictures (n, size, size, 3) under mixtures, (n,) nats per value."""
        return logistic_mixture.negative_log_likelihood(parameters, self.colours(images), self.config.bits)

    def colours(self, images):
        """Pictures as the likelihood sees them: (n, 3, size, size) in [-1, 1], at the network's precision."""
        step = 2 ** (8 - self.config.bits)
        levels = images.to(self.decoder.gain.device).permute(0, 3, 1, 2).float()
        return (levels / step).floor() * step / 127.5 - 1

    def save_pretrained(self, folder, dtype=torch.float16):
        """Write ``config.json`` and ``model.safetensors``, each whole or not at all.

        Parameters
        ----------
        folder : path
            Made if it does not exist.
        dtype : torch.dtype
            What the tensors are stored in.
        """
        config = {"architecture": type(self).__name__, **dataclasses.asdict(self.config)}
        save_network(self, folder, config, dtype)

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Load a folder with ``config.json`` and ``model.safetensors``; computed in float32.

        Parameters
        ----------
        folder : path
        device : str or torch.device

        Returns
        -------
        model : VDVAE
            In evaluation mode.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or the tensors are not those that the configuration asks for.
        """
        config = read_config(Path(folder) / CONFIG_FILE)
        return cls.from_tensors(config, read_network_tensors(folder), folder).to(device)

    @classmethod
    def from_tensors(cls, config, state, source="this state dict"):
        """Build a network around tensors, for example those of a published checkpoint.

        Parameters
        ----------
        config : VDVAEConfig or str
        state : dict of str to tensor
            Names may carry the prefix ``module.`` that data-parallel training leaves.
        source : str or path
            Where they are from, for the error.

        Returns
        -------
        model : VDVAE
            In evaluation mode, float32, on the CPU.

        Raises
        ------
        CheckpointError
            Tensors are missing, unexpected or misshapen.
        """
        with torch.device("meta"):
            model = cls(config)
        return fill_network(model, {name.removeprefix("module."): value for name, value in state.items()}, source)

    def _enter(self, images):
        if not isinstance(images, torch.Tensor):
            images = torch.from_numpy(np.array(images))  # copied: a memory map may be read-only
        size = self.config.image_size
        if images.ndim != 4 or tuple(images.shape[1:]) != (size, size, 3) or images.dtype != torch.uint8:
            raise InputError(
                f"Images are {images.dtype} of shape {tuple(images.shape)} but the VDVAE takes torch.uint8 of "
                f"shape (n, {size}, {size}, 3); resize them first."
            )
        values = images.to(self.decoder.gain.device).permute(0, 3, 1, 2).float()
        return (values - self.config.input_mean) / self.config.input_std

    def _check_layers(self, n_layers):
        if n_layers is not None and not 1 <= n_layers <= len(self.latent_shapes):
            raise InputError(
                f"{n_layers} layers were asked for but the VDVAE has {len(self.latent_shapes)}; choose 1 to "
                f"{len(self.latent_shapes)}."
            )

    def _check_latents(self, latents):
        self._check_layers(len(latents))
        latents = [torch.as_tensor(z).to(self.decoder.gain) for z in latents]
        for layer, (z, shape) in enumerate(zip(latents, self.latent_shapes)):
            if tuple(z.shape) != (len(latents[0]), *shape):
                raise InputError(
                    f"Layer {layer} of the latents has shape {tuple(z.shape)} but should have "
                    f"{(len(latents[0]), *shape)}; pass what encode returned, layer by layer."
                )
        return latents


def _divergence(mean, log_std, prior_mean, prior_log_std):
    """Kullback-Leibler divergence of diagonal Gaussians, posterior from prior, in nats per value."""
    spread = torch.exp(2 * (log_std - prior_log_std)) + ((mean - prior_mean) * torch.exp(-prior_log_std)) ** 2
    return prior_log_std - log_std + 0.5 * (spread - 1)


def _normal(like, generator):
    """Standard normal noise shaped as ``like``, drawn on the CPU: from one generator, or one per picture."""
    if isinstance(generator, torch.Generator):
        return torch.randn(like.shape, generator=generator).to(like)
    return torch.stack([torch.randn(like.shape[1:], generator=each) for each in generator]).to(like)


def _uniform(like, generator):
    """Uniform noise in [0, 1) shaped as ``like``, drawn as ``_normal`` draws."""
    if isinstance(generator, torch.Generator):
        return torch.rand(like.shape, generator=generator).to(like)
    return torch.stack([torch.rand(like.shape[1:], generator=each) for each in generator]).to(like)
