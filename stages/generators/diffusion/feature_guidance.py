r"""Denoising that is led by features of the picture to come: by any distance of pixels that torch differentiates.

Li and others (2025, NeuralDiffuser), after the CLIP-guided diffusion of diffusers' examples. At a guided step with noisy
latents x and the noise :math:`\epsilon` that the network predicts under the conditions alone, the clean latents are estimated,

.. math:: \hat{x} = (x - \sqrt{1 - \bar\alpha}\,\epsilon) / \sqrt{\bar\alpha},

mixed with the noisy ones by :math:`f = \sqrt{1 - \bar\alpha}`, decoded and looked at. With the distance L of what is seen,

.. math:: L = L(\mathrm{decode}(f \hat{x} + (1 - f) x)), \quad \epsilon \leftarrow \epsilon + s \sqrt{1 - \bar\alpha}\, \nabla_x L

goes into the solver in place of the prediction, so that a step leads down the slope of L. The gradient is taken through decoder
and network.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from stages.generators.diffusion.conditioners import Conditioner
from stages.generators.diffusion.predictions import check_predictions, noise_of, prediction_of, signal_share
from stages.generators.diffusion.sampler import network_arguments


class FeatureGuidance(Conditioner):
    """Leads denoising by named values, those of each picture by itself.

    >>> from diffusers import AutoencoderKL, DDIMScheduler
    >>> from stages.generators.diffusion.feature_guidance_settings import FeatureGuidanceSettings
    >>> from stages.generators.diffusion.sampler import Sampling
    >>> from stages.networks.latent_space import LatentSpace
    >>> def as_bright_as(values):
    ...     return lambda pixels: (pixels.mean() - values["brightness"]) ** 2
    >>> space = LatentSpace(AutoencoderKL(norm_num_groups=8, block_out_channels=(8,)))
    >>> settings = FeatureGuidanceSettings(scale=100.0)
    >>> guidance = FeatureGuidance(("brightness",), as_bright_as, space, DDIMScheduler(), settings)
    >>> len(guidance.prepare([(0.5,), (None,)], Sampling(random=())).corrections)
    1

    Rows of a batch do not see each other, not even in rounding: the network and the decoder are differentiated for one picture at
    a time, which is also what they have memory for.

    Parameters
    ----------
    reads : sequence of str
        Values; each may be absent.
    distance_from : callable
        ``distance_from(values)`` of a dict of name to array, those that are not absent, returns ``distance(pixels)``: of decoded
        pixels, float32 (1, 3, height, width) of about −1 to 1, a tensor of shape () that is differentiated.
    space : stages.networks.latent_space.LatentSpace
    scheduler : diffusers.SchedulerMixin
    settings : FeatureGuidanceSettings

    Raises
    ------
    InputError
        The scheduler's latents do not keep their variance, or its network predicts neither noise nor v.
    """

    def __init__(self, reads, distance_from, space, scheduler, settings):
        check_predictions(scheduler)
        self.reads, self._distance_from = tuple(reads), distance_from
        self._space, self._scheduler, self._settings = space, scheduler, settings

    def prepare(self, value, sampling):
        given = [{name: one for name, one in zip(self.reads, own) if one is not None} for own in value]
        if not self._settings.scale or not any(given):
            return sampling
        distances = [self._distance_from(own) if own else None for own in given]

        def corrected(unet, sampling, predicted):
            if predicted.number >= self._settings.guided_steps(predicted.n_steps):
                return predicted.value
            share = signal_share(self._scheduler, predicted.timestep)
            led = predicted.value.clone()
            for row, distance in enumerate(distances):
                if distance is not None:
                    slope = self.gradient(unet, sampling, predicted, row, distance)
                    noise = self._settings.scale * (1 - share).sqrt() * slope
                    led[row] += prediction_of(noise, share, self._scheduler.config.prediction_type).to(led.dtype)
            return led

        return sampling.with_correction(corrected)

    def gradient(self, unet, sampling, predicted, row, distance):
        """Gradient of one picture's distance by its noisy latents, tensor of shape (channels, size, size)."""
        with torch.enable_grad():
            latents = predicted.latents[row : row + 1].detach().clone().requires_grad_()
            loss = distance(self._space.decode(self.looked_at(unet, sampling, predicted.timestep, latents, row)))
            (slope,) = torch.autograd.grad(loss, latents)
        return slope[0]

    def looked_at(self, unet, sampling, timestep, latents, row):
        """The latents that are decoded and looked at, of one picture's noisy ones (1, channels, size, size)."""
        tokens, arguments = network_arguments(_of_one(sampling, row))
        rows = self._scheduler.scale_model_input(latents, timestep).to(sampling.dtype)
        prediction = unet(rows, timestep, tokens, **arguments, return_dict=False)[0]
        prediction = prediction[:, : latents.shape[1]].to(latents.dtype)
        share = signal_share(self._scheduler, timestep).to(latents.dtype)
        noise = noise_of(prediction, latents, share, self._scheduler.config.prediction_type)
        rest = 1 - share
        taken = rest if self._settings.noise_taken == "by its variance" else rest.sqrt()
        clean = (latents - taken * noise) / share.sqrt()
        return rest.sqrt() * clean + (1 - rest.sqrt()) * latents


def _of_one(sampling, row):
    """One row of a sampling under its conditions alone, of a network that reads tokens and nothing else."""

    def only(values):
        return values[row : row + 1]

    contexts = [
        replace(
            each,
            tokens=only(each.tokens),
            nothing=only(each.nothing),
            weights=None if each.weights is None else only(each.weights),
        )
        for each in sampling.contexts
    ]
    return replace(sampling, contexts=tuple(contexts), guidance_scale=1.0)
